package app

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"claviger"
	"claviger/connectors"
	"claviger/internal/authn"
	"claviger/internal/broker"
	"claviger/internal/catalog"
	"claviger/internal/egress"
	"claviger/internal/events"
	"claviger/internal/gate"
	"claviger/internal/hookverify"
	"claviger/internal/jobs"
	"claviger/internal/keeper"
	"claviger/internal/seal"
	"claviger/internal/store"
	"claviger/internal/surface/console"
	"claviger/internal/vault"
	"claviger/internal/wire"
)

// Version is the release, set by the linker.
var Version = "0.1.0-dev"

// Config is what an App is made of: the operator's settings, and what a test puts in
// the place of the world outside.
type Config struct {
	Settings
	// RootCAs, Resolver and OnDial are the egress package's; nil outside tests.
	RootCAs   *x509.CertPool
	Resolver  *net.Resolver
	OnDial    func(network, address string)
	Now       func() time.Time                           // nil: time.Now
	Wait      func(context.Context, time.Duration) error // nil: really waits
	LookupEnv func(name string) (string, bool)           // nil: os.LookupEnv
	Log       *slog.Logger                               // nil: discarded
	// RotateSeals is the vault's: after how many values a key is replaced.
	RotateSeals int64

	clock func() time.Time // Now as it was given
}

// App is a running instance.
type App struct {
	config  Config
	log     *slog.Logger
	db      *store.DB
	gate    *gate.Gate
	ledger  *ledger
	vault   *vault.Vault
	tokens  *authn.Authority
	broker  *broker.Broker
	catalog *catalog.Catalog
	handler http.Handler
	admin   http.Handler
	routes  []wire.Route
	metrics *metrics
	logCaps *logCaps
	prints  claviger.Secret // keys the fingerprints of what people chose
	events  *events.Events
	jobs    *jobs.Queue
	first   *authn.Bootstrapped
	secrets external // where kv:// resolves, unless in the database
	keyMade string   // path of a master key that was made
	stop    context.CancelFunc
	// lastFaults is what the log already said of the operator's documents.
	lastFaults string
	finished   chan struct{}
	tended     chan struct{}
}

// Open opens everything but the listeners. What it opened before an error it closes.
func Open(ctx context.Context, c Config) (_ *App, err error) {
	c.fill()
	caps := newLogCaps()
	c.Log = slog.New(cappedLog{c.Log.Handler(), caps})
	a := &App{config: c, log: c.Log, logCaps: caps, finished: make(chan struct{}), tended: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.abandon())
		}
	}()
	chain, err := a.openVault(ctx)
	if err != nil {
		return nil, err
	}
	if err := a.openCore(ctx, chain); err != nil {
		return nil, err
	}
	if err := a.mount(); err != nil {
		return nil, err
	}
	feed, err := a.db.Follow(ctx)
	if err != nil {
		return nil, err
	}
	if err := a.jobs.Start(context.WithoutCancel(ctx)); err != nil {
		return nil, err
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	a.stop = stop
	go a.housekeeping(background, feed)
	go a.tend(background)
	return a, nil
}

func (c *Config) fill() {
	if c.Addr == "" {
		c.Addr = "127.0.0.1:8787"
	}
	if c.AdminAddr == "" {
		c.AdminAddr = "127.0.0.1:8788"
	}
	if c.Data == "" {
		c.Data = "./claviger-data"
	}
	if c.DatabaseURL == "" {
		c.DatabaseURL = "sqlite:" + filepath.Join(c.Data, "claviger.db")
	}
	if c.LedgerAnchor == "" {
		c.LedgerAnchor = filepath.Join(c.Data, "ledger-anchor.jsonl")
	}
	if c.SpillDir == "" {
		c.SpillDir = filepath.Join(c.Data, "spill")
	}
	if c.MasterKey.Empty() {
		c.MasterKey = claviger.NewSecretString("file:" + filepath.Join(c.Data, "master.key"))
	}
	if c.PublicURL == "" {
		c.PublicURL = "http://" + c.Addr
	}
	c.PublicURL = strings.TrimRight(c.PublicURL, "/")
	c.clock = c.Now
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.LookupEnv == nil {
		c.LookupEnv = os.LookupEnv
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// openVault opens database and master key, proves one on the other, and answers the
// ledger's chain, whose secret is sealed under them.
func (a *App) openVault(ctx context.Context) (*seal.Chain, error) {
	if err := makeFolder(a.config.Data); err != nil {
		return nil, err
	}
	var err error
	if a.db, err = store.Open(ctx, store.Config{URL: a.config.DatabaseURL, Now: a.config.Now}); err != nil {
		return nil, err
	}
	kek, former, err := a.masterKey(ctx)
	if err != nil {
		return nil, err
	}
	c := vault.Config{Store: a.db, KEK: kek, Former: former, Now: a.config.Now, RotateSeals: a.config.RotateSeals}
	if !embeddedSecrets(a.config.Secrets) {
		if err := a.openSecrets(""); err != nil {
			return nil, err
		}
		c.External = &a.secrets
	}
	a.vault, err = vault.Open(ctx, c)
	if errors.Is(err, seal.ErrWrongMasterKey) {
		return nil, wrongMasterKey()
	}
	if err != nil {
		return nil, err
	}
	return ledgerChain(ctx, a.db, a.vault)
}

func wrongMasterKey() error {
	return badSetting("master.key", "this is not the key that the database was sealed under. "+
		"Nothing was changed. Start with the right key, or with another database")
}

// makeFolder makes the data folder for its owner alone.
func makeFolder(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return badSetting("data", "the folder cannot be made: "+path).With(err)
	}
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return badSetting("data", "this is no folder: "+path).With(err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(path, 0o700); err != nil {
			return badSetting("data", "others may read the folder, and that cannot be changed: "+path).With(err)
		}
	}
	return nil
}

// masterKey opens the master key, and the one before it if the settings name it. A missing
// key file is made only for a database that nothing was sealed in yet: for any other it
// would be the wrong key.
func (a *App) masterKey(ctx context.Context) (kek seal.KEK, former []seal.KEK, err error) {
	_, err = a.db.Keyset(ctx, "")
	fresh := errors.Is(err, store.ErrNotFound)
	if err != nil && !fresh {
		return nil, nil, err
	}
	before := a.config.MasterKeyPrevious
	if kek, err = a.openKEK(ctx, a.config.MasterKey, fresh && before.Empty()); err != nil || before.Empty() {
		return kek, nil, err
	}
	previous, err := a.openKEK(ctx, before, false)
	if err != nil {
		e := *claviger.AsError(err)
		e.Param, e.Message = "master.key.previous", "master.key.previous: "+e.Message
		return nil, nil, &e
	}
	return kek, []seal.KEK{previous}, nil
}

func (a *App) openKEK(ctx context.Context, setting claviger.Secret, create bool) (kek seal.KEK, err error) {
	setting.Use(func(address []byte) {
		var key claviger.Secret
		var info keeper.Info
		if key, info, err = (keeper.Keeper{Random: randomSource}).Open(ctx, string(address), create); err != nil {
			return
		}
		if info.Created {
			a.keyMade = info.Path
		}
		kek, err = seal.LocalKEK(key)
	})
	return kek, err
}

// embeddedSecrets reports whether kv:// resolves in the database.
func embeddedSecrets(setting string) bool { return setting == "" || setting == "embedded" }

// openSecrets opens the store that kv:// resolves in, for an instance whose own
// organization is home. Before the first start has made that, home is empty; nothing is
// asked of the store by then.
func (a *App) openSecrets(home claviger.OrganizationID) (err error) {
	a.secrets.Store, err = keeper.OpenStore(a.config.Secrets, keeper.Options{Home: home, LookupEnv: a.config.LookupEnv, Now: a.config.Now})
	return err
}

// home answers the instance's own organization.
func (a *App) home(ctx context.Context) (claviger.OrganizationID, error) {
	page := store.Page{Limit: 100}
	for {
		list, err := a.db.Organizations(ctx, page)
		if err != nil {
			return "", err
		}
		for _, o := range list {
			if o.Instance {
				return o.ID, nil
			}
			page.After = string(o.ID)
		}
		if len(list) < page.Limit {
			return "", errors.New("the instance has no organization of its own")
		}
	}
}

// external is a keeper's store as the vault asks it.
type external struct{ keeper.Store }

// Get answers the value at a path now.
func (e *external) Get(ctx context.Context, organization claviger.OrganizationID, path string) (claviger.Secret, error) {
	value, _, err := e.Store.Get(ctx, organization, path)
	return value, err
}

// openCore opens ledger, tokens, catalogue, egress and broker.
func (a *App) openCore(ctx context.Context, chain *seal.Chain) (err error) {
	c := a.config
	a.gate, err = gate.Open(ctx, gate.Config{
		Store: a.db, Chain: chain, Mode: gate.Mode(c.LedgerMode), Anchor: gate.FileAnchor{Path: c.LedgerAnchor}, Now: c.Now, Log: a.log,
	})
	if err != nil {
		return fmt.Errorf("opening the ledger: %w", err)
	}
	a.ledger = &ledger{Gate: a.gate}
	if a.prints, err = instanceSecret(ctx, a.db, a.vault, factPrints); err != nil {
		return err
	}
	if a.tokens, err = authn.New(ctx, authn.Config{
		Store: a.db, Ledger: a.ledger, Sealer: a.vault, Prints: a.prints, PublicURL: c.PublicURL, Now: c.Now, Log: a.log,
	}); err != nil {
		return err
	}
	allow, err := egress.ParseAllow(c.EgressAllow)
	if err != nil {
		return err
	}
	if a.catalog, err = catalog.Load(connectors.Files, catalog.Options{AllowPlain: allow.PlainHTTP}); err != nil {
		return err
	}
	if c.ConnectorsDir != "" {
		if err := a.watchFolder(); err != nil {
			return err
		}
	}
	out := egress.New(egress.Config{
		Allow: allow, SelfOrigins: a.selfOrigins(), RootCAs: c.RootCAs, Resolver: c.Resolver, OnDial: c.OnDial,
	})
	if err := a.openBackground(out); err != nil {
		return err
	}
	a.broker = broker.New(broker.Config{
		Store: a.db, Gate: a.gate, Vault: a.vault, Catalog: a.catalog, Tokens: tokenMaker{}, Tenants: tokenMaker{}, Forget: a.tokens.Evict, Connecting: authn.Connecting,
		Egress: out, Events: a.events, System: authn.System,
		Insert: func(ctx context.Context, tx *store.Tx, kind string, args any, o jobs.Options) error {
			return a.jobs.Insert(ctx, tx, kind, args, o)
		},
		PlainHTTP: allow.PlainHTTP, PublicURL: c.PublicURL, Now: c.Now, Wait: c.Wait, Log: a.log, KeepInbound: c.webhookKeep(),
		Schemes: sync.OnceValues(func() (*hookverify.Set, error) { return hookverify.Load(connectors.Webhooks, "webhooks") }),
	})
	if err := a.keepFresh(out); err != nil {
		return err
	}
	return a.found(ctx)
}

// found makes what a first start makes. It comes after everything that a bad setting
// could stop, since the secrets that it makes are shown once.
func (a *App) found(ctx context.Context) (err error) {
	c := a.config
	if a.first, err = authn.Bootstrap(ctx, a.db, a.ledger, authn.BootstrapConfig{
		ClientID: c.BootstrapID, ClientSecret: c.BootstrapSecret, Prints: a.prints, Now: c.Now,
	}); err != nil {
		return err
	}
	if a.first != nil {
		// The anchor is there from the first moment on: what a start makes can be cut off too.
		if err := a.gate.Checkpoint(ctx); err != nil {
			return err
		}
	}
	if a.ledger.home, err = a.home(ctx); err != nil || embeddedSecrets(c.Secrets) {
		return err
	}
	return a.openSecrets(a.ledger.home)
}

// selfOrigins are the addresses of this very server, which no connector may call.
func (a *App) selfOrigins() []string {
	return []string{a.config.PublicURL, "http://" + a.config.Addr, "http://" + a.config.AdminAddr}
}

// FirstStart answers what a first start made, whose secrets are shown once; nil on any
// later start.
func (a *App) FirstStart() *authn.Bootstrapped { return a.first }

// SetupLink answers the address of a link by which a person chooses how they sign in.
func (a *App) SetupLink(token claviger.Secret) (address string) {
	token.Use(func(b []byte) { address = a.config.PublicURL + console.SetupPath + string(b) })
	return address
}

// OwnerLink makes a new such link for the instance's owner, in place of the one before.
func (a *App) OwnerLink(ctx context.Context) (address string, err error) {
	token, err := a.tokens.OwnerLink(ctx, a.ledger.home)
	return a.SetupLink(token), err
}

// MadeKey answers the path of the master key that this start made, or "".
func (a *App) MadeKey() string { return a.keyMade }

// Handler answers the API, without a listener.
func (a *App) Handler() http.Handler { return a.handler }

// AdminHandler answers health, metrics and profiles, without a listener.
func (a *App) AdminHandler() http.Handler { return a.admin }

// Routes lists every route of every surface: what an authorization matrix is made of.
func (a *App) Routes() []wire.Route { return a.routes }

// PublicURL answers the address that the instance believes to have.
func (a *App) PublicURL() string { return a.config.PublicURL }

// Close ends the background work, flushes the ledger and closes the database. Stop the
// listeners first.
func (a *App) Close(ctx context.Context) error {
	a.stop()
	for _, ended := range []chan struct{}{a.finished, a.tended} {
		select {
		case <-ended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return errors.Join(a.broker.Close(ctx), a.jobs.Stop(ctx), a.vault.Close(ctx), a.gate.Close(ctx), a.db.Close())
}

// abandon closes what an Open that failed has opened.
func (a *App) abandon() error {
	var errs []error
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if a.jobs != nil {
		errs = append(errs, a.jobs.Abort(ctx))
	}
	if a.gate != nil {
		errs = append(errs, a.gate.Close(ctx))
	}
	if a.db != nil {
		errs = append(errs, a.db.Close())
	}
	return errors.Join(errs...)
}
