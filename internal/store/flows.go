package store

import (
	"context"
	"strings"
	"time"

	"claviger"
)

const flowColumns = "status, state_hash, body, version, expires_at"

// sealedFlow is a flow with its ciphertext.
type sealedFlow struct {
	claviger.ConnectFlow
	sealed claviger.Sealed
}

func scanFlow(r row) (sealedFlow, error) {
	var f sealedFlow
	var status claviger.ConnectStatus
	var state, sealed []byte
	var body string
	var version, expires int64
	if err := r.Scan(&status, &state, &body, &version, &expires, &sealed); err != nil {
		return f, err
	}
	err := undocument(body, &f.ConnectFlow)
	f.Status, f.StateHash, f.Version, f.ExpiresAt, f.sealed = status, state, version, fromMillis(expires), sealed
	return f, err
}

const selectFlow = "SELECT " + flowColumns + ", sealed FROM connect_flows WHERE "

// ConnectFlowByID answers a flow and its ciphertext. It takes no scope: a browser that
// was sent to the flow's address has nothing but the id.
func (db *DB) ConnectFlowByID(ctx context.Context, id claviger.FlowID) (claviger.ConnectFlow, claviger.Sealed, error) {
	return db.findFlow(ctx, "id = $1", string(id))
}

// ConnectFlowByState answers the flow that a state was made for, after its use too. It
// takes no scope: a browser that comes back from a vendor has nothing but the state.
func (db *DB) ConnectFlowByState(ctx context.Context, hash []byte) (claviger.ConnectFlow, claviger.Sealed, error) {
	if len(hash) == 0 {
		return claviger.ConnectFlow{}, nil, ErrNotFound
	}
	return db.findFlow(ctx, "state_hash = $1", hash)
}

// AwaitingConnectFlows answers up to limit flows of a session or of a connection, which
// may be empty, that wait to be finished, the newest first.
func (db *DB) AwaitingConnectFlows(ctx context.Context, s claviger.Scope, session claviger.ConnectSessionID, connection claviger.ConnectionID, limit int) ([]claviger.ConnectFlow, error) {
	if s.Organization() == "" {
		return nil, ErrNoScope
	}
	rows, err := merged(ctx, db.databases(), int64(limit), func(a, b sealedFlow) int { return strings.Compare(string(b.ID), string(a.ID)) },
		func(ctx context.Context, q querier) ([]sealedFlow, error) {
			return many(ctx, q, scanFlow, selectFlow+"organization = $1 AND ($2 = '' OR workspace = $2) AND ($3 = '' OR session = $3)"+
				" AND ($4 = '' OR connection = $4) AND status = 'awaiting_finish' ORDER BY id DESC LIMIT $5",
				string(s.Organization()), string(s.Workspace()), string(session), string(connection), int64(limit))
		})
	return flowsOf(rows), err
}

func flowsOf(rows []sealedFlow) []claviger.ConnectFlow {
	out := make([]claviger.ConnectFlow, len(rows))
	for i := range rows {
		out[i] = rows[i].ConnectFlow
	}
	return out
}

func (db *DB) findFlow(ctx context.Context, condition string, args ...any) (claviger.ConnectFlow, claviger.Sealed, error) {
	f, err := inRegions(ctx, db, func(ctx context.Context, d *database) (sealedFlow, error) {
		return one(ctx, d.reader(), scanFlow, selectFlow+condition, args...)
	})
	return f.ConnectFlow, f.sealed, err
}

// StaleConnectFlows answers flows whose time is over and that are not wiped, of all
// organizations. It takes no scope: it is the background's.
func (db *DB) StaleConnectFlows(ctx context.Context, now time.Time, limit int) ([]claviger.ConnectFlow, error) {
	rows, err := merged(ctx, db.databases(), int64(limit), func(a, b sealedFlow) int { return a.ExpiresAt.Compare(b.ExpiresAt) },
		func(ctx context.Context, q querier) ([]sealedFlow, error) {
			return many(ctx, q, scanFlow,
				selectFlow+"expires_at <= $1 AND (status IN ('open', 'started', 'exchanging', 'awaiting_finish') OR sealed IS NOT NULL) ORDER BY expires_at LIMIT $2",
				millis(now), int64(limit))
		})
	return flowsOf(rows), err
}

// CreateConnectFlow adds a flow in a transaction of its workspace's region.
func (tx *Tx) CreateConnectFlow(ctx context.Context, s claviger.Scope, f claviger.ConnectFlow, sealed claviger.Sealed) error {
	if err := covers(s, f.Organization, f.Workspace); err != nil {
		return err
	}
	f.Version = 1
	body, err := kept(f)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, "INSERT INTO connect_flows (organization, id, workspace, session, connection, "+flowColumns+", sealed) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
		string(f.Organization), string(f.ID), string(f.Workspace), string(f.Session), string(f.Draft.ID),
		string(f.Status), filled(f.StateHash), body, f.Version, millis(f.ExpiresAt), nullable(sealed))
	return err
}

// ConnectFlowChange answers what a flow and its ciphertext are to become.
type ConnectFlowChange func(claviger.ConnectFlow, claviger.Sealed) (claviger.ConnectFlow, claviger.Sealed, error)

// UpdateConnectFlow changes a flow; change may run again. A flow in a final state keeps
// no ciphertext, unless its tokens are being revoked, and does not leave that state.
func (tx *Tx) UpdateConnectFlow(ctx context.Context, s claviger.Scope, id claviger.FlowID, change ConnectFlowChange) (claviger.ConnectFlow, error) {
	if s.Organization() == "" {
		return claviger.ConnectFlow{}, ErrNoScope
	}
	old, err := one(ctx, tx.q, scanFlow, selectFlow+"organization = $1 AND id = $2 AND ($3 = '' OR workspace = $3)"+tx.home.lock,
		string(s.Organization()), string(id), string(s.Workspace()))
	if err != nil {
		return claviger.ConnectFlow{}, err
	}
	next, sealed, err := change(old.ConnectFlow, old.sealed)
	if err != nil {
		return old.ConnectFlow, err
	}
	if old.Status.Final() && next.Status != old.Status {
		return old.ConnectFlow, &Conflict{Field: "status"}
	}
	if next.Status.Final() && next.Revoking == nil {
		sealed = nil
	}
	next.ID, next.Organization, next.Workspace, next.Session, next.Version = old.ID, old.Organization, old.Workspace, old.Session, old.Version+1
	body, err := kept(next)
	if err != nil {
		return old.ConnectFlow, err
	}
	return next, mustTouch(ctx, tx.q, ErrStale,
		"UPDATE connect_flows SET status = $1, state_hash = $2, body = $3, version = $4, expires_at = $5, sealed = $6 WHERE organization = $7 AND id = $8 AND version = $4 - 1",
		string(next.Status), filled(next.StateHash), body, next.Version, millis(next.ExpiresAt), nullable(sealed), string(next.Organization), string(id))
}

// NewerFlowCompleted reports whether a flow for the same connection that began later has
// completed: the earlier intent must not overwrite it.
func (tx *Tx) NewerFlowCompleted(ctx context.Context, s claviger.Scope, f claviger.ConnectFlow) (bool, error) {
	if err := covers(s, f.Organization, f.Workspace); err != nil {
		return false, err
	}
	n, err := one(ctx, tx.q, scanOne[int64], "SELECT COUNT(*) FROM connect_flows WHERE organization = $1 AND connection = $2 AND status = 'completed' AND id > $3",
		string(f.Organization), string(f.Draft.ID), string(f.ID))
	return n > 0, err
}
