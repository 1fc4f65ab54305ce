package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// proxyUser is the user that the redirect rules of the tests leave alone.
const proxyUser = 1337

// upstreams are addresses of loopback that the rules redirect: the tests' stand-ins for the world.
var (
	upstream4 = netip.MustParseAddr("10.99.0.1")
	upstream6 = netip.MustParseAddr("fd99::1")
	podIP     = netip.MustParseAddr("10.99.0.2") // connections to it are taken for inbound ones
)

// world makes the addresses and the rules: TCP to upstreams goes to 15001, and to the pod's own address to 15006,
// unless the proxy's user opens it. They go with the test.
func world(t *testing.T, exempt int) {
	t.Helper()
	needNamespace(t)
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []netip.Addr{upstream4, upstream6, podIP} {
		addr := &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}, Flags: unix.IFA_F_NODAD}
		if err := netlink.AddrReplace(lo, addr); err != nil {
			t.Fatalf("add %v to lo: %v", a, err)
		}
		t.Cleanup(func() {
			if err := netlink.AddrDel(lo, addr); err != nil {
				t.Errorf("remove %v from lo: %v", a, err)
			}
		})
	}
	c, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	for family, redirects := range map[nftables.TableFamily]map[netip.Addr]uint16{
		nftables.TableFamilyIPv4: {upstream4: 15001, podIP: 15006},
		nftables.TableFamilyIPv6: {upstream6: 15001},
	} {
		table := c.AddTable(&nftables.Table{Family: family, Name: "sidekick-test"})
		chain := c.AddChain(&nftables.Chain{Table: table, Name: "output", Type: nftables.ChainTypeNAT,
			Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityNATDest})
		for to, port := range redirects {
			c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: redirect(to, port, exempt)})
		}
		t.Cleanup(func() {
			c.DelTable(table)
			if err := c.Flush(); err != nil {
				t.Errorf("remove the rules: %v", err)
			}
		})
	}
	if err := c.Flush(); err != nil {
		t.Fatalf("add the rules: %v", err)
	}
}

// redirect is: tcp to an address, not from a user, goes to a port of this namespace.
func redirect(to netip.Addr, port uint16, exempt int) []expr.Any {
	offset := uint32(16)
	if to.Is6() {
		offset = 24
	}
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: uint32(to.BitLen() / 8)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: to.AsSlice()},
		&expr.Meta{Key: expr.MetaKeySKUID, Register: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(uint32(exempt))},
		&expr.Immediate{Register: 1, Data: binary.BigEndian.AppendUint16(nil, port)},
		&expr.Redir{RegisterProtoMin: 1},
	}
}

// startProxy runs the proxy as a process of its own, as the proxy's user.
func startProxy(t *testing.T, args ...string) (*transcript, *exec.Cmd) {
	t.Helper()
	out := newTranscript()
	cmd := exec.Command(runnable(t), append([]string{"proxy", "--admin", "127.0.0.1:15021"}, args...)...)
	cmd.Env = []string{asSidekick + "=1"}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: proxyUser, Gid: proxyUser}, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start the proxy: %v", err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
	})
	out.wait(t, `listening on 127\.0\.0\.1:15021`)
	return out, cmd
}

// runnable is the test binary where the proxy's user can run it: the go command builds it in a private folder.
func runnable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "sidekick-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	path := dir + "/sidekick"
	if err := os.WriteFile(path, self, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// serveTCP answers connections to an address with a function, and returns the address.
func serveTCP(t *testing.T, address string, answer func(*net.TCPConn)) string {
	t.Helper()
	l, err := listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { defer conn.Close(); answer(conn.(*net.TCPConn)) })
		}
	})
	t.Cleanup(func() { l.Close(); running.Wait() })
	return l.Addr().String()
}

// reverse reads to the end and only then answers, with what it read backwards: it needs half-closed connections.
func reverse(conn *net.TCPConn) {
	b, _ := io.ReadAll(conn)
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	conn.Write(b)
}

func dialTCP(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatalf("dial %s: %v", address, err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// exchange sends, closes that half, and returns what comes.
func exchange(conn *net.TCPConn, text string) (string, error) {
	if _, err := io.WriteString(conn, text); err != nil {
		return "", err
	}
	if err := conn.CloseWrite(); err != nil {
		return "", err
	}
	b, err := io.ReadAll(conn)
	return string(b), err
}

// T02, T25: the original destination is recovered in both families, and each half closes by itself.
func TestProxyRecoversTheOriginalDestination(t *testing.T) {
	world(t, proxyUser)
	out, _ := startProxy(t)
	for _, upstream := range []netip.Addr{upstream4, upstream6} {
		t.Run(upstream.String(), func(t *testing.T) {
			at := serveTCP(t, netip.AddrPortFrom(upstream, 0).String(), reverse)
			conn := dialTCP(t, at)
			got, err := exchange(conn, "stressed")
			if err != nil || got != "desserts" {
				t.Errorf("got %q, error %v; want desserts", got, err)
			}
			out.wait(t, fmt.Sprintf(`(?m)^outbound %s to %s via \S+ to %[2]s$`, quote(conn.LocalAddr()), quote(conn.RemoteAddr())))
		})
	}
}

// An MPTCP client, as Go's are where it is asked for, is no exception.
func TestProxyTakesMPTCPClients(t *testing.T) {
	world(t, proxyUser)
	startProxy(t)
	at := serveTCP(t, netip.AddrPortFrom(upstream4, 0).String(), reverse)
	var dialer net.Dialer
	dialer.SetMultipathTCP(true)
	conn, err := dialer.DialContext(t.Context(), "tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got, err := exchange(conn.(*net.TCPConn), "ab"); err != nil || got != "ba" {
		t.Errorf("got %q, error %v; want ba", got, err)
	}
}

// T22: a server that speaks first is heard without a word from the client.
func TestProxyLetsTheServerSpeakFirst(t *testing.T) {
	world(t, proxyUser)
	startProxy(t)
	at := serveTCP(t, netip.AddrPortFrom(upstream4, 0).String(), func(c *net.TCPConn) { fmt.Fprintln(c, "220 hello") })
	line, err := bufio.NewReader(dialTCP(t, at)).ReadString('\n')
	if err != nil || line != "220 hello\n" {
		t.Errorf("got %q, error %v; want the banner", line, err)
	}
}

// T03, T48: inbound connections reach the app on localhost, from the address that is asked for.
func TestProxyHandsInboundToTheApp(t *testing.T) {
	for _, source := range []string{"", "127.0.0.6"} {
		t.Run("from "+source, func(t *testing.T) {
			world(t, proxyUser)
			out, _ := startProxy(t, "--inbound-from", source)
			app := serveTCP(t, "127.0.0.1:0", func(c *net.TCPConn) { fmt.Fprint(c, c.RemoteAddr()) })
			_, port, _ := net.SplitHostPort(app)
			conn := dialTCP(t, net.JoinHostPort(podIP.String(), port))
			got, err := exchange(conn, "")
			want := source
			if want == "" {
				want = "127.0.0.1"
			}
			if err != nil || !strings.HasPrefix(got, want+":") {
				t.Errorf("the app saw %q, error %v; want %s", got, err, want)
			}
			out.wait(t, fmt.Sprintf(`(?m)^inbound %s to %s via %s to %s$`, quote(conn.LocalAddr()), quote(conn.RemoteAddr()), quoteString(got), quoteString(app)))
		})
	}
}

// T51: an upstream that refuses is a reset for the client, not silence.
func TestProxyPassesOnARefusal(t *testing.T) {
	world(t, proxyUser)
	out, _ := startProxy(t)
	if err := attempt(netip.AddrPortFrom(upstream4, 9).String()); classify(err) != "reset" {
		t.Errorf("got error %v; want a reset", err)
	}
	out.wait(t, `(?m)^outbound \S+ to 10\.99\.0\.1:9 failed: dial tcp .*connection refused$`)
}

// T06: a connection to the proxy's own ports goes nowhere, and says so.
func TestProxyRefusesItsOwnPorts(t *testing.T) {
	world(t, proxyUser)
	out, _ := startProxy(t)
	for _, at := range []string{"127.0.0.1:15001", "[::1]:15006"} {
		if err := attempt(at); classify(err) != "reset" {
			t.Errorf("%s: got error %v; want a reset", at, err)
		}
		out.wait(t, `to `+quoteString(at)+` failed: refused, it would be a loop`)
	}
	if got := ask(t, "http://127.0.0.1:15021/stats"); !strings.Contains(string(got.body), `"refused":2,`) {
		t.Errorf("the proxy counts %s; want two refused", got.body)
	}
}

// T05: where the proxy's own user is not exempt, its first connection comes back to it, and no second one does.
func TestProxyEndsALoop(t *testing.T) {
	world(t, proxyUser+1)
	out, _ := startProxy(t)
	at := serveTCP(t, netip.AddrPortFrom(upstream4, 0).String(), reverse)
	if err := attempt(at); classify(err) != "reset" {
		t.Errorf("got error %v through a loop; want a reset", err)
	}
	out.wait(t, `failed: refused, it would be a loop: the proxy opened this connection itself`)
	if got := ask(t, "http://127.0.0.1:15021/stats"); !strings.HasPrefix(string(got.body), `{"outbound":2,`) || !strings.Contains(string(got.body), `"refused":1,`) {
		t.Errorf("the proxy counts %s; want two connections, one of them refused", got.body)
	}
}

// T35: after TERM open connections may end, readiness is gone, and then so is the proxy.
func TestProxyDrains(t *testing.T) {
	world(t, proxyUser)
	out, cmd := startProxy(t, "--drain", "1h")
	at := serveTCP(t, netip.AddrPortFrom(upstream4, 0).String(), reverse)
	conn := dialTCP(t, at)
	out.wait(t, `(?m)^outbound .* via `)
	if got := ask(t, "http://127.0.0.1:15021/healthz/ready"); got.status != http.StatusOK {
		t.Errorf("before TERM readiness is %d; want 200", got.status)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	out.wait(t, `draining 1 connections`)
	if got := ask(t, "http://127.0.0.1:15021/healthz/ready"); got.status != http.StatusServiceUnavailable {
		t.Errorf("while draining readiness is %d; want 503", got.status)
	}
	if got, err := exchange(conn, "ab"); err != nil || got != "ba" {
		t.Errorf("while draining got %q, error %v; want ba", got, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the proxy ended with %v; want 0", err)
	}
}

func TestProxyDropsWhatOutlivesTheDrain(t *testing.T) {
	world(t, proxyUser)
	out, cmd := startProxy(t, "--drain", "10ms")
	at := serveTCP(t, netip.AddrPortFrom(upstream4, 0).String(), reverse)
	dialTCP(t, at)
	out.wait(t, `(?m)^outbound .* via `)
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("the proxy ended with %v; want 0", err)
	}
	out.wait(t, `1 connections still open after 10ms are dropped`)
}

func TestProxyEndsWhenItIsToldToQuit(t *testing.T) {
	world(t, proxyUser)
	_, cmd := startProxy(t)
	if out, code := once(t, "quit"); code != 0 {
		t.Errorf("quit ended with %d: %s", code, out)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the proxy ended with %v; want 0", err)
	}
}

// attempt connects and waits for the end of the connection. A reset may meet it at either.
func attempt(address string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = io.Copy(io.Discard, conn)
	return err
}

func quote(a net.Addr) string { return quoteString(a.String()) }
func quoteString(text string) string {
	return strings.NewReplacer(".", `\.`, "[", `\[`, "]", `\]`).Replace(text)
}
