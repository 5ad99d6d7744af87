package vault

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"sync"
	"time"

	"claviger"
	"claviger/internal/oauth"
	"claviger/internal/store"
)

const (
	// maxPins bounds what is remembered of discovered servers; beyond it the database is
	// asked again.
	maxPins = 10_000
	// lookTime bounds a look at metadata that are known already.
	lookTime = 5 * time.Second
)

// pins remembers what servers are pinned to, and when to look at their metadata again.
type pins struct {
	mu sync.Mutex
	of map[string]pinned
}

type pinned struct {
	endpoints oauth.Endpoints
	until     time.Time
}

func newPins() *pins { return &pins{of: map[string]pinned{}} }

func (p *pins) get(key string) (pinned, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one, ok := p.of[key]
	return one, ok
}

func (p *pins) put(key string, one pinned) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.of) >= maxPins {
		clear(p.of)
	}
	p.of[key] = one
}

// Discovered completes a configuration of a connection with what its issuer says of
// itself. What it said when the connector's version was first used counts: a server, or
// who speaks for it, that says otherwise later changes nothing before somebody stores the
// connector anew and its owner moves the connection to that version. Each process looks
// at the metadata again as often as they ask for, and logs a difference.
func (v *Vault) Discovered(ctx context.Context, s claviger.Scope, c *oauth.Client, conn *claviger.Connection, cfg oauth.Config) (oauth.Config, error) {
	key := string(conn.Organization) + "/" + conn.Connector + "/" + strconv.Itoa(conn.ConnectorVersion) + " " + cfg.Issuer
	now := v.now()
	one, known := v.pins.get(key)
	if known && now.Before(one.until) {
		return cfg.WithMetadata(oauth.Metadata{Endpoints: one.endpoints}), nil
	}
	kept, err := v.db.PinnedEndpoints(ctx, s, conn.Connector, conn.ConnectorVersion, cfg.Issuer)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return cfg, err
	}
	looking := ctx
	if kept != nil {
		var cancel context.CancelFunc
		looking, cancel = context.WithTimeout(ctx, lookTime)
		defer cancel()
	}
	found, err := c.Discover(looking, cfg)
	if err != nil && kept == nil {
		return cfg, err
	}
	one.until = now.Add(found.Fresh)
	if err == nil && kept == nil {
		if kept, err = v.pin(ctx, s, conn, cfg.Issuer, found.Endpoints); err != nil {
			return cfg, err
		}
	}
	one.endpoints = oauth.Endpoints{}
	if err := json.Unmarshal(kept, &one.endpoints); err != nil {
		return cfg, err
	}
	if err == nil && found.Issuer != "" && found.Endpoints != one.endpoints && v.keep != nil {
		v.keep.Log.Warn("an authorization server's metadata changed; the endpoints that its connector was approved with stay in use",
			"connector", conn.Connector, "organization", string(conn.Organization), "issuer", cfg.Issuer)
	}
	v.pins.put(key, one)
	return cfg.WithMetadata(oauth.Metadata{Endpoints: one.endpoints}), nil
}

func (v *Vault) pin(ctx context.Context, s claviger.Scope, conn *claviger.Connection, issuer string, found oauth.Endpoints) (kept []byte, err error) {
	document, err := json.Marshal(found)
	if err != nil {
		return nil, err
	}
	err = v.db.InTx(ctx, "", func(tx *store.Tx) error {
		kept, err = tx.PinEndpoints(ctx, s, store.Pin{Connector: conn.Connector, Version: conn.ConnectorVersion, Issuer: issuer, Endpoints: document})
		return err
	})
	return kept, err
}
