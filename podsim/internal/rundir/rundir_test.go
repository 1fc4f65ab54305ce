//go:build linux

package rundir

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMain runs this binary as the owner of a run where a test asks for a process that can be killed.
func TestMain(m *testing.M) {
	if state := os.Getenv("RUNDIR_TEST_OWNER"); state != "" {
		r, err := Create(state)
		if err == nil {
			err = r.Commit(Record{Pods: []Pod{{Name: "p"}}})
		}
		fmt.Println(r.ID, err)
		io.Copy(io.Discard, os.Stdin) // until the test ends it
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestARunLivesAsLongAsItsProcess(t *testing.T) {
	state := t.TempDir()
	owner := exec.Command(os.Args[0])
	owner.Env = append(os.Environ(), "RUNDIR_TEST_OWNER="+state)
	in, err := owner.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	id, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	if err != nil || rest != "<nil>" {
		t.Fatalf("the owner said %q, %v", line, err)
	}

	runs, err := List(state)
	if err != nil || len(runs) != 1 || !runs[0].Alive || !runs[0].Whole || runs[0].Pods[0].Name != "p" {
		t.Fatalf("while its process lives the list is %+v, %v; want one live run with its record", runs, err)
	}
	if _, _, err := Adopt(state, id); !errors.Is(err, ErrAlive) {
		t.Fatalf("Adopt of a live run: %v, want ErrAlive", err)
	}
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	owner.Wait() // it was killed
	if runs, err = List(state); err != nil || len(runs) != 1 || runs[0].Alive {
		t.Fatalf("after its process was killed the list is %+v, %v; want one dead run", runs, err)
	}
	r, e, err := Adopt(state, id)
	if err != nil || !e.Whole {
		t.Fatalf("Adopt of a dead run: %+v, %v", e, err)
	}
	if err := errors.Join(r.Remove(), r.Remove()); err != nil {
		t.Fatalf("remove twice: %v", err)
	}
	if runs, err = List(state); err != nil || len(runs) != 0 {
		t.Fatalf("after the removal the list is %+v, %v; want none", runs, err)
	}
}

// A child that was killed with its parent still to become another program holds the lock for a moment.
func TestADeadProcessesLockIsGivenTimeToGo(t *testing.T) {
	state := t.TempDir()
	r, err := Create(state)
	if err != nil {
		t.Fatal(err)
	}
	gone := exec.Command("/bin/true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.Dir, lockFile), fmt.Appendln(nil, gone.Process.Pid), 0o600); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(20*time.Millisecond, func() { _ = r.Close() })
	if runs, err := List(state); err != nil || len(runs) != 1 || runs[0].Alive {
		t.Errorf("the list is %+v, %v; want one dead run", runs, err)
	}
}

func TestATornRecordIsListedByItsID(t *testing.T) {
	for name, record := range map[string]string{"none": "", "half": `{"id": "abc`} {
		t.Run(name, func(t *testing.T) {
			state := t.TempDir()
			r, err := Create(state)
			if err != nil {
				t.Fatal(err)
			}
			if record != "" {
				if err := os.WriteFile(filepath.Join(r.Dir, recordFile), []byte(record), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			runs, err := List(state)
			if err != nil || len(runs) != 1 || runs[0].Whole || runs[0].ID != r.ID {
				t.Fatalf("List: %+v, %v; want the dead run %s without a whole record", runs, err, r.ID)
			}
		})
	}
}

func TestListingAtTheSameTimeDisturbsNobody(t *testing.T) {
	state := t.TempDir()
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if _, err := List(state); err != nil {
						t.Errorf("List: %v", err)
						return
					}
				}
			}
		})
	}
	for range 200 {
		r, err := Create(state)
		if err != nil {
			t.Fatalf("Create: %v", err)
		}
		if !ValidID(r.ID) {
			t.Fatalf("ID %q is not valid", r.ID)
		}
		if err := r.Remove(); err != nil {
			t.Fatalf("Remove: %v", err)
		}
	}
	close(stop)
	wg.Wait()
}

// Its logs may take a while.
func TestARunIsAliveUntilItsRecordIsRemoved(t *testing.T) {
	state := t.TempDir()
	r, err := Create(state)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Commit(Record{}); err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		l, err := r.CreateLog("p", fmt.Sprint(i), 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	removed := make(chan error, 1)
	go func() { removed <- r.Remove() }()
	for {
		runs, err := List(state)
		if err != nil {
			t.Fatal(err)
		}
		if len(runs) == 1 && runs[0].Whole && !runs[0].Alive {
			t.Fatal("while it is removed the run is listed as dead")
		}
		if len(runs) == 0 {
			break
		}
	}
	if err := <-removed; err != nil {
		t.Error(err)
	}
}

func TestARunWithoutADirectoryCanBeAdopted(t *testing.T) {
	r, e, err := Adopt(t.TempDir(), "abcdefg")
	if err != nil || e.Whole || e.ID != "abcdefg" {
		t.Fatalf("Adopt: %+v, %v", e, err)
	}
	if err := r.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Adopt(t.TempDir(), "../../etc"); err == nil {
		t.Fatal("Adopt took ../../etc for an ID")
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
