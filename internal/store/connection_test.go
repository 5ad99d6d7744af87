package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"claviger"
	"claviger/internal/store"
)

func TestConnectionRoundTrip(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		a := f.tenant("a")
		c := a.connect(a.connection("one"))
		got, sealed, err := f.Connection(t.Context(), a.bound, c.ID)
		same(t, c, ok(got, err)(t))
		same(t, claviger.Sealed("sealed one"), sealed)
		bare := claviger.Connection{
			ID: claviger.ConnectionID(f.id("conn")), Organization: a.org.ID, Workspace: a.workspace.ID,
			Name: "bare", Status: claviger.StatusPending, Version: 1,
		}
		f.in(claviger.DefaultRegion, func(ctx context.Context, tx *store.Tx) error { return tx.CreateConnection(ctx, a.bound, bare, nil) })
		got, sealed, err = f.Connection(t.Context(), a.scope, bare.ID)
		same(t, bare, ok(got, err)(t))
		if sealed != nil {
			t.Errorf("ciphertext %q out of nothing", sealed)
		}
		same(t, claviger.DefaultRegion, ok(f.ConnectionRegion(t.Context(), a.scope, c.ID))(t))
	})
}

func TestUpdateConnection(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		a := f.tenant("a")
		c := a.connect(a.connection("one"))
		other := a.connect(a.connection("two"))
		feed := ok(f.Follow(t.Context()))(t)
		f.pass(time.Minute)
		want := c
		want.Name, want.Tags, want.Metadata, want.LastError = "new name", map[string]string{"env": "dev"}, nil, nil
		want.SecretPaths, want.Revision, want.Version, want.UpdatedAt = []string{"shared/b", "shared/a", "shared/a"}, 2, 2, f.time()
		got := ok(a.update(c.ID, func(n *claviger.Connection) {
			version, updated := n.Version, n.UpdatedAt
			*n = want
			n.Version, n.UpdatedAt, n.LastUsedAt = version, updated, time.Time{}
		}))(t)
		same(t, want, got)
		same(t, want, readOnly(f, a, c.ID))
		announced(t, feed, "connection "+string(c.ID))
		if found := ok(f.Connections(t.Context(), a.scope, store.ConnectionFilter{TagKey: "env", TagValue: "dev"}, store.Page{}))(t); len(found) != 1 {
			t.Errorf("%d connections by the new tag, want 1", len(found))
		}
		_, err := a.update(c.ID, func(n *claviger.Connection) { n.Name = other.Name })
		conflict(t, err, "name")
		for name, change := range map[string]func(*claviger.Connection){
			"id":           func(n *claviger.Connection) { n.ID = "conn_x" },
			"organization": func(n *claviger.Connection) { n.Organization = "org_x" },
			"workspace":    func(n *claviger.Connection) { n.Workspace = "ws_x" },
			"created":      func(n *claviger.Connection) { n.CreatedAt = time.Time{} },
			"revision":     func(n *claviger.Connection) { n.Revision-- },
		} {
			if _, err := a.update(c.ID, change); err == nil {
				t.Errorf("an update changes the %s", name)
			}
		}
		same(t, want, readOnly(f, a, c.ID))
	})
}

func readOnly(f *fixture, a *tenant, id claviger.ConnectionID) claviger.Connection {
	f.t.Helper()
	c, _, err := f.Connection(f.t.Context(), a.scope, id)
	return ok(c, err)(f.t)
}

func TestRevokedIsFinal(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		a := f.tenant("a")
		c := a.connect(a.connection("one"))
		verdicts := []claviger.Revocation{{Token: "access", Verdict: "revoked"}, {Token: "refresh", Verdict: "failed: gone"}}
		ok(a.update(c.ID, func(n *claviger.Connection) { n.Status, n.Revocations = claviger.StatusRevoked, verdicts }))(t)
		tombstone, sealed, err := f.Connection(t.Context(), a.scope, c.ID)
		same(t, verdicts, ok(tombstone, err)(t).Revocations)
		if sealed != nil {
			t.Fatal("a deleted connection has a ciphertext")
		}
		if left := ok(f.Connections(t.Context(), a.scope, store.ConnectionFilter{}, store.Page{}))(t); len(left) != 0 {
			t.Fatalf("the list has the deleted one: %v", left)
		}
		if used := ok(f.SealedConnections(t.Context(), a.org.ID, "", 10))(t); len(used) != 0 {
			t.Fatalf("rows with ciphertext: %v", used)
		}
		_, err = a.update(c.ID, func(n *claviger.Connection) { n.Status = claviger.StatusActive })
		conflict(t, err, "status")
		a.connect(a.connection("one")) // the name is free
		twin := a.connection("one")
		conflict(t, f.try(claviger.DefaultRegion, func(ctx context.Context, tx *store.Tx) error {
			return tx.CreateConnection(ctx, a.scope, twin, nil)
		}), "name")
	})
}

func TestConnectionFilters(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		a := f.tenant("a")
		odd := a.connection(`100%_\ÄPFEL`)
		odd.Connector, odd.Status, odd.Health, odd.Owner, odd.Tags = "other", claviger.StatusPending, claviger.HealthUnknown, "usr_two", map[string]string{"env": "dev"}
		odd.Visibility = claviger.VisibilityPersonal
		a.connect(odd)
		f.pass(time.Millisecond)
		a.connect(a.connection("plain"))
		second := a.addWorkspace("second", claviger.DefaultRegion)
		far := a.connection("far")
		far.Workspace = second.ID
		a.connect(far)
		names := func(filter store.ConnectionFilter) string {
			out := ""
			for _, c := range ok(f.Connections(t.Context(), a.scope, filter, store.Page{}))(t) {
				out += c.Name + ";"
			}
			return out
		}
		for _, c := range []struct {
			filter store.ConnectionFilter
			want   string
		}{
			{store.ConnectionFilter{Connector: "other"}, odd.Name + ";"},
			{store.ConnectionFilter{Status: claviger.StatusPending}, odd.Name + ";"},
			{store.ConnectionFilter{Health: claviger.HealthUnknown}, odd.Name + ";"},
			{store.ConnectionFilter{Owner: "usr_two"}, odd.Name + ";"},
			{store.ConnectionFilter{TagKey: "env", TagValue: "dev"}, odd.Name + ";"},
			{store.ConnectionFilter{Connector: "other", VisibleTo: "usr_two"}, odd.Name + ";"},
			{store.ConnectionFilter{Connector: "other", VisibleTo: "usr_three"}, ""},
			{store.ConnectionFilter{TagKey: "dev", TagValue: "env"}, ""},
			{store.ConnectionFilter{Workspace: second.ID}, "far;"},
			{store.ConnectionFilter{Status: claviger.StatusRevoked}, ""},
			{store.ConnectionFilter{Search: "äpfel"}, odd.Name + ";"},
			{store.ConnectionFilter{Search: `%_\ä`}, odd.Name + ";"},
			{store.ConnectionFilter{Search: "0_"}, ""},
			{store.ConnectionFilter{Search: "LAI"}, "plain;"},
			{store.ConnectionFilter{Search: "'; --"}, ""},
		} {
			if got := names(c.filter); got != c.want {
				t.Errorf("%+v: got %q, want %q", c.filter, got, c.want)
			}
		}
		ids := ok(f.SealedConnections(t.Context(), a.org.ID, odd.ID, 1))(t)
		if len(ids) != 1 || ids[0].ID <= odd.ID || ids[0].Revision != 1 || ids[0].Region != claviger.DefaultRegion {
			t.Errorf("rows to rotate: %+v", ids)
		}
		if _, err := f.Connections(t.Context(), a.scope, store.ConnectionFilter{Search: "a\x00b"}, store.Page{}); !claviger.IsKind(err, claviger.KindInvalid) {
			t.Errorf("a NUL in a search: %v", err)
		}
	})
}

func TestConnectionPages(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		a := f.tenant("a")
		var want []string
		for i := range 130 {
			f.pass(time.Millisecond)
			a.connect(a.connection(fmt.Sprint(i)))
			want = append([]string{fmt.Sprint(i)}, want...)
		}
		for _, c := range []struct{ ask, get int }{{0, store.DefaultPage}, {-5, store.DefaultPage}, {1, 1}, {1 << 40, store.MaxPage}} {
			if n := len(ok(f.Connections(t.Context(), a.scope, store.ConnectionFilter{}, store.Page{Limit: c.ask}))(t)); n != c.get {
				t.Errorf("limit %d answers %d rows, want %d", c.ask, n, c.get)
			}
		}
		var got []string
		for after := ""; ; {
			page := ok(f.Connections(t.Context(), a.scope, store.ConnectionFilter{}, store.Page{After: after, Limit: 50}))(t)
			if len(page) == 0 {
				break
			}
			for _, c := range page {
				got = append(got, c.Name)
			}
			after = string(page[len(page)-1].ID)
		}
		same(t, want, got)
	})
}

func TestDisableConnections(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		a := f.tenant("a")
		for i := range 3 {
			a.connect(a.connection(fmt.Sprint(i)))
		}
		pending := a.connection("pending")
		pending.Status, pending.Tags = claviger.StatusPending, nil
		a.connect(pending)
		disable := func(filter store.ConnectionFilter) (ids []claviger.ConnectionID) {
			f.in(claviger.DefaultRegion, func(ctx context.Context, tx *store.Tx) (err error) {
				list, err := tx.DisableConnections(ctx, a.scope, filter)
				for _, c := range list {
					ids = append(ids, c.ID)
				}
				return err
			})
			return ids
		}
		feed := ok(f.Follow(t.Context()))(t)
		tagged := store.ConnectionFilter{TagKey: "env", TagValue: "prod"}
		ids := disable(tagged)
		if len(ids) != 3 || len(disable(tagged)) != 0 {
			t.Fatalf("disabled %v, want three once", ids)
		}
		announced(t, feed, "connection "+string(ids[0]), "connection "+string(ids[1]), "connection "+string(ids[2]))
		if c := readOnly(f, a, ids[0]); c.Status != claviger.StatusDisabled || c.Version != 2 {
			t.Errorf("status %s, version %d", c.Status, c.Version)
		}
		same(t, []claviger.ConnectionID{pending.ID}, disable(store.ConnectionFilter{}))
	})
}

func TestUsage(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		a := f.tenant("a")
		c := a.connection("one")
		c.LastUsedAt = time.Time{}
		a.connect(c)
		hour := f.time().Truncate(time.Hour)
		u := claviger.UsageRow{
			Organization: a.org.ID, Workspace: a.workspace.ID, Connection: c.ID, Connector: "acme", Action: "acme.list", Hour: hour,
			Calls: 2, Failures: 1, Total: 5 * time.Millisecond, Longest: 4 * time.Millisecond,
		}
		proxy := u
		proxy.Action, proxy.Longest = "proxy", 9*time.Millisecond
		add := func(rows ...claviger.UsageRow) {
			f.in(claviger.DefaultRegion, func(ctx context.Context, tx *store.Tx) error { return tx.AddUsage(ctx, rows) })
		}
		add(u, proxy, u)
		add(u)
		u.Calls, u.Failures, u.Total = 6, 3, 15*time.Millisecond
		same(t, []claviger.UsageRow{u, proxy}, ok(f.Usage(t.Context(), a.bound, c.ID, hour, hour.Add(time.Hour)))(t))
		if none := ok(f.Usage(t.Context(), a.scope, c.ID, hour.Add(time.Hour), hour.Add(2*time.Hour)))(t); len(none) != 0 {
			t.Errorf("usage of another hour: %v", none)
		}
		u.Connection, proxy.Connection = "", ""
		same(t, []claviger.UsageRow{u, proxy}, ok(f.OrganizationUsage(t.Context(), a.scope, hour, hour.Add(time.Hour)))(t))
		same(t, hour, readOnly(f, a, c.ID).LastUsedAt)
		f.in(claviger.DefaultRegion, func(ctx context.Context, tx *store.Tx) error {
			return tx.MarkUsed(ctx, map[claviger.ConnectionID]time.Time{c.ID: hour.Add(time.Second)})
		})
		marked := readOnly(f, a, c.ID)
		if !marked.LastUsedAt.Equal(hour.Add(time.Second)) || marked.Version != 1 {
			t.Errorf("last used %v, version %d", marked.LastUsedAt, marked.Version)
		}
	})
}
