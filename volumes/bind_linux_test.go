package volumes

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// bind binds a subPath of volume v and returns its source.
func bind(t testing.TB, s Set, sub string) string {
	t.Helper()
	b, err := s.Bind(t.Context(), Mount{Volume: "v", SubPath: sub, Key: "app.0", Destination: "/d"})
	must(t, err)
	return b.Source
}

func TestABindingIsWhatTheRuntimeNeeds(t *testing.T) {
	s := newSet(t, map[string]Volume{"v": {}})
	must(t, s.SetUpAll(t.Context()))
	got, err := s.Bind(t.Context(), Mount{Volume: "v", Destination: "/data", ReadOnly: true})
	must(t, err)
	want := Binding{Source: s.Path("v"), Destination: "/data", Options: []string{"rbind", "rprivate", "ro", "exec", "suid", "dev"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("binding (-want +got):\n%s", diff)
	}
}

func TestAHostPathWithoutATypeIsMadeWhenItIsMounted(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "new/deep")
	s := newSet(t, map[string]Volume{"v": {HostPath: &HostPath{Path: path}}})
	must(t, s.SetUpAll(t.Context()))
	if _, err := os.Stat(path); err == nil {
		t.Error("SetUp made a hostPath without a type")
	}
	b, err := s.Bind(t.Context(), Mount{Volume: "v", Destination: "/d"})
	must(t, err)
	checkFile(t, path, "drwxr-xr-x 0")
	if b.Source != path || !slices.Equal(b.Options, []string{"rbind", "rprivate", "rw"}) {
		t.Errorf("binding: got %+v, want the hostPath itself", b)
	}
	must(t, s.TearDown(t.Context()))
	checkFile(t, path, "drwxr-xr-x 0")
}

func TestASubPathIsMadeWithTheVolumesMode(t *testing.T) {
	gid := int64(4711)
	s := newSet(t, map[string]Volume{"v": {FSGroup: &gid}})
	must(t, s.SetUpAll(t.Context()))
	source := bind(t, s, "a/b/c") // VO-11
	for _, p := range []string{"a", "a/b", "a/b/c"} {
		checkFile(t, filepath.Join(s.Path("v"), p), "dgrwxrwxrwx 4711")
	}
	must(t, os.WriteFile(filepath.Join(s.Path("v"), "a/b/c/f"), []byte("seen"), 0o600))
	checkData(t, filepath.Join(source, "f"), "seen")

	must(t, os.Mkdir(filepath.Join(s.Path("v"), "kept"), 0o700))
	bind(t, s, "kept/new")
	checkFile(t, filepath.Join(s.Path("v"), "kept"), "dgrwx------ 4711")
	if source := bind(t, s, "."); describeFile(t, source) != describeFile(t, s.Path("v")) {
		t.Error("the subPath . is not the whole volume")
	}
}

func TestASubPathMayBeAFileOfAConfigMap(t *testing.T) {
	files := func(data string) map[string]Volume {
		return map[string]Volume{"v": {Files: &Files{Files: []File{{Path: "d/key", Mode: 0o644, Data: []byte(data)}}}}}
	}
	s := newSet(t, files("old"))
	must(t, s.SetUpAll(t.Context()))
	source := bind(t, s, "d/key")
	checkData(t, source, "old")
	s.Volumes = files("new")
	must(t, s.SetUpAll(t.Context()))
	checkData(t, source, "old") // VO-08: not through a subPath
	if again := bind(t, s, "d/key"); again != source {
		t.Errorf("the same mount was held at %s and then at %s", source, again)
	}
	checkData(t, source, "new") // the next instance sees it
	bind(t, s, "d/key")
	if got := mountsUnder(t, s.Dir); len(got) != 1 {
		t.Errorf("mounts after three binds of one mount: %v, want one", got)
	}
	bind(t, s, "d") // a file's place taken by a directory
	checkData(t, filepath.Join(source, "key"), "new")
}

func TestASubPathDoesNotLeaveItsVolume(t *testing.T) {
	s := newSet(t, map[string]Volume{"v": {}})
	must(t, s.SetUpAll(t.Context()))
	outside := filepath.Join(t.TempDir(), "outside")
	must(t, os.Mkdir(outside, 0o755))
	must(t, os.Mkdir(filepath.Join(s.Path("v"), "in"), 0o755))
	must(t, os.WriteFile(filepath.Join(s.Path("v"), "file"), nil, 0o644))
	for link, to := range map[string]string{"abs": outside, "up": "../../..", "deep": "in/../../x", "loop": "loop",
		"dangling": "nowhere", "good": "in/../in", "absin": s.Path("v") + "/in"} {
		must(t, os.Symlink(to, filepath.Join(s.Path("v"), link)))
	}
	const out = "it leads out of the volume"
	for _, tt := range []struct{ name, sub, want string }{
		{"a symlink inside", "good", ""},
		{"a directory made behind a symlink inside", "good/new", ""},
		{"an absolute symlink", "abs", out},
		{"a directory to be made behind an absolute symlink", "abs/new/deep", out},
		{"an absolute symlink, even into the volume", "absin", out},
		{"a symlink upwards", "up", out},
		{"a way up in a symlink", "deep", out},
		{"a loop", "loop", "loop of symlinks"},
		{"a symlink to nothing is not followed to make it", "dangling", "not a directory"},
		{"nor on the way", "dangling/new", "not a directory"},
		{"through a file", "file/x", "not a directory"},
		{"a literal way up (VO-11)", "in/../..", "must not contain '..'"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := s.Bind(t.Context(), Mount{Volume: "v", SubPath: tt.sub, Key: "app.0", Destination: "/d"})
			checkError(t, err, tt.want)
		})
	}
	if entries, _ := os.ReadDir(outside); len(entries) > 0 {
		t.Errorf("something was made outside of the volume: %v", entries)
	}
	if _, err := os.Lstat(filepath.Join(s.Path("v"), "nowhere")); err == nil {
		t.Error("a dangling symlink's target was made")
	}
}

func TestAHeldSubPathIsNotRedirectedByASwap(t *testing.T) {
	s := newSet(t, map[string]Volume{"v": {}})
	must(t, s.SetUpAll(t.Context()))
	outside := t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "f"), []byte("the machine's"), 0o600))
	sub := filepath.Join(s.Path("v"), "sub")
	must(t, os.Mkdir(sub, 0o755))
	must(t, os.WriteFile(filepath.Join(sub, "f"), []byte("the volume's"), 0o600))
	source := bind(t, s, "sub")
	must(t, os.Rename(sub, sub+".away"))
	must(t, os.Symlink(outside, sub)) // VO-13
	checkData(t, filepath.Join(source, "f"), "the volume's")
	_, err := s.Bind(t.Context(), Mount{Volume: "v", SubPath: "sub", Key: "app.0", Destination: "/d"})
	checkError(t, err, "leads out of the volume")
	must(t, s.TearDown(t.Context()))
	checkData(t, filepath.Join(outside, "f"), "the machine's")
}

func TestPropagationNeedsASharedSource(t *testing.T) {
	private, shared := newTmpfs(t, "", 0), newTmpfs(t, "", 0)
	must(t, propagate(private, unix.MS_PRIVATE))
	must(t, propagate(shared, unix.MS_SHARED))
	s := newSet(t, map[string]Volume{
		"private": {HostPath: &HostPath{Path: private}}, "shared": {HostPath: &HostPath{Path: shared}},
		"disk": {}, "mem": {EmptyDir: &EmptyDir{Memory: true}}})
	must(t, s.SetUpAll(t.Context()))
	for _, p := range []Propagation{PropagationHostToContainer, PropagationBidirectional} {
		for _, name := range []string{"private", "shared", "disk", "mem"} {
			t.Run(string(p)+" of "+name, func(t *testing.T) {
				for range 2 {
					_, err := s.Bind(t.Context(), Mount{Volume: name, Destination: "/d", Propagation: p})
					if name == "private" {
						checkError(t, err, "which is not shared, so propagation "+string(p)+" cannot work: run mount --make-rshared "+private)
						continue
					}
					must(t, err)
					on, err := mountOf(s.Path(name))
					must(t, err)
					if !strings.Contains(on.Optional, "shared:") {
						t.Errorf("the source is on %s (%s), want it shared", on.Mountpoint, on.Optional)
					}
				}
			})
		}
	}
	if got := len(mountsUnder(t, s.Dir)); got > 2 { // the tmpfs, and the disk volume on itself
		t.Errorf("binding again piled up mounts: %v", mountsUnder(t, s.Dir))
	}
}

// A user's mount below a shared hostPath shows in the hold of a subPath. To undo the hold must not undo the user's.
func TestTearDownLeavesTheUsersMountsAlone(t *testing.T) {
	for _, p := range []Propagation{PropagationNone, PropagationHostToContainer, PropagationBidirectional} {
		t.Run("propagation "+string(p), func(t *testing.T) {
			host := newTmpfs(t, "", 0)
			must(t, propagate(host, unix.MS_SHARED))
			below := filepath.Join(host, "sub/below")
			must(t, os.MkdirAll(below, 0o755))
			s := newSet(t, map[string]Volume{"v": {HostPath: &HostPath{Path: host}}})
			b, err := s.Bind(t.Context(), Mount{Volume: "v", SubPath: "sub", Key: "app.0", Destination: "/d", Propagation: p})
			must(t, err)
			must(t, unix.Mount("tmpfs", below, "tmpfs", 0, ""))
			t.Cleanup(func() { must(t, unix.Unmount(below, unix.MNT_DETACH)) })
			must(t, os.WriteFile(filepath.Join(below, "data"), []byte("the user's"), 0o600))
			_, err = os.Stat(filepath.Join(b.Source, "below/data"))
			if reaches := err == nil; reaches != p.propagates() {
				t.Errorf("the user's mount reaches the hold: %v, want %v", reaches, p.propagates())
			}
			must(t, s.TearDown(context.Background()))
			checkGone(t, s)
			checkData(t, filepath.Join(below, "data"), "the user's")
			if got := mountsUnder(t, below); len(got) != 1 {
				t.Errorf("the user's mounts after TearDown: %v, want %s", got, below)
			}
		})
	}
}
