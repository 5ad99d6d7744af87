package vault_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"claviger"
	"claviger/clavigertest/oauthserver"
	"claviger/clavigertest/postgres"
	"claviger/internal/store"
	"claviger/internal/vault"
)

// breakDown keeps a process's database from taking anything: PostgreSQL is down, SQLite's
// disk lets no file grow beyond its first page. Smaller files can be written.
func (s *stand) breakDown(process int) (repair func()) {
	s.t.Helper()
	if !strings.HasPrefix(s.url, "sqlite:") {
		return postgres.Down(s.t, s.url)
	}
	limit := func(bytes string) {
		s.t.Helper()
		if out, err := exec.Command("prlimit", "--pid", strconv.Itoa(process), "--fsize="+bytes+":").CombinedOutput(); err != nil {
			s.t.Fatalf("%v: %s", err, out)
		}
	}
	limit("4096")
	return func() {}
}

// waiting answers the files of a spill folder that hold answers.
func waiting(t *testing.T, folder string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, "*.answer"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// until waits for what takes a moment and has no end that could be waited for.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(2 * time.Minute); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// spill lets a process die with an answer that its database did not take, and answers
// the one file that is left.
func (s *stand) spill(id claviger.ConnectionID, folder string) string {
	s.t.Helper()
	reached, hold := make(chan struct{}, 1), make(chan struct{})
	s.server.Next(oauthserver.Fault{Reached: reached, Hold: hold})
	cmd, out := s.spawnWith(id, "", folder)
	select {
	case <-reached:
	case <-time.After(2 * time.Minute):
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		s.t.Fatalf("the child sent nothing: %s", out)
	}
	repair := s.breakDown(cmd.Process.Pid)
	close(hold)
	until(s.t, "the answer is on the disk", func() bool { return len(waiting(s.t, folder)) == 1 })
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	wasKilled(s.t, cmd, out)
	repair()
	until(s.t, "the database answers again, on every connection that was cut", func() bool {
		var all []error
		for range 10 {
			_, _, err := s.nodes[0].db.Connection(s.t.Context(), s.caller.Scope, id)
			all = append(all, err, s.nodes[0].db.InTx(s.t.Context(), "", func(*store.Tx) error { return nil }))
		}
		return errors.Join(all...) == nil
	})
	return waiting(s.t, folder)[0]
}

func TestAbuse_074_KilledWhileTheDatabaseTakesNothing(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		s := newStand(t, url, strict, 1, nil)
		id, _ := s.connect(time.Nanosecond)
		folder := t.TempDir()
		file := s.spill(id, folder)
		content := s.sealedFile(file)
		// A node without the folder cannot know of the answer, and says that it is lost.
		until(t, "the lease of the dead process runs out", func() bool {
			_, err := s.nodes[0].use(t.Context(), id)
			return code(err) == "reauthorization_required"
		})
		n := s.open(vault.Refresh{Spill: folder})
		n.vault.Replay(t.Context())
		n.settled(id)
		token := n.must(id)
		if conn, _ := n.row(id); token == "at_first" || conn.Status != claviger.StatusActive || conn.LastError != nil {
			t.Fatalf("%q, %s, %+v", token, conn.Status, conn.LastError)
		}
		if rotations, reuses := s.server.Refreshed(); rotations != 1 || reuses != 0 || s.sent() != 1 || len(waiting(t, folder)) != 0 {
			t.Fatalf("%d rotations, %d reuses, %d requests, left: %v", rotations, reuses, s.sent(), waiting(t, folder))
		}
		s.pass(2 * time.Hour)
		if next := n.must(id); next == token || s.server.Live() != 1 {
			t.Fatalf("the next refresh: %q, %d live", next, s.server.Live())
		}
		t.Run("an answer that counts no more", func(t *testing.T) { s.stale(t, id, n.must(id), file, content) })
	})
}

// sealedFile checks that a file is its owner's alone and holds no token.
func (s *stand) sealedFile(file string) []byte {
	s.t.Helper()
	content, err := os.ReadFile(file)
	info, statErr := os.Stat(file)
	var x struct {
		Organization, Connection string
		Sealed                   []byte
	}
	if err := errors.Join(err, statErr, json.Unmarshal(content, &x)); err != nil {
		s.t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 || bytes.Contains(x.Sealed, []byte("token")) || len(x.Sealed) < 100 {
		s.t.Errorf("%s, %d bytes: %q", info.Mode(), len(x.Sealed), x.Sealed)
	}
	return content
}

// stale brings the file of an answer back that was stored already, and one that was
// moved to another connection.
func (s *stand) stale(t *testing.T, id claviger.ConnectionID, token, file string, content []byte) {
	other, _ := s.connect(time.Hour)
	folder := t.TempDir()
	moved := filepath.Join(folder, strings.Replace(filepath.Base(file), string(id), string(other), 1))
	for path, text := range map[string][]byte{
		filepath.Join(folder, filepath.Base(file)): content,
		moved:                                    bytes.ReplaceAll(content, []byte(id), []byte(other)),
		filepath.Join(folder, "conn_x.1.part"):   []byte(`{"format":1,"conn`),
		filepath.Join(folder, "conn_y.1.answer"): []byte("torn"),
	} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n := s.open(vault.Refresh{Spill: folder})
	n.vault.Replay(t.Context())
	n.settled(id)
	n.settled(other)
	if now := n.must(id); now != token || n.must(other) != "at_first" || s.sent() != 2 {
		t.Errorf("%q after %d requests", now, s.sent())
	}
	aside, err := filepath.Glob(filepath.Join(folder, "*.unusable"))
	if left := waiting(t, folder); err != nil || len(left) != 0 || len(aside) != 2 {
		t.Errorf("left: %v, aside: %v, %v", left, aside, err)
	}
}

// The connection is deleted while its new tokens wait on the disk: they are handed on to
// be revoked, as often as that takes.
func TestAbuse_090_DeletedWhileTheAnswerWaits(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		s := newStand(t, url, strict, 1, nil)
		id, _ := s.connect(time.Nanosecond)
		folder := t.TempDir()
		s.spill(id, folder)
		n := s.nodes[0]
		n.change(id, func(c *claviger.Connection) { c.Status = claviger.StatusRevoked })
		handed := make(chan string, 2)
		second := s.open(vault.Refresh{Spill: folder, Discard: func(_ context.Context, conn *claviger.Connection, tokens claviger.Credentials) error {
			handed <- reveal(tokens[vault.JournaledAnswer])
			if len(handed) == 1 {
				return errors.New("the database is down again")
			}
			return nil
		}})
		second.vault.Replay(t.Context())
		if err := second.vault.Tend(t.Context(), store.DueGrant{Organization: s.caller.Scope.Organization(), Connection: id}); code(err) != "connection_revoked" {
			t.Fatalf("%v", err)
		}
		if len(handed) != 2 || !strings.Contains(<-handed, `"status":200`) || len(waiting(t, folder)) != 0 || s.sent() != 1 {
			t.Fatalf("handed on %d times, %d requests, left: %v", len(handed), s.sent(), waiting(t, folder))
		}
	})
}

// A full disk: the folder has kept some room.
func TestSpillOnAFullDisk(t *testing.T) {
	s := newStand(t, sqlite(t), strict, 0, nil)
	folder := t.TempDir()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("this needs the right to mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	n := s.open(vault.Refresh{Spill: folder, Lease: time.Second})
	s.found()
	id, _ := s.connect(time.Nanosecond)
	if err := os.WriteFile(filepath.Join(folder, "full"), make([]byte, 4<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	other, err := store.Open(t.Context(), store.Config{URL: s.url, Now: s.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	reached, hold := make(chan struct{}, 1), make(chan struct{})
	s.server.Next(oauthserver.Fault{Reached: reached, Hold: hold})
	used := make(chan error, 1)
	go func() { _, err := n.use(t.Context(), id); used <- err }()
	<-reached
	err = other.InTx(t.Context(), "", func(tx *store.Tx) error { // no other writer is let in
		if err := tx.AddChange(t.Context(), "test", "holds the only writer's place"); err != nil {
			return err
		}
		close(hold)
		until(t, "the answer is on the disk", func() bool { return len(waiting(t, folder)) == 1 })
		return nil
	})
	if err := errors.Join(err, <-used); err != nil {
		t.Fatal(err)
	}
	if left := waiting(t, folder); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}
