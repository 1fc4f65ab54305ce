//go:build linux

package ctrd

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAMemoIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	cfg := Config{State: t.TempDir()}
	const digest = "sha256:0123"
	want := imageMemo{Chain: "sha256:4567", Image: Image{ID: "sha256:89", Size: 7, Entrypoint: []string{"/a"}, Env: []string{"A=b"}, User: "1:2", StopSignal: "QUIT"}}
	var got imageMemo
	if memoImage.read(cfg, digest, &got) {
		t.Fatal("there is a memo before one was written")
	}
	memoImage.write(cfg, digest, want)
	if !memoImage.read(cfg, digest, &got) {
		t.Fatal("the memo is not read")
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(Image{})); d != "" {
		t.Error(d)
	}
	if entries, err := os.ReadDir(cfg.memos()); err != nil || len(entries) != 1 {
		t.Errorf("the directory holds %v, %v; want the memo alone", entries, err)
	}
	if memoAccounts.read(cfg, digest, &accountsMemo{}) {
		t.Error("an image's memo was read as one of its accounts")
	}
	if err := os.Truncate(memoImage.path(cfg, digest), 10); err != nil {
		t.Fatal(err)
	}
	if memoImage.read(cfg, digest, &got) {
		t.Error("a torn memo is read")
	}
	memoImage.forget(cfg, digest)
	if _, err := os.Stat(memoImage.path(cfg, digest)); !os.IsNotExist(err) {
		t.Errorf("a forgotten memo is there: %v", err)
	}
}

// A second process knows an image and its accounts without asking containerd for more than the image's name.
func TestAnotherProcessFindsTheMemosOfAnImage(t *testing.T) {
	f := newFixture(t)
	ctx := deadline(t)
	ref := f.config("a", "block").Image.Ref
	want, err := f.c.Image(ctx, ref)
	if err != nil {
		t.Fatal(err)
	}
	user, err := f.c.ResolveUser(ctx, want, UserRequest{Image: want.User})
	if err != nil {
		t.Fatal(err)
	}
	f.c.mu.Lock() // as in a process that has only just begun
	f.c.images, f.c.accounts = map[string]Image{}, map[string]accounts{}
	f.c.mu.Unlock()
	got, err := f.c.Image(ctx, ref)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(Image{})); d != "" {
		t.Error(d)
	}
	memoImage.write(f.cfg, want.Digest, imageMemo{Chain: want.chain, Image: Image{WorkingDir: "/from/the/memo"}})
	memoAccounts.write(f.cfg, want.chain, accountsMemo{Passwd: "root:x:4711:4712::/:/sh\n"})
	f.c.mu.Lock()
	f.c.images, f.c.accounts = map[string]Image{}, map[string]accounts{}
	f.c.mu.Unlock()
	if got, err = f.c.Image(ctx, ref); err != nil || got.WorkingDir != "/from/the/memo" {
		t.Errorf("the image is read from containerd, not from its memo: %+v, %v", got, err)
	}
	other, err := f.c.ResolveUser(ctx, want, UserRequest{Image: "root"})
	if err != nil || other.UID != 4711 || user.UID == 4711 {
		t.Errorf("the accounts are read from containerd, not from their memo: %+v, %v", other, err)
	}
}
