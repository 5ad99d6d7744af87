package broker

import (
	"context"
	"errors"

	"golang.org/x/time/rate"

	"claviger"
	"claviger/internal/store"
	"claviger/internal/vault"
)

const (
	// maxLive bounds the connections kept ready in memory, about 1 KiB each.
	maxLive = 1 << 17
	// maxShapes bounds what those connections have in common.
	maxShapes = 4096
	// maxConnectors bounds the compiled custom connectors in memory.
	maxConnectors = 4096
)

// live is a connection made ready for calls: its facts, its ciphertext and what its
// connector says about where the credential goes. It holds no plaintext and is never
// changed; a change of the row evicts it.
type live struct {
	*shape
	conn     claviger.Connection
	sealed   claviger.Sealed
	moved    bool          // base lies elsewhere than where the credential was given for
	limiter  *rate.Limiter // nil: no limit known
	resource claviger.Resource
}

// live answers a connection in the caller's reach. What is absent or foreign is the
// gate's to refuse and record.
func (b *Broker) live(ctx context.Context, c claviger.Caller, v claviger.Verb, id claviger.ConnectionID) (*live, error) {
	l, generation, ok := b.lives.get(id)
	if !ok || !c.Scope.Covers(l.conn.Organization, l.conn.Workspace) {
		var err error
		l, err = b.load(ctx, c, id)
		if errors.Is(err, store.ErrNotFound) {
			return nil, b.gate.Absent(ctx, c, v, claviger.Resource{Type: "connection", ID: string(id)})
		}
		if err != nil {
			return nil, err
		}
		b.lives.put(l.conn.ID, l, generation) // not id, which is a part of the whole request line
	}
	if err := b.gate.Check(ctx, c, v, l.resource); err != nil {
		return nil, err
	}
	return l, nil
}

// usable is [Broker.live] for a connection that is about to be used on the API path: its
// state must allow it.
func (b *Broker) usable(ctx context.Context, c claviger.Caller, v claviger.Verb, id claviger.ConnectionID) (*live, error) {
	return b.usableFor(ctx, c, v, id, claviger.UsageAPI)
}

// usableFor is [Broker.usable] for the path of any usage.
func (b *Broker) usableFor(ctx context.Context, c claviger.Caller, v claviger.Verb, id claviger.ConnectionID, u claviger.Usage) (*live, error) {
	l, err := b.live(ctx, c, v, id)
	if err != nil {
		return nil, err
	}
	if l.conn.Status == claviger.StatusPending && l.conn.Slot != "" && l.conn.Usage == u && mints(l.method) {
		if err := b.tokensForSlot(ctx, c, l); err != nil {
			return nil, b.gate.Refuse(ctx, c, v, l.resource, err)
		}
		if l, err = b.live(ctx, c, v, id); err != nil {
			return nil, err
		}
	}
	if refusal := l.refusal(b.publicURL, u); refusal != nil {
		return nil, b.gate.Refuse(ctx, c, v, l.resource, refusal)
	}
	return l, nil
}

// refusal answers why the connection cannot be used on the path of a usage, or nil.
func (l *live) refusal(publicURL string, u claviger.Usage) *claviger.Error {
	if e := l.conn.Status.Refusal(); e != nil {
		if l.conn.Status == claviger.StatusPending && l.conn.Slot != "" && l.method != nil && l.method.OAuth == nil && len(l.conn.SecretPaths) > 0 {
			return vault.Missing(l.conn.SecretPaths[0]) // the slot's destination moved, and its values are to be given again
		}
		if f := l.conn.LastError; e.Kind == claviger.KindReauthorize && f != nil {
			e.Message = f.Message + " " + l.again()
		}
		if e.Kind == claviger.KindReauthorize && publicURL != "" {
			e.Reconnect = publicURL + "/connect/" + string(l.conn.ID)
		}
		return e
	}
	if e := l.displaced(); e != nil {
		return e
	}
	if l.conn.Usage != u {
		return claviger.Errorf(claviger.KindConflict, "missing_slot",
			"This connection serves %s, not %s. What is done here needs a connection whose usage is %s.", l.conn.Usage, u, u)
	}
	if (u == claviger.UsageSyncExecution || u == claviger.UsageWebhookInbound) && consents(l.method) {
		return claviger.Errorf(claviger.KindConflict, "delegated_slot",
			"A person stands behind this connection, so it does not serve %s, which runs without one. Use a credential of a service.", u)
	}
	return nil
}

// displaced refuses every use of a credential, a test included, while the connector leads
// elsewhere than where it was given for; nil if it does not.
func (l *live) displaced() *claviger.Error {
	if !l.moved {
		return nil
	}
	if l.method.OAuth != nil {
		return claviger.Errorf(claviger.KindConflict, "destination_changed",
			"The connector now leads to another host than the tokens were given for. Connect again to approve of it.")
	}
	return claviger.Errorf(claviger.KindConflict, "destination_changed",
		"The connector now leads to another host than the credential was given for. Send the credential again with PATCH to approve it.")
}

func (b *Broker) load(ctx context.Context, c claviger.Caller, id claviger.ConnectionID) (*live, error) {
	if !claviger.ValidID(claviger.PrefixConnection, string(id)) {
		return nil, store.ErrNotFound
	}
	conn, sealed, err := b.db.Connection(ctx, c.Scope, id)
	if err != nil {
		return nil, err
	}
	if conn.Status == claviger.StatusRevoked {
		// A tombstone has no destination any more; it is only shown and refused.
		return &live{shape: &shape{}, conn: conn, resource: conn.Resource()}, nil
	}
	connector, err := b.connector(ctx, c.Scope, conn.Connector, conn.ConnectorVersion)
	if err != nil {
		return nil, err
	}
	l, err := b.ready(conn, sealed, connector)
	if err != nil {
		return nil, err
	}
	l.compact()
	l.limiter = b.limiter(l.conn.ID, connector.RateLimit)
	return l, nil
}

// ready joins a connection's row with its connector.
func (b *Broker) ready(conn claviger.Connection, sealed claviger.Sealed, connector *claviger.Connector) (*live, error) {
	s, err := b.shape(connector, conn.Organization, conn.AuthMethod, conn.Settings)
	if err != nil {
		return nil, err
	}
	l := &live{shape: s, conn: conn, sealed: sealed, moved: !s.within(conn.Destination), resource: conn.Resource()}
	l.resource.Host = s.base.Host
	return l, nil
}

// limit is what a connection has left of its vendor's rate limit. It outlives the
// connection's place in memory, which every change of the row ends.
type limit struct {
	perSecond float64
	burst     int
	limiter   *rate.Limiter
}

// limiter answers the connection's one limiter, nil if its connector knows no limit.
func (b *Broker) limiter(id claviger.ConnectionID, r claviger.RateLimit) *rate.Limiter {
	if r.RequestsPerSecond <= 0 {
		return nil
	}
	fresh := limit{r.RequestsPerSecond, r.Burst, rate.NewLimiter(rate.Limit(r.RequestsPerSecond), max(r.Burst, 1))}
	return b.limits.settle(id, fresh, func(old limit) bool { return old.perSecond == r.RequestsPerSecond && old.burst == r.Burst }).limiter
}
