package gate_test

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"

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
			list, err := other.Ledger(t.Context(), c.Scope, store.LedgerFilter{Outcome: claviger.OutcomeAllowed}, store.Page{Limit: 100})
			if err != nil || len(list) == 0 {
				t.Errorf("nothing is written yet: %d entries, %v", len(list), err)
			}
			ticket.Done(gate.Ending{})
		})
	}
	wg.Wait()
}

func TestEveryCallHasBeginningAndEndInBothModes(t *testing.T) {
	for _, mode := range []gate.Mode{gate.ModeStrict, gate.ModeRelaxed} {
		t.Run(string(mode), func(t *testing.T) {
			r := newRoom(t, mode)
			c := caller("org_a", "", claviger.RoleOwner)
			const calls = 2500
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
			if !report.Intact() || report.Entries != 2*calls {
				t.Fatalf("%d entries, %+v; want %d, intact", report.Entries, report.Findings, 2*calls)
			}
		})
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
	if report := r.verify(t); !report.Intact() || report.Streams != 4 || report.Entries != 2*4*50*3 {
		t.Fatalf("%+v", report)
	}
}
