package gate_test

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/store"
)

func TestZeroTicketProvesNothing(t *testing.T) {
	var none *gate.Ticket
	for _, ticket := range []*gate.Ticket{none, {}} {
		if ticket.Valid() || ticket.Covers("", "") || ticket.Covers("org_a", "conn_1") {
			t.Errorf("%v proves something", ticket)
		}
		if _, ok := ticket.Secrets(); ok {
			t.Error("it opens secrets")
		}
		if _, ok := ticket.Keyset(); ok {
			t.Error("it opens keys")
		}
		ticket.Done(gate.Ending{}) // and ending it does no harm
	}
}

func TestTicketCoversWhatItWasMadeForUntilItEnds(t *testing.T) {
	r := newRoom(t, gate.ModeStrict)
	defer r.close(t)
	c := caller("org_a", "", claviger.RoleOwner)
	ticket, err := r.gate.Admit(t.Context(), c, claviger.ConnectionsProxy, connection("org_a", "ws_1"), "")
	if err != nil {
		t.Fatal(err)
	}
	if !ticket.Covers("org_a", "conn_1") || ticket.Covers("org_a", "conn_2") || ticket.Covers("org_b", "conn_1") {
		t.Error("the ticket covers the wrong things")
	}
	if _, ok := ticket.Keyset(); ok {
		t.Error("a ticket for a connection opens keys")
	}
	ticket.Done(gate.Ending{StatusCode: 200})
	if ticket.Covers("org_a", "conn_1") {
		t.Error("an ended ticket still opens")
	}
}

// The entry is durable when Admit returns: a second connection to the database sees it
// while the call has not begun.
func TestAbuse_217_AllowedIsDurableBeforeAnythingIsSent(t *testing.T) {
	r := newRoom(t, gate.ModeStrict)
	defer r.close(t)
	other, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + r.path, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	c := caller("org_a", "", claviger.RoleOwner)
	const calls = 200
	var wg sync.WaitGroup
	for range calls {
		wg.Go(func() {
			ticket, err := r.gate.Admit(t.Context(), c, claviger.ConnectionsProxy, connection("org_a", "ws_1"), "")
			if err != nil {
				t.Error(err)
				return
			}
			list, err := other.Ledger(t.Context(), c.Scope, store.LedgerFilter{Outcome: claviger.OutcomeAllowed}, store.Page{Limit: 1})
			if err != nil || len(list) == 0 {
				t.Errorf("nothing is written yet: %d entries, %v", len(list), err)
			}
			ticket.Done(gate.Ending{})
		})
	}
	wg.Wait()
}

// In strict mode a call's beginning is written before it leaves, so that there are two
// entries. In relaxed mode a beginning that is not written yet when the call ends
// becomes the end.
func TestEveryCallIsWrittenInBothModes(t *testing.T) {
	const calls = 2500
	for mode, least := range map[gate.Mode]int{gate.ModeStrict: 2 * calls, gate.ModeRelaxed: calls} {
		t.Run(string(mode), func(t *testing.T) {
			r := newRoom(t, mode)
			c := caller("org_a", "", claviger.RoleOwner)
			var wg sync.WaitGroup
			limit := make(chan struct{}, 64)
			for range calls {
				limit <- struct{}{}
				wg.Go(func() {
					defer func() { <-limit }()
					ticket, err := r.gate.Admit(t.Context(), c, claviger.ConnectionsProxy, connection("org_a", "ws_1"), "")
					if err != nil {
						t.Error(err)
						return
					}
					ticket.Done(gate.Ending{StatusCode: 200})
					ticket.Done(gate.Ending{Err: errors.New("late")}) // only the first counts
				})
			}
			wg.Wait()
			r.close(t)
			report := r.verify(t)
			if !report.Intact() || report.Entries < int64(least) || report.Entries > 2*calls {
				t.Fatalf("%d entries, %+v; want %d to %d, intact", report.Entries, report.Findings, least, 2*calls)
			}
			if ends := r.count(t, c, claviger.OutcomeSucceeded); ends != calls {
				t.Fatalf("%d calls have an end; want %d", ends, calls)
			}
			if failed := r.count(t, c, claviger.OutcomeFailed); failed != 0 {
				t.Fatalf("%d calls ended twice", failed)
			}
		})
	}
}

// A call that is longer than the window has its beginning written while it runs, and
// then an entry of its own for the end.
func TestRelaxedBeginningOfALongCallIsWrittenWithinTheWindow(t *testing.T) {
	r := newRoom(t, gate.ModeRelaxed)
	c := caller("org_a", "", claviger.RoleOwner)
	ticket, err := r.gate.Admit(t.Context(), c, claviger.ConnectionsProxy, connection("org_a", "ws_1"), "")
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); r.count(t, c, claviger.OutcomeAllowed) == 0; {
		if time.Now().After(deadline) {
			t.Fatal("the beginning is not written while the call runs")
		}
	}
	ticket.Done(gate.Ending{StatusCode: 200})
	r.close(t)
	list := r.entries(t, c)
	if len(list) != 2 || list[0].Outcome != claviger.OutcomeSucceeded || list[1].Outcome != claviger.OutcomeAllowed {
		t.Fatalf("%+v", list)
	}
	if report := r.verify(t); !report.Intact() {
		t.Fatalf("%+v", report.Findings)
	}
}

// count answers how many entries have the outcome.
func (r *room) count(t *testing.T, c claviger.Caller, outcome claviger.Outcome) int {
	t.Helper()
	n, after := 0, ""
	for {
		list, err := r.db.Ledger(t.Context(), c.Scope, store.LedgerFilter{Outcome: outcome}, store.Page{Limit: 100, After: after})
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			return n
		}
		n, after = n+len(list), string(list[len(list)-1].ID)
	}
}

func (r *room) verify(t *testing.T) *gate.Report {
	t.Helper()
	v := gate.Verification{Store: r.db, Chain: r.chain}
	if f, err := os.Open(r.anchor); err == nil {
		defer f.Close()
		v.Anchor = f
	}
	report, err := gate.Verify(context.WithoutCancel(t.Context()), v)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// Two processes on one database write streams of their own and never wait for one
// another; together they verify.
func TestAbuse_226_TwoProcessesWriteAtOnce(t *testing.T) {
	r := newRoom(t, gate.ModeStrict)
	second := &room{db: r.db, chain: r.chain, anchor: r.anchor}
	second.open(t, gate.ModeRelaxed)
	c := caller("org_a", "", claviger.RoleOwner)
	var wg sync.WaitGroup
	for _, g := range []*gate.Gate{r.gate, second.gate} {
		for range 4 {
			wg.Go(func() {
				for range 50 {
					ticket, err := g.Admit(t.Context(), c, claviger.ConnectionsProxy, connection("org_a", "ws_1"), "")
					if err != nil {
						t.Error(err)
						return
					}
					ticket.Done(gate.Ending{})
					if err := g.Change(t.Context(), c, claviger.SecretsWrite, claviger.Resource{Type: "secret", Organization: "org_a"}, func(*store.Tx, *gate.Ticket) error { return nil }); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	r.close(t)
	second.close(t)
	if report := r.verify(t); !report.Intact() || report.Streams != 4 || report.Entries < 4*50*(3+2) || report.Entries > 4*50*(3+3) {
		t.Fatalf("%+v", report)
	}
}
