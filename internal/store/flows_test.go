package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"claviger"
	"claviger/internal/store"
)

// session and flow are the victim's rows of connecting.
func (v *victim) session() claviger.ConnectSession {
	return claviger.ConnectSession{
		ID: claviger.ConnectSessionID("cs_" + v.org.ID), Organization: v.org.ID, Workspace: v.workspace.ID, TokenHash: []byte("token " + v.org.ID),
		Connectors: []string{"custom"}, Settings: map[string]string{"k": "v"}, Status: claviger.ConnectOpen, ExpiresAt: v.f.time().Add(time.Hour),
	}
}

func (v *victim) flow() claviger.ConnectFlow {
	return claviger.ConnectFlow{
		ID: claviger.FlowID("flow_" + v.org.ID), Organization: v.org.ID, Workspace: v.workspace.ID, Session: v.session().ID,
		Draft: claviger.Connection{ID: v.connection, Name: "one"}, Status: claviger.ConnectAwaiting, StateHash: []byte("state " + v.org.ID),
		ExpiresAt: v.f.time().Add(time.Hour),
	}
}

// earlier is a flow that began before one that has completed.
func (v *victim) earlier() claviger.ConnectFlow {
	f := v.flow()
	f.ID = claviger.FlowID("a" + string(f.ID))
	return f
}

func (v *victim) beginConnecting() {
	v.f.t.Helper()
	completed := v.flow()
	completed.ID, completed.Status, completed.StateHash = "flow_completed", claviger.ConnectCompleted, nil
	completed.ID += claviger.FlowID(v.org.ID)
	v.f.in(claviger.DefaultRegion, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.CreateConnectSession(ctx, v.scope, v.session()), tx.CreateConnectFlow(ctx, v.scope, v.flow(), claviger.Sealed("s")),
			tx.CreateConnectFlow(ctx, v.scope, completed, nil))
	})
	v.f.do(func(ctx context.Context, tx *store.Tx) error {
		return tx.PutReturnURLs(ctx, v.scope, []string{"https://app.example/done"})
	})
}

func TestConnecting_RoundTrip(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		v := f.victim("one")
		s, err := f.ConnectSessionByHash(t.Context(), []byte("token "+v.org.ID))
		wants(t, err, nil)
		if s.ID != v.session().ID || s.Settings["k"] != "v" || s.Version != 1 {
			t.Errorf("the session came back as %+v", s)
		}
		flow, sealed, err := f.ConnectFlowByState(t.Context(), []byte("state "+v.org.ID))
		wants(t, err, nil)
		if flow.Draft.Name != "one" || string(sealed) != "s" {
			t.Errorf("the flow came back as %+v with %q", flow, sealed)
		}
		_, _, err = f.ConnectFlowByState(t.Context(), nil)
		wants(t, err, store.ErrNotFound)
		urls, err := f.ReturnURLs(t.Context(), v.scope)
		wants(t, err, nil)
		same(t, []string{"https://app.example/done"}, urls)
	})
}

func TestConnecting_AFinalFlowKeepsNothing(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		v := f.victim("one")
		end := func(status claviger.ConnectStatus) error {
			return f.try(claviger.DefaultRegion, func(ctx context.Context, tx *store.Tx) error {
				_, err := tx.UpdateConnectFlow(ctx, v.scope, v.flow().ID, func(now claviger.ConnectFlow, sealed claviger.Sealed) (claviger.ConnectFlow, claviger.Sealed, error) {
					now.Status = status
					return now, sealed, nil
				})
				return err
			})
		}
		wants(t, end(claviger.ConnectCompleted), nil)
		flow, sealed, err := f.ConnectFlowByID(t.Context(), v.flow().ID)
		wants(t, err, nil)
		if sealed != nil || flow.Status != claviger.ConnectCompleted || flow.Version != 2 {
			t.Errorf("a completed flow keeps %q and is %+v", sealed, flow)
		}
		wants(t, end(claviger.ConnectFailed), store.ErrConflict)
	})
}

func TestConnecting_WhatIsStaleAndWhatIsPurged(t *testing.T) {
	onEngines(t, func(t *testing.T, f *fixture) {
		v := f.victim("one")
		before, err := f.StaleConnectFlows(t.Context(), v.f.time(), 10)
		wants(t, err, nil)
		same(t, 0, len(before))
		later := v.f.time().Add(2 * time.Hour)
		stale, err := f.StaleConnectFlows(t.Context(), later, 10)
		wants(t, err, nil)
		same(t, 1, len(stale))
		f.in(claviger.DefaultRegion, func(ctx context.Context, tx *store.Tx) error {
			n, err := tx.PurgeConnecting(ctx, later)
			if n != 2 {
				t.Errorf("%d rows were purged: a flow that still holds a ciphertext must stay, its session and the completed flow go", n)
			}
			return err
		})
		_, _, err = f.ConnectFlowByID(t.Context(), v.flow().ID)
		wants(t, err, nil)
	})
}
