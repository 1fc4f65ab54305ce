//go:build linux

package netns

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
