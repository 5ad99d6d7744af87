package app

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"claviger"
	"claviger/api"
	"claviger/internal/gate"
	"claviger/internal/seal"
	"claviger/internal/store"
	"claviger/internal/surface/native"
	"claviger/internal/vault"
)

// randomSource is the process's one source of keys and identifiers.
var randomSource = rand.Reader

// The names under which the instance keeps its own secrets, sealed.
const (
	factLedger = "ledger-secret"
	factCursor = "cursor-secret"
	factPrints = "fingerprint-secret"
)

// ledgerChain answers the keyed chain of the ledger.
func ledgerChain(ctx context.Context, db *store.DB, v *vault.Vault) (*seal.Chain, error) {
	secret, err := instanceSecret(ctx, db, v, factLedger)
	if err != nil {
		return nil, err
	}
	return seal.NewChain(secret)
}

// instanceSecret answers 32 random bytes of the instance's own, made at first use. Of
// several nodes that make it at once one wins, and the others read its value.
func instanceSecret(ctx context.Context, db *store.DB, v *vault.Vault, name string) (claviger.Secret, error) {
	for range 3 {
		sealed, err := db.Fact(ctx, name)
		if err == nil {
			plain, err := v.OpenInstance(name, sealed)
			if err != nil {
				return claviger.Secret{}, fmt.Errorf("opening %s: %w", name, err)
			}
			return claviger.NewSecret(plain), nil
		}
		if !errors.Is(err, store.ErrNotFound) {
			return claviger.Secret{}, err
		}
		fresh := make([]byte, 32)
		if _, err := io.ReadFull(randomSource, fresh); err != nil {
			return claviger.Secret{}, err
		}
		if sealed, err = v.SealInstance(name, fresh); err != nil {
			return claviger.Secret{}, err
		}
		err = db.InTx(ctx, "", func(tx *store.Tx) error { return tx.PutFact(ctx, name, sealed, true) })
		if err != nil && !errors.Is(err, store.ErrConflict) {
			return claviger.Secret{}, err
		}
	}
	return claviger.Secret{}, fmt.Errorf("%s could not be stored", name)
}

// ledger is the gate as authentication asks it.
type ledger struct {
	*gate.Gate
	home claviger.OrganizationID
}

// Record writes an entry down. What cannot be laid at anybody's door, such as an unknown
// token, is the instance's own affair: its organization can read of it.
func (l *ledger) Record(ctx context.Context, e claviger.Entry) error {
	if e.Organization == "" {
		e.Organization = l.home
	}
	return l.Gate.Record(ctx, e)
}

// Change decides a change and runs it in one transaction with its entry.
func (l *ledger) Change(ctx context.Context, c claviger.Caller, v claviger.Verb, r claviger.Resource, fn func(*store.Tx) error) error {
	return l.Gate.Change(ctx, c, v, r, func(tx *store.Tx, _ *gate.Ticket) error { return fn(tx) })
}

// VerifyLedger checks the ledger of an instance without starting it: with the settings'
// database, master key and anchor. It changes nothing.
func VerifyLedger(ctx context.Context, s Settings, from, to time.Time) (*gate.Report, error) {
	a, chain, err := openLedger(ctx, s)
	if err != nil {
		return nil, err
	}
	defer func() { _ = a.db.Close() }()
	v := gate.Verification{Store: a.db, Chain: chain, From: from, To: to}
	f, err := os.Open(a.config.LedgerAnchor)
	if err == nil {
		defer f.Close()
		v.Anchor = f
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, badSetting("ledger.anchor", "the file cannot be read").With(err)
	}
	return gate.Verify(ctx, v)
}

// openLedger opens database and chain for reading. A database that no instance has
// ever used is refused: there is nothing to verify.
func openLedger(ctx context.Context, s Settings) (*App, *seal.Chain, error) {
	c := Config{Settings: s}
	c.fill()
	if _, err := os.Stat(c.Data); err != nil {
		return nil, nil, badSetting("data", "there is no such folder: "+c.Data)
	}
	a := &App{config: c, log: c.Log}
	var err error
	if a.db, err = store.Open(ctx, store.Config{URL: c.DatabaseURL, Now: c.Now}); err != nil {
		return nil, nil, err
	}
	if _, err = a.db.Keyset(ctx, ""); errors.Is(err, store.ErrNotFound) {
		return nil, nil, errors.Join(badSetting("database.url", "no instance has used this database yet"), a.db.Close())
	}
	kek, former, err := a.masterKey(ctx)
	if err != nil {
		return nil, nil, errors.Join(err, a.db.Close())
	}
	v, err := vault.Open(ctx, vault.Config{Store: a.db, KEK: kek, Former: former})
	if errors.Is(err, seal.ErrWrongMasterKey) {
		err = wrongMasterKey()
	}
	if err != nil {
		return nil, nil, errors.Join(err, a.db.Close())
	}
	chain, err := ledgerChain(ctx, a.db, v)
	if err != nil {
		return nil, nil, errors.Join(err, a.db.Close())
	}
	return a, chain, nil
}

// exported is one line of an export: the entry as the API shows it, and its place in
// the chain.
type exported struct {
	api.Entry
	Stream   string `json:"stream"`
	Sequence int64  `json:"sequence"`
	MAC      []byte `json:"mac"`
}

// ExportLedger writes every entry of a time as one line of JSON, stream by stream in
// the order of the chain.
func ExportLedger(ctx context.Context, s Settings, from, to time.Time, w io.Writer) (n int64, err error) {
	a, _, err := openLedger(ctx, s)
	if err != nil {
		return 0, err
	}
	defer func() { _ = a.db.Close() }()
	out := json.NewEncoder(w)
	for _, region := range append([]claviger.RegionID{""}, apart(a.db.Regions())...) {
		streams, err := a.db.Streams(ctx, region)
		if err != nil {
			return n, err
		}
		for i := range streams {
			err := a.db.WalkStream(ctx, region, streams[i].ID, 1, func(e claviger.Entry) error {
				if !from.IsZero() && e.Time.Before(from) || !to.IsZero() && !e.Time.Before(to) {
					return nil
				}
				n++
				return out.Encode(exported{Entry: native.Entry(e), Stream: e.Stream, Sequence: e.Sequence, MAC: e.MAC})
			})
			if err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// apart answers the regions whose database is not the control database's: none while
// there is one region.
func apart(regions []claviger.RegionID) []claviger.RegionID {
	if len(regions) <= 1 {
		return nil
	}
	return regions
}
