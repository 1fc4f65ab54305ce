//go:build linux

package netns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

func TestCNIAttachesByAConfigurationOfTheUsersAndSaysWhyItCannot(t *testing.T) {
	m := newMachine(t)
	file := filepath.Join(t.TempDir(), "net.conf")
	write := func(ipam string) {
		conf := fmt.Sprintf(`{"cniVersion":"0.4.0","name":"mine","type":"bridge","bridge":"mine0","isGateway":true%s}`, ipam)
		if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cni := CNI{Dirs: m.dirs, CacheDir: filepath.Join(m.state, "cni")}
	attach := func() (Result, Attachment, error) {
		conf, err := ReadConf(file, m.dirs...)
		if err != nil {
			t.Fatal(err)
		}
		a := Attachment{Conf: conf, ContainerID: "x", IfName: "net1", NetNS: newNetns(t)}
		var res Result
		err = Do(m.netns, func() (err error) { res, err = cni.Attach(t.Context(), a); return err })
		return res, a, err
	}

	ipam := `,"ipam":{"type":"host-local","dataDir":"` + filepath.Join(m.state, "mine") + `","ranges":[[{"subnet":"%s"}]]}`
	write(fmt.Sprintf(ipam, "192.0.2.0/30"))
	res, a, err := attach()
	if err != nil {
		t.Fatal(err)
	}
	if want := []netip.Prefix{netip.MustParsePrefix("192.0.2.2/30")}; !slices.Equal(res.IPs, want) || res.Gateway != netip.MustParseAddr("192.0.2.1") {
		t.Errorf("got %+v, want %v by way of 192.0.2.1", res, want)
	}
	again := func() error { res2, err := cni.Attach(t.Context(), a); res = res2; return err }
	if err := Do(m.netns, again); err != nil || len(res.IPs) != 1 {
		t.Errorf("attaching a second time: got %+v, %v", res, err)
	}

	if _, _, err := attachOther(t, m, cni, a); err == nil || !strings.Contains(err.Error(), "no IP addresses available") {
		t.Errorf("with no address left: got error %v, want the plugin's own words", err)
	}
	inside(t, m.netns, func() error { return cni.Detach(t.Context(), a) })
	if held, err := reservations(filepath.Join(m.state, "mine", "mine")); err != nil || len(held) > 0 {
		t.Errorf("left after the detach: %v (%v)", held, err)
	}

	write("")
	if _, _, err := attach(); err == nil || !strings.Contains(err.Error(), "needs an ipam section") {
		t.Errorf("without ipam: got error %v, want one that says what is missing", err)
	}
	inside(t, m.netns, func() error {
		links, err := ourLinks()
		if err == nil && len(links) > 0 {
			err = fmt.Errorf("%d links are left", len(links))
		}
		return err
	})
}

func TestCNIKillsAPluginThatHangsAndWhatItStarted(t *testing.T) {
	dir := t.TempDir()
	pid := filepath.Join(dir, "pid")
	// ADD starts a program that outlives it and holds its output; DEL is well-behaved.
	script := "#!/bin/sh\ncat >/dev/null\n[ $CNI_COMMAND = DEL ] && exit 0\nsleep 1000 & echo $! >" + pid + ".new; mv " + pid + ".new " + pid + "; wait\n"
	if err := os.WriteFile(filepath.Join(dir, "hangs"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	a := Attachment{Conf: []byte(`{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"hangs"}]}`), ContainerID: "x", IfName: "eth0", NetNS: newNetns(t)}
	ctx, cancel := context.WithCancelCause(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		eventually(t, "the plugin has started", func() bool { return exists(pid) })
		cancel(errors.New("the user gave up"))
	})
	_, err := (CNI{Dirs: []string{dir}, CacheDir: dir}).Attach(ctx, a)
	wg.Wait()
	if err == nil || !strings.Contains(err.Error(), "CNI plugin hangs did not end in time: the user gave up") {
		t.Errorf("got error %v, want one with the plugin and the cause", err)
	}
	data, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "what the plugin started is gone", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child))
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
}

func TestCNIFailuresCarryThePluginsOwnWords(t *testing.T) {
	tests := []struct{ name, script, want string }{
		{"an error as the specification has it", `echo '{"code":7,"msg":"no such luck","details":"try again"}'; exit 1`, "no such luck; try again"},
		{"words on stderr", "echo it is broken >&2; exit 3", "exit status 3: it is broken"},
		{"silence", "exit 2", "exit status 2, without an error message"},
		{"an answer that is none", "echo hello", "invalid character 'h'"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			script := "#!/bin/sh\ncat >/dev/null\n[ $CNI_COMMAND = DEL ] && exit 0\n" + tt.script + "\n"
			if err := os.WriteFile(filepath.Join(dir, "odd"), []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			a := Attachment{Conf: []byte(`{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"odd"}]}`), ContainerID: "x", IfName: "eth0", NetNS: newNetns(t)}
			_, err := (CNI{Dirs: []string{dir}, CacheDir: dir}).Attach(t.Context(), a)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "attach x to network n") {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// attachOther attaches another namespace by the same configuration.
func attachOther(t *testing.T, m *machine, cni CNI, a Attachment) (Result, Attachment, error) {
	t.Helper()
	a.ContainerID, a.NetNS = "other", newNetns(t)
	var res Result
	err := Do(m.netns, func() (err error) { res, err = cni.Attach(t.Context(), a); return err })
	return res, a, err
}

func TestReadConfSaysWhatIsWrongWithTheFile(t *testing.T) {
	dir := t.TempDir()
	plugins := t.TempDir()
	for _, p := range []string{"bridge", "host-local"} {
		if err := os.WriteFile(filepath.Join(plugins, p), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct{ name, conf, want string }{
		{"a list", `{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"bridge","ipam":{"type":"host-local"}}]}`, ""},
		{"a single plugin", `{"cniVersion":"0.4.0","name":"n","type":"bridge","ipam":{"type":"host-local"}}`, ""},
		{"no JSON", "{\n\"name\": \"n\",\n]", "line 3: invalid character"},
		{"neither plugins nor type", `{"cniVersion":"1.0.0","name":"n"}`, `neither "plugins"`},
		{"no version", `{"name":"n","plugins":[{"type":"bridge"}]}`, "cniVersion is missing"},
		{"a version from the future", `{"cniVersion":"9.0.0","name":"n","plugins":[{"type":"bridge"}]}`, "newer than"},
		{"no name", `{"cniVersion":"1.0.0","plugins":[{"type":"bridge"}]}`, "no name"},
		{"a plugin that is not there", `{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"calico"}]}`, `CNI plugin "calico" is not in ` + plugins},
		{"an ipam plugin that is not there", `{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"bridge","ipam":{"type":"dhcp"}}]}`, `CNI plugin "dhcp"`},
		{"a plugin with a path", `{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"../bridge"}]}`, `CNI plugin "../bridge"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(dir, "conf.json")
			if err := os.WriteFile(file, []byte(tt.conf), 0o644); err != nil {
				t.Fatal(err)
			}
			conf, err := ReadConf(file, plugins)
			if tt.want == "" {
				if err != nil || !json.Valid(conf) || !strings.Contains(string(conf), `"plugins"`) {
					t.Errorf("got %s, %v, want a list", conf, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), file) {
				t.Errorf("got error %v, want one with the file and %q", err, tt.want)
			}
		})
	}
}
