package flows

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
)

// tape begins to record what the kernel reports of the site, under -record, and returns what ends it: a file in
// testdata. The recording has a stream of its own: the recorder under test knows nothing of it.
func (s *site) tape(name string) (end func()) {
	s.t.Helper()
	if !*record {
		return func() {}
	}
	stream, err := newStream(s.pod)
	if err != nil {
		s.t.Fatal(err)
	}
	return func() {
		s.t.Helper()
		s.complete()
		count, err := s.recorder.tagger.counters()
		if err != nil {
			s.t.Fatal(err)
		}
		addresses, err := addressesIn(s.pod)
		if err != nil {
			s.t.Fatal(err)
		}
		if err := stream.close(); err != nil {
			s.t.Fatal(err)
		}
		p := tape{Policy: s.recorder.config.Policy, Containers: s.recorder.names, Addresses: addresses, Counts: count}
		raws, _, err := stream.take()
		if err != nil {
			s.t.Fatal(err)
		}
		for _, r := range raws {
			p.Events = append(p.Events, tapeEvent{r.at, hex.EncodeToString(r.data)})
		}
		b, err := json.MarshalIndent(p, "", " ")
		if err != nil {
			s.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join("testdata", name+".tape.json"), append(b, '\n'), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
}
