//go:build linux

package ctrd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/dialer"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/log"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// ErrDaemonGone says that containerd died, or was out of reach, in the middle of a call. What the call was for may
// or may not have happened. Revive brings the private containerd back.
var ErrDaemonGone = errors.New("containerd is gone")

// A Client talks to one containerd, in the namespace podsim. It is safe for concurrent use. Close it.
type Client struct {
	cfg    Config
	daemon *daemon // nil for an external containerd
	ctr    *containerd.Client
	facts  Facts

	revive  sync.Mutex // serialises Revive
	reading sync.Mutex // serialises the reading of images' accounts

	// life ends with Close; the goroutines in watchers work on it.
	life     context.Context //nolint:containedctx // the life of the client's own goroutines, of no call
	end      context.CancelCauseFunc
	watchers sync.WaitGroup

	mu          sync.Mutex
	snapshotter string           // resolved lazily
	images      map[string]Image // by the digest of the image's target
	accounts    map[string]accounts
	pods        map[string]map[string]bool // of each run, those that got a shim from this client
	shims       map[string]*podShim        // by pod
	children    []int                      // the shims that this process started, to be reaped when they have ended

	sandbox      sync.Mutex // held while the sandbox is recorded
	sandboxKnown bool
}

var errClosed = errors.New("the containerd client was closed")

// Open connects to the containerd that cfg names. A private one is started if it does not run, and is kept alive
// until Close, or until this process is gone.
func Open(ctx context.Context, cfg Config) (*Client, error) {
	cfg, err := cfg.resolved()
	if err != nil {
		return nil, err
	}
	facts, err := ReadFacts()
	if err != nil {
		return nil, err
	}
	quiet()
	c := &Client{cfg: cfg, facts: facts, images: map[string]Image{}, accounts: map[string]accounts{}, pods: map[string]map[string]bool{}, shims: map[string]*podShim{}}
	if cfg.External() {
		if _, err := os.Stat(cfg.Address); err != nil {
			return nil, fmt.Errorf("find the containerd at %s: %w; is it running, and is that its socket?", cfg.Address, err)
		}
		if !answers(cfg.Address) {
			return nil, fmt.Errorf("connect to the containerd at %s: nothing listens there; is it running?", cfg.Address)
		}
	} else if c.daemon, err = joinDaemon(ctx, cfg); err != nil {
		return nil, err
	}
	if c.ctr, err = dial(cfg.address()); err != nil {
		if c.daemon != nil {
			err = errors.Join(err, c.daemon.leave())
		}
		return nil, err
	}
	c.life, c.end = context.WithCancelCause(context.Background())
	return c, nil
}

// quiet keeps containerd's client library from writing to this process's stderr: what it logs comes back as errors too.
var quiet = sync.OnceFunc(func() { log.L.Logger.SetOutput(io.Discard) })

func dial(address string) (*containerd.Client, error) {
	ctr, err := containerd.New(address, containerd.WithDefaultNamespace(Namespace), containerd.WithDialOpts([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(dialer.ContextDialer),
		// A revived daemon is found again within milliseconds.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 2 * time.Millisecond, Multiplier: 1.6, MaxDelay: 100 * time.Millisecond},
			MinConnectTimeout: 10 * time.Second,
		}),
	}))
	if err != nil {
		return nil, fmt.Errorf("connect to containerd at %s: %w", address, err)
	}
	return ctr, nil
}

// Close ends the client's hold on the private containerd, which goes soon after its last user. It joins all that
// the client's containers still have under way; running containers run on. It is not to be called twice.
func (c *Client) Close() error {
	c.end(errClosed)
	c.watchers.Wait()
	c.reapShims()
	err := c.ctr.Close()
	if c.daemon != nil {
		err = errors.Join(err, c.daemon.leave())
	}
	return err
}

// Address is the socket of the containerd in use.
func (c *Client) Address() string { return c.cfg.address() }

// Facts are what was found out about this host when the client was opened.
func (c *Client) Facts() Facts { return c.facts }

// Revive makes sure that containerd answers: a private one that died is started again, and takes its running
// containers back. It is idempotent, and quick where nothing is wrong. For an external one that does not answer it is
// ErrDaemonGone.
func (c *Client) Revive(ctx context.Context) error {
	c.revive.Lock()
	defer c.revive.Unlock()
	ctx, cancel := context.WithTimeoutCause(ctx, bootTimeout, fmt.Errorf("containerd did not come back within %s", bootTimeout))
	defer cancel()
	for {
		if c.daemon != nil {
			if err := c.daemon.ensure(ctx); err != nil {
				return err
			}
		} else if !answers(c.cfg.Address) {
			return fmt.Errorf("connect to the containerd at %s: %w; podsim did not start it, and does not start it again: do that, then run podsim clean", c.cfg.Address, ErrDaemonGone)
		}
		err := native(c.reconnected(ctx))
		if err == nil {
			return nil
		}
		if over := context.Cause(ctx); over != nil || !errors.Is(err, ErrDaemonGone) && !errdefs.IsDeadlineExceeded(err) {
			return fmt.Errorf("reconnect to containerd: %w", errors.Join(err, over))
		}
	}
}

// reconnected waits until the connection, which is made anew in the background after a loss, is there. It gives up soon:
// the socket of a containerd that is just dying may still have seemed to answer.
func (c *Client) reconnected(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reconnectPatience)
	defer cancel()
	_, err := c.ctr.VersionService().Version(ctx, &emptypb.Empty{}, grpc.WaitForReady(true))
	return err
}

// reconnectPatience is long beside the longest pause between two attempts to connect.
const reconnectPatience = 500 * time.Millisecond

// Version returns containerd's version.
func (c *Client) Version(ctx context.Context) (string, error) {
	v, err := c.ctr.Version(ctx)
	if err != nil {
		return "", fmt.Errorf("ask containerd for its version: %w", native(err))
	}
	return v.Version, nil
}

func (c *Client) tasks() tasks.TasksClient { return c.ctr.TaskService() }

func (c *Client) snapshots(ctx context.Context) (snapshots.Snapshotter, string, error) {
	name, err := c.snapshotterName(ctx)
	if err != nil {
		return nil, "", err
	}
	return c.ctr.SnapshotService(name), name, nil
}

// snapshotterName is overlayfs where containerd says that it works, and otherwise native, which copies.
func (c *Client) snapshotterName(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.snapshotter != "" {
		return c.snapshotter, nil
	}
	r, err := c.ctr.IntrospectionService().Plugins(ctx, "type==io.containerd.snapshotter.v1")
	if err != nil {
		return "", fmt.Errorf("ask containerd for its snapshotters: %w", native(err))
	}
	works := map[string]bool{}
	for _, p := range r.Plugins {
		works[p.ID] = p.InitErr == nil
	}
	for _, name := range []string{"overlayfs", "native"} {
		if works[name] {
			c.snapshotter = name
			return name, nil
		}
	}
	return "", fmt.Errorf("containerd at %s has neither a working overlayfs nor a native snapshotter", c.cfg.address())
}

// native turns an error of a call into Go's: a lost daemon into ErrDaemonGone, a status into an errdefs error. One
// that the client library has turned already stays as it is.
func native(err error) error {
	if err == nil || errors.Is(err, ErrDaemonGone) {
		return err
	}
	if _, isStatus := status.FromError(err); isStatus {
		err = errgrpc.ToNative(err)
	}
	if errdefs.IsUnavailable(err) {
		return fmt.Errorf("%w: %w", ErrDaemonGone, err)
	}
	return err
}

// ignoreNotFound drops the errors that mean that nothing is left to do.
func ignoreNotFound(err error) error {
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}
