package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"claviger"
	"claviger/internal/store"
)

func TestFilesArePrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "odd name?#%41.db")
	f := open(t, store.Config{URL: "sqlite:" + path})
	f.tenant("a")
	for _, suffix := range []string{"", "-wal", "-shm", ".lock"} {
		info, err := os.Stat(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", suffix, info.Mode())
		}
	}
}

func TestUnusableURLs(t *testing.T) {
	for _, url := range []string{"", "mysql://x", "sqlite:", "sqlite::memory:", "sqlite:" + t.TempDir() + "/no/such/folder/x.db", "postgres://u:hunter2@[broken"} {
		_, err := store.Open(t.Context(), store.Config{URL: url, Now: time.Now})
		known := claviger.AsError(err)
		if known == nil || known.Kind != claviger.KindInvalid || known.Param != "database.url" || strings.Contains(known.Message, "hunter2") {
			t.Errorf("%q: %v", url, err)
		}
	}
}

// closedDatabase answers the path of a database with some rows, closed.
func closedDatabase(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "claviger.db")
	t.Run("fill", func(t *testing.T) {
		f := open(t, store.Config{URL: "sqlite:" + path})
		a := f.tenant("a")
		for _, name := range []string{"one", "two", "three"} {
			c := a.connection(name)
			c.Metadata = map[string]string{"filler": strings.Repeat(name, 2000)}
			a.connect(c)
		}
	})
	return path
}

func TestAbuse_245_DamagedFilesAreRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(content []byte) []byte
	}{
		{"empty", func([]byte) []byte { return nil }},
		{"no database", func(b []byte) []byte { return bytes.Repeat([]byte("x"), len(b)) }},
		{"cut in a page", func(b []byte) []byte { return b[:len(b)-1000] }},
		{"cut to half", func(b []byte) []byte { return b[:len(b)/2/4096*4096] }},
		{"one page of rubbish", func(b []byte) []byte {
			// A page of the schema: tree pages, whose structure is checked.
			copy(b[4096:8192], bytes.Repeat([]byte{0xa5}, 4096))
			return b
		}},
		{"header only", func(b []byte) []byte { return b[:100] }},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := closedDatabase(t)
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			content = c.damage(content)
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err = store.Open(t.Context(), store.Config{URL: "sqlite:" + path, Now: time.Now})
			known := claviger.AsError(err)
			if known == nil || known.FineCode() != "database_damaged" || !strings.Contains(known.Message, "backup") {
				t.Fatalf("a damaged file: %v", err)
			}
			after, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(content, after) {
				t.Fatalf("the damaged file was changed (%v)", err)
			}
		})
	}
}

func TestAbuse_245_WrongPermissions(t *testing.T) {
	path := closedDatabase(t)
	// A folder in its place: root may open every file, but not this.
	if err := os.Rename(path, path+".moved"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + path, Now: time.Now})
	if known := claviger.AsError(err); known == nil || known.FineCode() != "database_unusable" {
		t.Fatalf("a folder in place of the file: %v", err)
	}
}

func TestNewerDatabaseIsRefused(t *testing.T) {
	path := closedDatabase(t)
	raw, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raw.ExecContext(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)"); err != nil {
		t.Fatal(err)
	}
	if err := raw.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = store.Open(t.Context(), store.Config{URL: "sqlite:" + path, Now: time.Now})
	if known := claviger.AsError(err); known == nil || known.FineCode() != "database_newer" || !strings.Contains(known.Message, "9999") {
		t.Fatalf("a newer database: %v", err)
	}
}

func TestAFailedStatementEndsTheTransaction(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		add := func(ctx context.Context, tx *store.Tx, id claviger.OrganizationID) error {
			return tx.CreateOrganization(ctx, claviger.Organization{ID: id})
		}
		err := f.try("", func(ctx context.Context, tx *store.Tx) error {
			wants(t, add(ctx, tx, "org_1"), nil)
			conflict(t, add(ctx, tx, "org_1"), "id")
			if err := add(ctx, tx, "org_2"); err == nil {
				t.Error("the transaction goes on after a failed statement")
			}
			return nil
		})
		if err == nil {
			t.Error("the transaction commits after a failed statement")
		}
		if left := ok(f.Organizations(t.Context(), store.Page{}))(t); len(left) != 0 {
			t.Errorf("it left %v", left)
		}
	})
}

func TestCancelledAndPanickingTransactionsLeaveNothing(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		ctx, cancel := context.WithCancel(t.Context())
		err := f.InTx(ctx, "", func(tx *store.Tx) error {
			err := tx.CreateOrganization(ctx, claviger.Organization{ID: "org_1"})
			cancel()
			return err
		})
		wants(t, err, context.Canceled)
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was swallowed")
				}
			}()
			_ = f.try("", func(ctx context.Context, tx *store.Tx) error {
				wants(t, tx.CreateOrganization(ctx, claviger.Organization{ID: "org_2"}), nil)
				panic("fault")
			})
		}()
		f.do(func(ctx context.Context, tx *store.Tx) error {
			return tx.CreateOrganization(ctx, claviger.Organization{ID: "org_3"})
		})
		left := ok(f.Organizations(t.Context(), store.Page{}))(t)
		if len(left) != 1 || left[0].ID != "org_3" {
			t.Errorf("left: %v", left)
		}
	})
}

func TestReady(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			db := ok(store.Open(t.Context(), store.Config{URL: e.url(t), Now: time.Now}))(t)
			if db.Engine() != e.name {
				t.Errorf("the engine is %q", db.Engine())
			}
			wants(t, db.Ready(t.Context()), nil)
			wants(t, db.Close(), nil)
			if err := db.Ready(t.Context()); err == nil {
				t.Error("a closed database is ready")
			}
			if err := db.InTx(t.Context(), "", func(*store.Tx) error { return nil }); err == nil {
				t.Error("a closed database takes a transaction")
			}
			wants(t, db.Close(), nil)
		})
	}
}

func TestAnUnreachableServerIsUnavailable(t *testing.T) {
	_, err := store.Open(t.Context(), store.Config{URL: "postgres://u:hunter2@127.0.0.1:1/x?connect_timeout=1", Now: time.Now})
	known := claviger.AsError(err)
	if known == nil || known.Kind != claviger.KindUnavailable || strings.Contains(err.Error(), "hunter2") {
		t.Fatalf("an unreachable server: %v", err)
	}
}
