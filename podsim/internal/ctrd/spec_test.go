//go:build linux

package ctrd

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// plainHost has cgroup v1 or hybrid, and all that podsim could wish for.
func plainHost() Facts {
	return Facts{Caps: append([]string{"CAP_SYS_RESOURCE", "CAP_SYS_ADMIN", "CAP_NET_ADMIN"}, defaultCaps...),
		Limits: map[string]uint64{"RLIMIT_NOFILE": 1024}, Swap: true, Volatile: true}
}

func without(f Facts, capability string) Facts {
	f.Caps = slices.DeleteFunc(slices.Clone(f.Caps), func(c string) bool { return c == capability })
	return f
}

// TestSpec plays each case against its golden file, which holds the notes and the whole specification.
func TestSpec(t *testing.T) {
	unified := plainHost()
	unified.Unified = true
	with := func(change func(*Spec)) Spec {
		s := Spec{Args: []string{"/app", "-v"}, Cgroup: "/podsim/abc/app"}
		change(&s)
		return s
	}
	low, high := -997, 1000
	tests := map[string]struct {
		host Facts
		spec Spec
	}{
		"nothing said":                  {plainHost(), with(func(*Spec) {})},
		"nothing said on a v2 host":     {unified, with(func(*Spec) {})},
		"joined namespaces of a pod":    {plainHost(), with(func(s *Spec) { s.Namespaces = Namespaces{Net: "/n", IPC: "/i", UTS: "/u"}; s.Hostname = "ignored" })},
		"a shared PID namespace":        {plainHost(), with(func(s *Spec) { s.Namespaces.PID = "/proc/7/ns/pid" })},
		"the host's namespaces":         {plainHost(), with(func(s *Spec) { s.Namespaces = Namespaces{HostNet: true, HostIPC: true, HostUTS: true, HostPID: true} })},
		"a hostname of its own":         {plainHost(), with(func(s *Spec) { s.Hostname = "web-0" })},
		"NS-03 user and groups":         {plainHost(), with(func(s *Spec) { s.User = User{UID: 1000, GID: 1000, Groups: []uint32{1000, 2000}} })},
		"NS-05 a read-only root":        {plainHost(), with(func(s *Spec) { s.ReadonlyRoot = true })},
		"NS-06 caps dropped and added":  {plainHost(), with(func(s *Spec) { s.CapDrop = []string{"ALL"}; s.CapAdd = []string{"net_admin", "CAP_NET_BIND_SERVICE"} })},
		"NS-06 all caps but one":        {plainHost(), with(func(s *Spec) { s.CapAdd = []string{"ALL"}; s.CapDrop = []string{"SYS_ADMIN"} })},
		"NS-06 a cap that cannot be":    {without(plainHost(), "CAP_NET_ADMIN"), with(func(s *Spec) { s.CapAdd = []string{"NET_ADMIN"} })},
		"NS-07 privileged":              {plainHost(), with(func(s *Spec) { s.Privileged = true })},
		"NS-07 privileged on a v2 host": {unified, with(func(s *Spec) { s.Privileged = true })},
		"NS-08 no new privileges":       {plainHost(), with(func(s *Spec) { s.NoNewPrivileges = true })},
		"NS-09 seccomp that runc lacks": {plainHost(), with(func(s *Spec) { s.Seccomp.Mode = SeccompRuntimeDefault })},
		"NS-09 a localhost profile": {func() Facts { f := plainHost(); f.Seccomp = true; return f }(), with(func(s *Spec) {
			s.Seccomp = Seccomp{SeccompLocalhost, []byte(`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}`)}
		})},
		"NS-10 proc unmasked": {plainHost(), with(func(s *Spec) { s.Unmasked = true })},
		"RS-04 limits": {plainHost(), with(func(s *Spec) {
			s.Resources = Resources{CPUShares: 102, CPUQuota: 20000, CPUPeriod: 100000, Memory: 64 << 20, PIDs: 50}
		})},
		"RS-04 memory without swap account": {func() Facts { f := plainHost(); f.Swap = false; return f }(), with(func(s *Spec) { s.Resources.Memory = 64 << 20 })},
		"RS-05 oom score lowered":           {plainHost(), with(func(s *Spec) { s.OOMScoreAdj = &low })},
		"RS-05 oom score not lowered":       {without(plainHost(), "CAP_SYS_RESOURCE"), with(func(s *Spec) { s.OOMScoreAdj = &low })},
		"RS-05 oom score raised":            {without(plainHost(), "CAP_SYS_RESOURCE"), with(func(s *Spec) { s.OOMScoreAdj = &high })},
		"an rlimit not raised":              {without(plainHost(), "CAP_SYS_RESOURCE"), with(func(s *Spec) { s.Rlimits = []Rlimit{{"RLIMIT_NOFILE", 2048, 4096}} })},
		"mounts": {plainHost(), with(func(s *Spec) {
			s.Mounts = []Mount{
				{Source: "/v/deep", Destination: "/data/deep/er", Options: []string{"ro"}},
				{Source: "/v/top", Destination: "/data", Options: []string{"rw", "rslave"}},
				{Source: "/v/shm", Destination: "/dev/shm/"},
				{Source: "tmpfs", Destination: "/cache", Type: "tmpfs", Options: []string{"size=1m"}},
			}
		})},
		"a mount that sends its mounts out": {plainHost(), with(func(s *Spec) {
			s.Mounts = []Mount{{Source: "/a", Destination: "/a", Options: []string{"rshared"}}, {Source: "/b", Destination: "/b", Options: []string{"rslave"}}}
		})},
		"a terminal, directory, environment, sysctl and annotation": {plainHost(), with(func(s *Spec) {
			s.TTY, s.Cwd, s.Env = true, "/srv", []string{"PATH=/opt", "A=b"}
			s.Sysctls, s.Annotations = map[string]string{"net.core.somaxconn": "1024"}, map[string]string{"k": "v"}
		})},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out, notes, err := tt.spec.generate(tt.host)
			if err != nil {
				t.Fatal(err)
			}
			data, err := json.MarshalIndent(map[string]any{"notes": notes, "spec": out}, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("testdata", "spec", strings.ReplaceAll(name, " ", "-")+".json"), string(data)+"\n")
		})
	}
}

func golden(t testing.TB, path, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; run the test with -update to write it", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("not as in %s (-want +got):\n%s", path, diff)
	}
}

func TestSpecsThatCannotBe(t *testing.T) {
	tests := map[string]struct {
		spec Spec
		want string
	}{
		"no command":           {Spec{Cgroup: "/c"}, "no command"},
		"no cgroup":            {Spec{Args: []string{"a"}}, "is not absolute"},
		"a relative directory": {Spec{Args: []string{"a"}, Cgroup: "/c", Cwd: "srv"}, `working directory "srv"`},
		"an unknown cap":       {Spec{Args: []string{"a"}, Cgroup: "/c", CapAdd: []string{"FLY"}}, "unknown capability FLY"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, _, err := tt.spec.generate(plainHost()); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestDaemonTOML(t *testing.T) {
	golden(t, "testdata/containerd.toml", daemonTOML(Config{State: `/var/lib/pod"sim`, Run: "/run/podsim", Bundle: "/opt"}))
}

func TestUsers(t *testing.T) {
	a := parseAccounts("root:x:0:0:root:/root:/bin/sh\nweb:x:101:102::/:\n# broken\nbad:x:y:z\n42:x:7:8::/:\n",
		"root:x:0:\nwheel:x:10:root\nweb:x:102:\nextra:x:200:web,root\n")
	n := func(v int64) *int64 { return &v }
	tests := map[string]struct {
		req  UserRequest
		want User
		err  string
	}{
		"nothing said is root with root's groups": {UserRequest{}, User{0, 0, []uint32{0, 10, 200}}, ""},
		"a name":                    {UserRequest{Image: "web"}, User{101, 102, []uint32{102, 200}}, ""},
		"a name and a group's name": {UserRequest{Image: "web:wheel"}, User{101, 10, []uint32{10, 200}}, ""},
		"numbers":                   {UserRequest{Image: "101:10"}, User{101, 10, []uint32{10, 200}}, ""},
		"a number that has no account has group 0":               {UserRequest{Image: "5000"}, User{5000, 0, []uint32{0}}, ""},
		"a name that looks like a number is a name in the image": {UserRequest{Image: "42"}, User{7, 8, []uint32{8}}, ""},
		"runAsUser is never a name":                              {UserRequest{Image: "web", UID: n(42)}, User{42, 0, []uint32{0}}, ""},
		"runAsUser drops the image's group":                      {UserRequest{Image: "web:wheel", UID: n(101)}, User{101, 102, []uint32{102, 200}}, ""},
		"runAsGroup counts before all":                           {UserRequest{Image: "web", GID: n(3)}, User{101, 3, []uint32{3, 200}}, ""},
		"supplementary groups are merged":                        {UserRequest{Image: "web", Groups: []int64{9, 200}}, User{101, 102, []uint32{102, 9, 200}}, ""},
		"supplementary groups may be strict":                     {UserRequest{Image: "web", Groups: []int64{9}, Strict: true}, User{101, 102, []uint32{102, 9}}, ""},
		"an unknown name":                                        {UserRequest{Image: "who"}, User{}, `no user "who"`},
		"an unknown group":                                       {UserRequest{Image: "web:who"}, User{}, `no group "who"`},
		"a number too large":                                     {UserRequest{UID: n(1 << 40)}, User{}, "is not between"},
		"a negative group":                                       {UserRequest{GID: n(-1)}, User{}, "runAsGroup"},
	}
	for name, tt := range tests {
		t.Run("NS-03 "+name, func(t *testing.T) {
			got, err := a.resolve(tt.req)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %+v, %v; want the error %q", got, err, tt.err)
				}
				return
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestFilesAreReadThroughTheLayers(t *testing.T) {
	top, bottom := t.TempDir(), t.TempDir()
	write := func(root, name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(bottom, "etc/passwd", "below")
	write(bottom, "etc/only", "below")
	write(bottom, "lib/real", "linked")
	write(top, "etc/passwd", "above")
	for name, target := range map[string]string{"etc/abs": "/lib/real", "etc/rel": "../lib/real", "etc/loop": "loop", "etc/out": "../../../../../../etc/hostname"} {
		if err := os.Symlink(target, filepath.Join(top, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"etc/passwd": "above", "etc/only": "below", "etc/none": "", "etc/abs": "linked", "etc/rel": "linked", "etc/loop": "", "etc/out": ""} {
		if got, err := readLayered([]string{top, bottom}, name); err != nil || got != want {
			t.Errorf("%s holds %q, %v; want %q", name, got, err, want)
		}
	}
}
