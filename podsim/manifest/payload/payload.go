package payload

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/podsim/podsim/podsim/manifest/env"
)

// FailedMount is the reason of the event that tells why a pod's volumes are not ready (ST-03). The pod stays
// Pending, and is tried again.
const FailedMount = "FailedMount"

// An Error is why a volume cannot be filled.
type Error struct {
	Volume  string
	Message string
}

func (e *Error) Error() string {
	return fmt.Sprintf("MountVolume.SetUp failed for volume %q : %s", e.Volume, e.Message)
}

// A File is one file of a volume.
type File struct {
	// Path is relative, clean, and has no "..".
	Path string
	// Mode holds permission bits.
	Mode uint32
	Data []byte
}

// Files are the files of a volume, sorted by path; false if the volume's source is none that holds files. The pod
// must be defaulted and valid. Missing optional objects and keys are left out (VO-07).
//
// Rules: VO-05, VO-07, VO-09, VO-10, DW-02..04.
func Files(f env.Facts, v corev1.Volume) ([]File, bool, error) {
	var t tree
	switch {
	case v.ConfigMap != nil:
		t = tree{facts: f, mode: *v.ConfigMap.DefaultMode}
		t.configMap(v.ConfigMap.Name, v.ConfigMap.Items, v.ConfigMap.Optional)
	case v.Secret != nil:
		t = tree{facts: f, mode: *v.Secret.DefaultMode}
		t.secret(v.Secret.SecretName, v.Secret.Items, v.Secret.Optional)
	case v.DownwardAPI != nil:
		t = tree{facts: f, mode: *v.DownwardAPI.DefaultMode}
		t.downward(v.DownwardAPI.Items)
	case v.Projected != nil:
		t = tree{facts: f, mode: *v.Projected.DefaultMode}
		for _, s := range v.Projected.Sources {
			t.projection(s)
		}
	default:
		return nil, false, nil
	}
	if t.problem != "" {
		return nil, true, &Error{Volume: v.Name, Message: t.problem}
	}
	files := make([]File, 0, len(t.files))
	for _, p := range slices.Sorted(maps.Keys(t.files)) {
		files = append(files, t.files[p])
	}
	return files, true, nil
}

// A tree collects the files of one volume and keeps the first problem.
type tree struct {
	facts   env.Facts
	mode    int32
	files   map[string]File
	problem string
}

func (t *tree) fail(format string, args ...any) {
	if t.problem == "" {
		t.problem = fmt.Sprintf(format, args...)
	}
}

// add puts a file into the tree. Of two sources of one path the later wins, as in a cluster; a path that is a
// directory for another file is a clash (VO-10).
func (t *tree) add(name string, mode *int32, data []byte) {
	name = path.Clean(name)
	if t.files == nil {
		t.files = map[string]File{}
	}
	for other := range t.files {
		if strings.HasPrefix(other, name+"/") || strings.HasPrefix(name, other+"/") {
			t.fail("the paths %s and %s clash: one would be a directory of the other", other, name)
			return
		}
	}
	bits := t.mode
	if mode != nil {
		bits = *mode
	}
	t.files[name] = File{Path: name, Mode: uint32(bits), Data: data}
}

func (t *tree) projection(s corev1.VolumeProjection) {
	switch {
	case s.ConfigMap != nil:
		t.configMap(s.ConfigMap.Name, s.ConfigMap.Items, s.ConfigMap.Optional)
	case s.Secret != nil:
		t.secret(s.Secret.Name, s.Secret.Items, s.Secret.Optional)
	case s.DownwardAPI != nil:
		t.downward(s.DownwardAPI.Items)
	}
}

func (t *tree) configMap(name string, items []corev1.KeyToPath, optional *bool) {
	cm := t.facts.Resources.ConfigMap(t.facts.Pod.Namespace, name)
	if cm == nil {
		if !is(optional) {
			t.fail("configmap %q not found", name)
		}
		return
	}
	data := maps.Clone(cm.BinaryData) // VO-09
	if data == nil {
		data = map[string][]byte{}
	}
	for k, v := range cm.Data {
		data[k] = []byte(v)
	}
	t.keys(data, items, is(optional), "config")
}

func (t *tree) secret(name string, items []corev1.KeyToPath, optional *bool) {
	s := t.facts.Resources.Secret(t.facts.Pod.Namespace, name)
	if s == nil {
		if !is(optional) {
			t.fail("secret %q not found", name)
		}
		return
	}
	t.keys(s.Data, items, is(optional), "secret")
}

// keys adds the chosen keys, or all of them under their own names.
func (t *tree) keys(data map[string][]byte, items []corev1.KeyToPath, optional bool, kind string) {
	if len(items) == 0 {
		for k, v := range data {
			t.add(k, nil, v)
		}
		return
	}
	for _, item := range items {
		v, ok := data[item.Key]
		switch {
		case ok:
			t.add(item.Path, item.Mode, v)
		case !optional:
			t.fail("references non-existent %s key: %s", kind, item.Key)
		}
	}
}

func (t *tree) downward(items []corev1.DownwardAPIVolumeFile) {
	for _, item := range items {
		var (
			text string
			err  error
		)
		switch {
		case item.FieldRef != nil:
			text, err = t.facts.Field(item.FieldRef.FieldPath)
		case item.ResourceFieldRef != nil:
			text, err = t.facts.Resource(item.ResourceFieldRef, "")
		}
		if err != nil {
			t.fail("%v", err)
			return
		}
		t.add(item.Path, item.Mode, []byte(text))
	}
}

func is(b *bool) bool { return b != nil && *b }
