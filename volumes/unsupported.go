//go:build !linux

package volumes

import "context"

// SetUpAll sets up every volume of the set.
func (s Set) SetUpAll(ctx context.Context) error { return ErrUnsupported }

// SetUp makes or updates one volume.
func (s Set) SetUp(ctx context.Context, name string) error { return ErrUnsupported }

// Bind prepares one mount of a volume.
func (s Set) Bind(ctx context.Context, m Mount) (Binding, error) { return Binding{}, ErrUnsupported }

// TearDown removes the set.
func (s Set) TearDown(ctx context.Context) error { return ErrUnsupported }
