package volumes

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAVolumeIsOfOneKind(t *testing.T) {
	gid, negative := int64(1000), int64(-1)
	for _, tt := range []struct {
		name string
		v    Volume
		want string // part of the error; empty: none
	}{
		{"nothing is an emptyDir (VO-18)", Volume{}, ""},
		{"an emptyDir", Volume{EmptyDir: &EmptyDir{}, FSGroup: &gid}, ""},
		{"two kinds", Volume{EmptyDir: &EmptyDir{}, Files: &Files{}}, "several kinds"},
		{"a negative size", Volume{EmptyDir: &EmptyDir{SizeLimit: -1}}, "size limit -1 is negative"},
		{"a negative group", Volume{FSGroup: &negative}, "group -1 is negative"},
		{"a hostPath", Volume{HostPath: &HostPath{Path: "/a/..b/c.."}}, ""},
		{"a hostPath that goes up", Volume{HostPath: &HostPath{Path: "/a/../b"}}, "invalid HostPath `/a/../b`: must not contain '..'"},
		{"a relative hostPath", Volume{HostPath: &HostPath{Path: "a"}}, "must be an absolute path"},
		{"an empty hostPath", Volume{HostPath: &HostPath{}}, "must be an absolute path"},
	} {
		t.Run(tt.name, func(t *testing.T) { checkError(t, tt.v.check(), tt.want) })
	}
}

func TestTheFilesOfAVolumeHaveSafePathsOfTheirOwn(t *testing.T) {
	for _, tt := range []struct {
		name  string
		paths []string
		want  string
	}{
		{"none", nil, ""},
		{"nested ones", []string{"a", "b/c", "b/d/e", "b.c"}, ""},
		{"dots inside a name", []string{"a..b", "a/..b", ".hidden"}, ""},
		{"an empty path", []string{""}, "needs a path"},
		{"the root", []string{"./."}, "needs a path"},
		{"an absolute path", []string{"/a"}, "must be relative"},
		{"a way up", []string{"a/../../b"}, "must not contain '..'"},
		{"a way up that stays inside", []string{"a/../b"}, "must not contain '..'"},
		{"a name of the layout's", []string{"..data"}, "must not start with '..'"},
		{"a name of the layout's behind a dot", []string{"./..data"}, "must not start with '..'"},
		{"a long path", []string{strings.Repeat("a/", 2050)}, "longer than 4096"},
		{"a long name", []string{"a/" + strings.Repeat("b", 256)}, "longer than 255"},
		{"a NUL", []string{"a\x00b"}, "NUL"},
		{"one twice (VO-10)", []string{"a/b", "a//b"}, `file "a/b" is there twice`},
		{"one through another (VO-10)", []string{"a/b/c", "a"}, `file "a/b/c" leads through file "a"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var f Files
			for _, p := range tt.paths {
				f.Files = append(f.Files, File{Path: p, Mode: 0o644})
			}
			_, err := f.tree()
			checkError(t, err, tt.want)
		})
	}
	_, err := Files{Files: []File{{Path: "a", Mode: os.ModeSetuid | 0o755}}}.tree()
	checkError(t, err, "not between 0 and 0777")
}

func TestMountOptions(t *testing.T) {
	disk, host, files := Volume{}, Volume{HostPath: &HostPath{Path: "/x"}}, Volume{Files: &Files{}}
	for _, tt := range []struct {
		name string
		m    Mount
		v    Volume
		old  bool // a kernel without recursive mount attributes
		want string
		root string
	}{
		{"an emptyDir is writable and runs programs, whatever its file system is mounted with", Mount{}, disk, false,
			"rbind rprivate rw exec suid dev", ""},
		{"a hostPath has what containerd gives it", Mount{}, host, false, "rbind rprivate rw", ""},
		{"read-only (VO-14)", Mount{ReadOnly: true}, host, false, "rbind rprivate ro", ""},
		{"files are read-only always", Mount{}, files, false, "rbind rprivate ro exec suid dev", ""},
		{"recursively read-only", Mount{ReadOnly: true, Recursive: RecursiveEnabled}, host, false, "rbind rprivate rro", ""},
		{"recursively if possible, and it is", Mount{ReadOnly: true, Recursive: RecursiveIfPossible}, host, false, "rbind rprivate rro", ""},
		{"recursively if possible, and it is not", Mount{ReadOnly: true, Recursive: RecursiveIfPossible}, host, true, "rbind rprivate ro", ""},
		{"not recursively", Mount{ReadOnly: true, Recursive: RecursiveDisabled}, host, false, "rbind rprivate ro", ""},
		{"propagation None (VO-15)", Mount{Propagation: PropagationNone}, host, false, "rbind rprivate rw", ""},
		{"propagation HostToContainer", Mount{Propagation: PropagationHostToContainer}, host, false, "rbind rslave rw", "rslave"},
		{"propagation Bidirectional", Mount{Propagation: PropagationBidirectional}, host, false, "rbind rshared rw", "rshared"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.m.Destination = "/d"
			if err := tt.m.check(); err != nil {
				t.Fatal(err)
			}
			got, err := tt.m.options(tt.v, !tt.old)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("options (-want +got):\n%s", diff)
			}
			if got := tt.m.Propagation.rootPropagation(); got != tt.root {
				t.Errorf("root propagation: got %q, want %q", got, tt.root)
			}
		})
	}
	_, err := Mount{ReadOnly: true, Recursive: RecursiveEnabled}.options(host, false)
	checkError(t, err, "need Linux 5.12")
}

func TestAMountThatCannotBeMeantIsRefused(t *testing.T) {
	for _, tt := range []struct {
		name string
		m    Mount
		want string
	}{
		{"a relative destination", Mount{Destination: "d"}, "must be absolute"},
		{"an unknown propagation", Mount{Destination: "/d", Propagation: "Sideways"}, `unknown mount propagation "Sideways"`},
		{"an unknown recursive mode", Mount{Destination: "/d", Recursive: "Perhaps"}, `unknown recursive read-only mode "Perhaps"`},
		{"recursively read-only and writable", Mount{Destination: "/d", Recursive: RecursiveEnabled}, "not read-only"},
		{"recursively read-only with propagation", Mount{Destination: "/d", ReadOnly: true, Recursive: RecursiveIfPossible,
			Propagation: PropagationHostToContainer}, "does not go with propagation HostToContainer"},
		{"an absolute subPath (VO-11)", Mount{Destination: "/d", SubPath: "/a", Key: "k"}, "error SubPath `/a` must not be an absolute path"},
		{"a subPath that goes up", Mount{Destination: "/d", SubPath: "a/..", Key: "k"}, "unable to provision SubPath `a/..`: must not contain '..'"},
		{"a subPath without a key", Mount{Destination: "/d", SubPath: "a"}, `key ""`},
		{"a key that goes up", Mount{Destination: "/d", SubPath: "a", Key: ".."}, `key ".."`},
		{"a key of two components", Mount{Destination: "/d", SubPath: "a", Key: "a/b"}, `key "a/b"`},
	} {
		t.Run(tt.name, func(t *testing.T) { checkError(t, tt.m.check(), tt.want) })
	}
}

func TestASetNeedsADirectoryOfItsOwn(t *testing.T) {
	for _, dir := range []string{"", "/", "//", "/a/..", "relative"} {
		if err := (Set{Dir: dir}).checkDir(); err == nil {
			t.Errorf("directory %q was taken, and TearDown would empty it", dir)
		}
	}
	s := Set{Dir: "/d", Volumes: map[string]Volume{".sub": {}, "a/b": {}, "": {}, strings.Repeat("x", 256): {}}}
	for name := range s.Volumes {
		if _, err := s.volume(name); err == nil {
			t.Errorf("a volume named %q was taken", name)
		}
	}
	_, err := s.volume("none")
	checkError(t, err, "no such volume")
}

// checkError holds err to contain want; empty: to be nil.
func checkError(t testing.TB, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("got the error %q, want none", err)
	case want != "" && err == nil:
		t.Errorf("got no error, want one that says %q", want)
	case want != "" && !strings.Contains(err.Error(), want):
		t.Errorf("got the error %q, want one that says %q", err, want)
	}
}
