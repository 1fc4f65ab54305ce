package flows

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var (
	update = flag.Bool("update", false, "rewrite the golden ledgers in testdata")
	record = flag.Bool("record", false, "rewrite the tapes in testdata with what this machine's kernel reports")
)

// A tape is what a real kernel reported of one run, message by message, with all that it is judged by.
type tape struct {
	Policy     Policy
	Containers []string
	Addresses  []netip.Addr
	Counts     counts
	Events     []tapeEvent
}

// A tapeEvent is one raw message in hexadecimal.
type tapeEvent struct {
	At      time.Time
	Message string
}

func (e tapeEvent) raw(t testing.TB) []byte {
	t.Helper()
	b, err := hex.DecodeString(e.Message)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readTape(t testing.TB, file string) tape {
	t.Helper()
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the tapes are of a little-endian machine, and netlink's order is the machine's")
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var p tape
	if err := json.Unmarshal(b, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// fold plays the tape without the event of the given index; -1: all of them.
func (p tape) fold(t testing.TB, without int) *table {
	t.Helper()
	var out table
	for i, e := range p.Events {
		if i == without {
			continue
		}
		m, err := parse(e.raw(t), e.At)
		if err != nil {
			t.Fatalf("event %d: %v", i, err)
		}
		out.apply(m)
	}
	return &out
}

func (p tape) judge() judge {
	name := func(a netip.AddrPort) string {
		if a.String() == "198.18.0.10:80" {
			return "api"
		}
		return ""
	}
	return judge{policy: p.Policy, containers: p.Containers, addresses: p.Addresses, name: name, now: p.Events[len(p.Events)-1].At}
}

func tapes(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.tape.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no tapes in testdata: %v", err)
	}
	return files
}

func TestTapesFoldToTheirGoldenLedgers(t *testing.T) {
	for _, file := range tapes(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			p := readTape(t, file)
			var got bytes.Buffer
			folded := p.fold(t, -1)
			for _, f := range p.judge().flows(folded.entries) {
				fmt.Fprintln(&got, f)
			}
			fmt.Fprintf(&got, "doubts: %q\n", folded.doubts(losses{}, p.Counts, p.Counts))
			golden := strings.TrimSuffix(file, ".tape.json") + ".golden"
			if *update || *record {
				if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != string(want) {
				t.Errorf("got\n%s\nwant (%s; -update rewrites it)\n%s", got.String(), golden, want)
			}
		})
	}
}

// Whatever opening is lost, the counters tell.
func TestNoOpeningCanBeLostUnnoticed(t *testing.T) {
	for _, file := range tapes(t) {
		p := readTape(t, file)
		lost := 0
		for i, e := range p.Events {
			if rawKind(e.raw(t)) != opened {
				continue
			}
			lost++
			if why := p.fold(t, i).doubts(losses{}, p.Counts, p.Counts); why == "" {
				t.Errorf("%s: the loss of event %d goes unnoticed", file, i)
			}
		}
		if lost == 0 {
			t.Errorf("%s has no opening", file)
		}
	}
}

// FuzzParse: whatever the kernel might send, parse returns and the fold goes on.
func FuzzParse(f *testing.F) {
	for _, file := range tapes(f) {
		for _, e := range readTape(f, file).Events {
			f.Add(e.raw(f))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parse(b, time.Unix(1, 0))
		if err != nil {
			return
		}
		var folded table
		folded.apply(m)
		judge{policy: Policy{Proxy: "p"}, containers: []string{"p"}}.flows(folded.entries)
	})
}
