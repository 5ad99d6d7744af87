package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"claviger"
	"claviger/internal/store"
)

// announced fails unless the feed answers exactly these changes, in any order.
func announced(t testing.TB, feed *store.Feed, want ...string) {
	t.Helper()
	var got []string
	for _, c := range ok(feed.Next(t.Context()))(t) {
		got = append(got, c.Kind+" "+c.ID)
	}
	slices.Sort(got)
	slices.Sort(want)
	same(t, want, got)
}

// entries answers ledger entries numbered from first, with every field set.
func (t *tenant) entries(stream string, first, n int) []claviger.Entry {
	out := make([]claviger.Entry, n)
	for i := range out {
		t.f.pass(time.Millisecond)
		out[i] = claviger.Entry{
			ID: claviger.EntryID(t.f.id("evt")), Time: t.f.time(), Organization: t.org.ID, Workspace: t.workspace.ID,
			ActorKind: claviger.CallerAPIKey, ActorID: "key_a", Verb: claviger.ConnectionsProxy, ResourceType: "connection", ResourceID: "conn_a",
			Connection: "conn_a", Connector: "acme", Host: "x.acme.example", Outcome: claviger.OutcomeSucceeded, Code: "none", StatusCode: 200,
			Duration: 1234567 * time.Nanosecond, RequestID: fmt.Sprintf("req_%d", first+i), Address: "2001:db8::1", Usage: claviger.UsageAPI, Slot: "s",
			Action: "acme.list", Stream: stream, Sequence: int64(first + i), MAC: []byte{0, byte(i)},
		}
	}
	return out
}

func (f *fixture) appendTo(region claviger.RegionID, stream string, entries []claviger.Entry) error {
	return f.try(region, func(ctx context.Context, tx *store.Tx) error {
		s, err := tx.Stream(ctx, stream)
		if err != nil {
			return err
		}
		last := entries[len(entries)-1]
		s.Head, s.HeadMAC = store.Head{Sequence: last.Sequence, MAC: last.MAC}, []byte("head")
		return tx.AppendLedger(ctx, s, entries)
	})
}

func TestLedger(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		a := f.tenant("a")
		all := a.entries("node-1", 1, 173) // two of 64, five of 8, five of 1
		begin := f.time()
		wants(t, f.appendTo("", "node-1", all[:100]), nil)
		wants(t, f.appendTo("", "node-1", all[100:]), nil)
		wants(t, f.appendTo("", "node-1", all[100:]), store.ErrStale)
		if err := f.appendTo("", "node-1", append(a.entries("node-1", 175, 1), a.entries("node-1", 174, 1)...)); err == nil {
			t.Fatal("entries out of order are kept")
		}
		bad := a.entries("node-1", 174, 2)
		bad[1].Host = "a\x00b"
		if err := f.appendTo("", "node-1", bad); !claviger.IsKind(err, claviger.KindInvalid) {
			t.Fatalf("a NUL in an entry: %v", err)
		}
		var walked []claviger.Entry
		wants(t, f.WalkStream(t.Context(), "", "node-1", 2, func(e claviger.Entry) error {
			walked = append(walked, e)
			return nil
		}), nil)
		same(t, all[1:], walked)
		stop := errors.New("stop")
		wants(t, f.WalkStream(t.Context(), "", "node-1", 1, func(claviger.Entry) error { return stop }), stop)
		same(t, []store.Stream{{
			ID: "node-1", Head: store.Head{Sequence: 173, MAC: all[172].MAC}, HeadMAC: []byte("head"), CreatedAt: begin, UpdatedAt: begin,
		}}, ok(f.Streams(t.Context(), ""))(t))
		page := ok(f.Ledger(t.Context(), a.scope, store.LedgerFilter{}, store.Page{Limit: 2}))(t)
		same(t, []claviger.Entry{all[172], all[171]}, page)
		same(t, []claviger.Entry{all[170]}, ok(f.Ledger(t.Context(), a.bound, store.LedgerFilter{}, store.Page{Limit: 1, After: string(page[1].ID)}))(t))
	})
}

func TestLedgerFilters(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		a := f.tenant("a")
		all := a.entries("n", 1, 3)
		e := &all[1]
		e.Workspace, e.ActorKind, e.ActorID, e.Verb, e.ResourceType, e.ResourceID, e.Connection = "ws_x", claviger.CallerNobody, "x", claviger.KeysRead, "x", "y", "conn_x"
		e.Connector, e.Host, e.Outcome, e.Code, e.StatusCode, e.RequestID, e.Address = "x", "x", claviger.OutcomeDenied, "x", 500, "x", "::1"
		e.Usage, e.Slot, e.Action = claviger.UsageCallback, "x", "x"
		wants(t, f.appendTo("", "n", all), nil)
		for i, filter := range []store.LedgerFilter{
			{From: e.Time, To: e.Time.Add(time.Millisecond)},
			{Workspace: e.Workspace},
			{ActorKind: e.ActorKind},
			{ActorID: e.ActorID},
			{Verb: e.Verb},
			{ResourceType: e.ResourceType},
			{ResourceID: e.ResourceID},
			{Connection: e.Connection},
			{Connector: e.Connector},
			{Host: e.Host},
			{Outcome: e.Outcome},
			{Code: e.Code},
			{StatusCode: e.StatusCode},
			{RequestID: e.RequestID},
			{Address: e.Address},
			{Usage: e.Usage},
			{Slot: e.Slot},
			{Action: e.Action},
		} {
			got := ok(f.Ledger(t.Context(), a.scope, filter, store.Page{}))(t)
			if len(got) != 1 || got[0].ID != e.ID {
				t.Errorf("filter %d %+v answers %d entries", i, filter, len(got))
			}
		}
	})
}

func TestCheckpoints(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		var want []store.Checkpoint
		for i := range 3 {
			f.do(func(ctx context.Context, tx *store.Tx) error {
				last := ok(tx.LastCheckpoint(ctx))(t)
				if last.Sequence != int64(i) {
					t.Fatalf("last checkpoint %d, want %d", last.Sequence, i)
				}
				c := store.Checkpoint{Sequence: last.Sequence + 1, Time: f.time(), Body: []byte(`{}`), MAC: []byte{byte(i)}}
				want = append(want, c)
				return tx.AddCheckpoint(ctx, c)
			})
		}
		wants(t, f.try("", func(ctx context.Context, tx *store.Tx) error { return tx.AddCheckpoint(ctx, want[2]) }), store.ErrStale)
		var got []store.Checkpoint
		wants(t, f.WalkCheckpoints(t.Context(), "", 2, func(c store.Checkpoint) error { got = append(got, c); return nil }), nil)
		same(t, want[1:], got)
	})
}

func TestFeed(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		add := func(id string) {
			f.do(func(ctx context.Context, tx *store.Tx) error { return tx.AddChange(ctx, "connector", id) })
		}
		add("before")
		feed := ok(f.Follow(t.Context()))(t)
		announced(t, feed)
		add("a")
		add("b")
		announced(t, feed, "connector a", "connector b")
		for range 4 { // past the time in which it reads again
			f.pass(time.Minute)
			announced(t, feed)
		}
		add("c")
		wants(t, f.PurgeChanges(t.Context(), f.time()), nil)
		announced(t, feed, "connector c")
		_ = f.try("", func(ctx context.Context, tx *store.Tx) error {
			return errors.Join(tx.AddChange(ctx, "connector", "undone"), errors.New("rolled back"))
		})
		announced(t, feed)
	})
}

// On PostgreSQL a transaction that took its number first may commit last.
func TestFeedSeesLateCommits(t *testing.T) {
	f := open(t, store.Config{URL: engines[1].url(t)})
	feed := ok(f.Follow(t.Context()))(t)
	early, release, done := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		done <- f.try("", func(ctx context.Context, tx *store.Tx) error {
			if err := tx.AddChange(ctx, "user", "early"); err != nil {
				return err
			}
			close(early)
			<-release
			return nil
		})
	}()
	<-early
	f.do(func(ctx context.Context, tx *store.Tx) error { return tx.AddChange(ctx, "user", "late") })
	announced(t, feed, "user late")
	late := ok(f.Follow(t.Context()))(t) // begins while the early one is open
	close(release)
	wants(t, <-done, nil)
	announced(t, feed, "user early")
	announced(t, late, "user early")
}

func TestFeedFlood(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		feed := ok(f.Follow(t.Context()))(t)
		f.do(func(ctx context.Context, tx *store.Tx) error {
			for i := range 5001 {
				if err := tx.AddChange(ctx, "user", fmt.Sprint(i)); err != nil {
					return err
				}
			}
			return nil
		})
		_, err := feed.Next(t.Context())
		wants(t, err, store.ErrFlood)
		announced(t, feed)
		f.do(func(ctx context.Context, tx *store.Tx) error { return tx.AddChange(ctx, "user", "next") })
		announced(t, feed, "user next")
	})
}

func TestMovedStreams(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		a := f.tenant("a")
		moved := func() (ids []string) {
			f.do(func(ctx context.Context, tx *store.Tx) error {
				ids = nil
				streams, err := tx.MovedStreams(ctx)
				for _, s := range streams {
					ids = append(ids, s.ID)
				}
				return errors.Join(err, tx.MarkCheckpointed(ctx, streams))
			})
			return ids
		}
		for _, stream := range []string{"first", "second"} {
			wants(t, f.appendTo("", stream, a.entries(stream, 1, 2)), nil)
		}
		same(t, []string{"first", "second"}, moved())
		same(t, []string(nil), moved())
		wants(t, f.appendTo("", "second", a.entries("second", 3, 1)), nil)
		same(t, []string{"second"}, moved())
	})
}
