package volumes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// visible is what a container sees of a volume: each file's data by its path, symlinks followed.
func visible(root string) (map[string]string, error) {
	seen := map[string]string{}
	tops, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	for _, top := range tops {
		if strings.HasPrefix(top.Name(), "..") {
			continue
		}
		real, err := filepath.EvalSymlinks(filepath.Join(root, top.Name()))
		if err != nil {
			return nil, err
		}
		err = filepath.WalkDir(real, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(p)
			rel, _ := filepath.Rel(real, p)
			seen[filepath.Join(top.Name(), rel)] = string(data)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return seen, nil
}

func TestFilesAreLaidOutAsTheKubeletDoes(t *testing.T) {
	gid := int64(4711)
	files := &Files{Files: []File{
		{Path: "key", Mode: 0o644, Data: []byte("value")},
		{Path: "private", Mode: 0o400, Data: []byte{0, 0xff}}, // VO-09
		{Path: "dir/deep/er", Mode: 0o755, Data: nil},
	}}
	secret := *files
	secret.Memory = true
	s := newSet(t, map[string]Volume{"config": {Files: files}, "group": {Files: &secret, FSGroup: &gid}, "none": {Files: &Files{}}})
	must(t, s.SetUpAll(t.Context()))
	must(t, s.SetUpAll(t.Context()))

	config := s.Path("config")
	checkFile(t, config, "drwxrwxrwx 0")
	for link, want := range map[string]string{"key": "..data/key", "private": "..data/private", "dir": "..data/dir"} {
		if got, err := os.Readlink(filepath.Join(config, link)); got != want {
			t.Errorf("%s: links to %q (error %v), want %q", link, got, err, want)
		}
	}
	version, err := os.Readlink(filepath.Join(config, "..data"))
	must(t, err)
	checkFile(t, filepath.Join(config, version), "drwxr-xr-x 0")
	checkFile(t, filepath.Join(config, "..data/key"), "-rw-r--r-- 0")
	checkFile(t, filepath.Join(config, "..data/private"), "-r-------- 0")
	checkFile(t, filepath.Join(config, "..data/dir/deep"), "drwxr-xr-x 0")
	checkFile(t, filepath.Join(config, "dir/deep/er"), "-rwxr-xr-x 0")
	checkData(t, filepath.Join(config, "key"), "value")
	checkData(t, filepath.Join(config, "private"), "\x00\xff")

	group := s.Path("group") // VO-03: readable to the group, however private
	checkFile(t, group, "dgrwxrwxrwx 4711")
	checkFile(t, filepath.Join(group, "..data/private"), "-r--r----- 4711")
	checkFile(t, filepath.Join(group, "..data/dir/deep"), "dgrwxr-xr-x 4711")
	if got := mountsUnder(t, s.Dir); !slices.Contains(got, group) { // VO-06
		t.Errorf("a secret is not on a tmpfs of its own: mounts are %v", got)
	}
	if seen, err := visible(s.Path("none")); err != nil || len(seen) > 0 { // VO-07
		t.Errorf("a volume without files shows %v (error %v)", seen, err)
	}
}

func TestAnUpdateOfFilesThatAreTheSameTouchesNothing(t *testing.T) {
	s := newSet(t, map[string]Volume{"v": {Files: &Files{Files: []File{{Path: "a", Mode: 0o644, Data: []byte("x")}}}}})
	must(t, s.SetUpAll(t.Context()))
	before, err := os.Readlink(filepath.Join(s.Path("v"), "..data"))
	must(t, err)
	must(t, s.SetUpAll(t.Context()))
	if after, _ := os.Readlink(filepath.Join(s.Path("v"), "..data")); after != before {
		t.Errorf("the version went from %s to %s though nothing changed", before, after)
	}
	s.Volumes["v"] = Volume{Files: &Files{Files: []File{{Path: "a", Mode: 0o600, Data: []byte("x")}}}}
	must(t, s.SetUpAll(t.Context()))
	checkFile(t, filepath.Join(s.Path("v"), "..data/a"), "-rw------- 0")
}

func TestAReaderSeesOneVersionOrTheOther(t *testing.T) {
	version := func(n int) map[string]Volume {
		data := []byte(strings.Repeat(fmt.Sprint(n%10), 64<<10))
		return map[string]Volume{"v": {Files: &Files{Files: []File{{Path: "a", Mode: 0o644, Data: data}, {Path: "b", Mode: 0o644, Data: data}}}}}
	}
	s := newSet(t, version(0))
	must(t, s.SetUpAll(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	file := filepath.Join(s.Path("v"), "a")
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			data, err := os.ReadFile(file)
			if errors.Is(err, fs.ErrNotExist) { // ..data was read, and its directory gone before the file was opened
				continue
			}
			if err != nil || len(data) != 64<<10 || strings.Count(string(data), string(data[:1])) != len(data) {
				t.Errorf("a reader saw %d bytes of more than one version (error %v)", len(data), err)
				return
			}
		}
	})
	for n := range 200 {
		s.Volumes = version(n)
		if err := s.SetUpAll(t.Context()); err != nil {
			t.Error(err)
			break
		}
	}
	cancel()
	wg.Wait()
}

func TestAWriteStartsFromWhateverAnInterruptedOneLeft(t *testing.T) {
	files := []File{{Path: "a", Mode: 0o644, Data: []byte("new")}, {Path: "d/b", Mode: 0o644, Data: []byte("new")}}
	for _, tt := range []struct {
		name  string
		leave func(t *testing.T, s Set, root string)
	}{
		{"the root had not got its name", func(t *testing.T, s Set, root string) {
			must(t, os.RemoveAll(root))
			must(t, os.Mkdir(filepath.Join(s.Dir, newPrefix+"v"), 0o700))
		}},
		{"the version was not complete", func(t *testing.T, s Set, root string) {
			must(t, os.MkdirAll(filepath.Join(root, "..2026_01_01_00_00_00.1/d"), 0o755))
		}},
		{"the version was not in force", func(t *testing.T, s Set, root string) {
			must(t, os.MkdirAll(filepath.Join(root, "..2026_01_01_00_00_00.1/d"), 0o755))
			must(t, os.Symlink("..2026_01_01_00_00_00.1", filepath.Join(root, newLink)))
		}},
		{"nothing linked to it", func(t *testing.T, s Set, root string) { must(t, os.Remove(filepath.Join(root, "a"))) }},
		{"an old name was still there", func(t *testing.T, s Set, root string) {
			must(t, os.Symlink("..data/old", filepath.Join(root, "old")))
		}},
		{"the version in force was gone", func(t *testing.T, s Set, root string) {
			must(t, os.Remove(filepath.Join(root, dataLink)))
			must(t, os.Symlink("..gone", filepath.Join(root, dataLink)))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSet(t, map[string]Volume{"v": {Files: &Files{Files: files}}})
			must(t, s.SetUpAll(t.Context()))
			tt.leave(t, s, s.Path("v"))
			must(t, s.SetUpAll(t.Context()))
			got, err := visible(s.Path("v"))
			must(t, err)
			if diff := cmp.Diff(map[string]string{"a": "new", "d/b": "new"}, got); diff != "" {
				t.Errorf("what is visible (-want +got):\n%s", diff)
			}
			checkNames(t, s.Path("v"), []string{"..data", "..VERSION", "a", "d"})
		})
	}
}

// checkNames holds a Files volume's root to the names; ..VERSION stands for one version.
func checkNames(t testing.TB, root string, want []string) {
	t.Helper()
	entries, err := os.ReadDir(root)
	must(t, err)
	var got []string
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, "..2") {
			name = "..VERSION"
		}
		got = append(got, name)
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names in the volume's root (-want +got):\n%s", diff)
	}
}

func TestAFullDiskKeepsTheOldVersion(t *testing.T) {
	needRoot(t)
	disk := newTmpfs(t, "size=1m", 0)
	small := Volume{Files: &Files{Files: []File{{Path: "a", Mode: 0o644, Data: []byte("old")}}}}
	s := Set{Dir: filepath.Join(disk, "vol"), Volumes: map[string]Volume{"v": small}}
	must(t, s.SetUpAll(t.Context()))
	s.Volumes["v"] = Volume{Files: &Files{Files: []File{{Path: "a", Mode: 0o644, Data: make([]byte, 2<<20)}, {Path: "b", Mode: 0o644}}}}
	if err := s.SetUpAll(t.Context()); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("2 MiB of files on a disk of 1 MiB: got %v, want no space left", err)
	}
	checkData(t, filepath.Join(s.Path("v"), "a"), "old")
	checkNames(t, s.Path("v"), []string{"..data", "..VERSION", "a"})
	must(t, s.TearDown(t.Context()))
}

func TestWhatIsVisibleIsAlwaysTheLatestFiles(t *testing.T) {
	needRoot(t)
	parent := t.TempDir()
	name := rapid.SampledFrom([]string{"a", "b", "c", "a.b", ".x", "..y"})
	rapid.Check(t, func(t *rapid.T) {
		s := Set{Dir: filepath.Join(parent, "vol"), Volumes: map[string]Volume{}}
		for range rapid.IntRange(1, 5).Draw(t, "updates") {
			var files Files
			for range rapid.IntRange(0, 6).Draw(t, "files") {
				parts := rapid.SliceOfN(name, 1, 3).Draw(t, "path")
				files.Files = append(files.Files, File{Path: strings.Join(parts, "/"), Mode: 0o644, Data: []byte(rapid.String().Draw(t, "data"))})
			}
			s.Volumes["v"] = Volume{Files: &files}
			err := s.SetUpAll(context.Background())
			want, bad := files.tree()
			if (err == nil) != (bad == nil) {
				t.Fatalf("set up: got %v, where the files' check says %v", err, bad)
			}
			if bad != nil {
				continue
			}
			got, err := visible(s.Path("v"))
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(want) {
				t.Fatalf("visible is %v, want %v", got, want)
			}
			for p, f := range want {
				if got[p] != string(f.Data) {
					t.Fatalf("%s: got %q, want %q", p, got[p], f.Data)
				}
			}
		}
		if err := s.TearDown(context.Background()); err != nil {
			t.Fatal(err)
		}
	})
}
