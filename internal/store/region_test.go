package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"claviger"
	"claviger/internal/store"
)

const (
	regionA claviger.RegionID = "aaaaaaaa-0000-4000-8000-000000000000"
	regionB claviger.RegionID = "bbbbbbbb-0000-4000-8000-000000000000"
)

// twoRegions opens control with region A in one file, and region B in another.
func twoRegions(t *testing.T) (f *fixture, control, b string) {
	t.Helper()
	folder := t.TempDir()
	control, b = filepath.Join(folder, "control.db"), filepath.Join(folder, "b.db")
	f = open(t, store.Config{URL: "sqlite:" + control, Regions: map[claviger.RegionID]string{regionA: "", regionB: "sqlite:" + b}})
	return f, control, b
}

func TestARegionKeepsItsRowsToItself(t *testing.T) {
	f, control, b := twoRegions(t)
	same(t, []claviger.RegionID{regionA, regionB}, f.Regions())
	tenant := f.tenantIn("far", regionB)
	c := tenant.connect(tenant.connection("one"))
	entries := tenant.entries("n", 1, 3)
	wants(t, f.appendTo(regionB, "n", entries), nil)
	f.in(regionB, func(ctx context.Context, tx *store.Tx) error {
		return tx.AddUsage(ctx, []claviger.UsageRow{{Organization: tenant.org.ID, Workspace: tenant.workspace.ID, Connection: c.ID, Hour: f.time(), Calls: 1}})
	})
	ok(tenant.update(c.ID, func(c *claviger.Connection) { c.Revision++ }))(t)

	same(t, regionB, ok(f.ConnectionRegion(t.Context(), tenant.scope, c.ID))(t))
	for _, s := range []claviger.Scope{tenant.scope, tenant.bound} {
		found, _, err := f.Connection(t.Context(), s, c.ID)
		same(t, int64(2), ok(found, err)(t).Revision)
		if n := len(ok(f.Connections(t.Context(), s, store.ConnectionFilter{}, store.Page{}))(t)); n != 1 {
			t.Errorf("%d connections, want 1", n)
		}
		if n := len(ok(f.Ledger(t.Context(), s, store.LedgerFilter{}, store.Page{}))(t)); n != 3 {
			t.Errorf("%d entries, want 3", n)
		}
	}
	inControl, inB := rowsNaming(t, control, string(tenant.workspace.ID)), rowsNaming(t, b, string(tenant.workspace.ID))
	same(t, map[string]int{"workspaces": 1}, inControl)
	same(t, map[string]int{"connections": 1, "ledger": 3, "call_usage": 1}, inB)
	same(t, map[string]int{}, rowsNaming(t, control, string(c.ID)))
	_ = ok(os.Stat(b))(t)
}

// rowsNaming counts, by table, the rows of a file that hold a text anywhere.
func rowsNaming(t *testing.T, path, text string) map[string]int {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var tables []string
	rows, err := db.QueryContext(t.Context(), "SELECT name FROM sqlite_master WHERE type = 'table'")
	for err == nil && rows.Next() {
		var name string
		err = rows.Scan(&name)
		tables = append(tables, name)
	}
	if err = errors.Join(err, rows.Close()); err != nil {
		t.Fatal(err)
	}
	out := map[string]int{}
	for _, table := range tables {
		rows, err := db.QueryContext(t.Context(), "SELECT * FROM "+table)
		if err != nil {
			t.Fatal(err)
		}
		columns, err := rows.Columns()
		for err == nil && rows.Next() {
			values := make([]any, len(columns))
			into := make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			err = rows.Scan(into...)
			if strings.Contains(fmt.Sprint(values...), text) {
				out[table]++
			}
		}
		if err := errors.Join(err, rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestListsSpanRegions(t *testing.T) {
	f, _, _ := twoRegions(t)
	near := f.tenantIn("a", regionA)
	far := *near
	far.workspace = near.addWorkspace("far", regionB)
	var want []string
	for i := range 6 {
		f.pass(time.Millisecond)
		where := []*tenant{near, &far}[i%2]
		where.connect(where.connection(fmt.Sprint(i)))
		want = append([]string{fmt.Sprint(i)}, want...)
	}
	var got []string
	for after := ""; ; {
		page := ok(f.Connections(t.Context(), near.scope, store.ConnectionFilter{}, store.Page{After: after, Limit: 4}))(t)
		if len(page) == 0 {
			break
		}
		for _, c := range page {
			got = append(got, c.Name)
		}
		after = string(page[len(page)-1].ID)
	}
	same(t, want, got)
	sealed := ok(f.SealedConnections(t.Context(), near.org.ID, "", 4))(t)
	if len(sealed) != 4 || sealed[0].Region != regionA || sealed[1].Region != regionB {
		t.Errorf("rows to rotate: %+v", sealed)
	}
	_, _, err := f.Secret(t.Context(), near.scope, "shared/acme/key")
	wants(t, err, store.ErrNotFound)
	f.do(func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.PutSecret(ctx, near.scope, "shared/acme/key", func(int64) (claviger.Sealed, error) { return claviger.Sealed("s"), nil })
		return err
	})
	meta, _, err := f.Secret(t.Context(), near.scope, "shared/acme/key")
	if n := len(ok(meta, err)(t).UsedBy); n != 6 {
		t.Errorf("the secret names %d connections, want 6", n)
	}
}

func TestAConnectionGoesToItsRegion(t *testing.T) {
	f, _, _ := twoRegions(t)
	far := f.tenantIn("a", regionB)
	create := func(region claviger.RegionID) error {
		return f.try(region, func(ctx context.Context, tx *store.Tx) error {
			return tx.CreateConnection(ctx, far.scope, far.connection("one"), nil)
		})
	}
	if err := create(regionA); err == nil {
		t.Fatal("a connection is kept in another region than its workspace's")
	}
	remove := func(ctx context.Context, tx *store.Tx) error {
		return tx.DeleteWorkspace(ctx, far.scope, far.workspace.ID)
	}
	wants(t, create(regionB), nil)
	conflict(t, f.try("", remove), "connections")
	if err := f.try("nowhere", remove); !claviger.IsKind(err, claviger.KindInvalid) {
		t.Fatalf("an unknown region: %v", err)
	}
	empty := *far
	empty.workspace = far.addWorkspace("empty", regionB)
	for _, err := range parallel(2, func(i int) error {
		if i == 0 {
			return f.try("", func(ctx context.Context, tx *store.Tx) error {
				return tx.DeleteWorkspace(ctx, far.scope, empty.workspace.ID)
			})
		}
		return f.try(regionB, func(ctx context.Context, tx *store.Tx) error {
			return tx.CreateConnection(ctx, far.scope, empty.connection("late"), nil)
		})
	}) {
		if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrConflict) {
			t.Fatal(err)
		}
	}
	_, gone := f.Workspace(t.Context(), far.scope, empty.workspace.ID)
	left := ok(f.Connections(t.Context(), far.scope, store.ConnectionFilter{Search: "late"}, store.Page{}))(t)
	if (gone == nil) != (len(left) == 1) {
		t.Fatalf("workspace: %v; connections in it: %d", gone, len(left))
	}
}

func TestFeedSpansRegions(t *testing.T) {
	f, _, _ := twoRegions(t)
	feed := ok(f.Follow(t.Context()))(t)
	for _, region := range []claviger.RegionID{"", regionB} {
		f.in(region, func(ctx context.Context, tx *store.Tx) error { return tx.AddChange(ctx, "user", "in "+string(region)) })
	}
	announced(t, feed, "user in ", "user in "+string(regionB))
	f.pass(time.Hour)
	wants(t, f.PurgeChanges(t.Context(), f.time()), nil)
}

func TestPlaces(t *testing.T) {
	f, _, _ := twoRegions(t)
	same(t, []claviger.RegionID{"", regionB}, f.Places())
	near, far := f.tenantIn("near", regionA), f.tenantIn("far", regionB)
	for _, c := range []struct {
		workspace claviger.WorkspaceID
		of        *tenant
		want      claviger.RegionID
	}{{near.workspace.ID, near, ""}, {far.workspace.ID, far, regionB}, {"", far, ""}} {
		same(t, c.want, ok(f.PlaceOf(t.Context(), c.of.org.ID, c.workspace))(t))
	}
	_, err := f.PlaceOf(t.Context(), near.org.ID, far.workspace.ID)
	wants(t, err, store.ErrNotFound)
}
