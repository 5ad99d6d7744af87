package broker

import (
	"cmp"
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"time"

	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"claviger"
	"claviger/internal/catalog"
	"claviger/internal/egress"
	"claviger/internal/events"
	"claviger/internal/gate"
	"claviger/internal/hookverify"
	"claviger/internal/jobs"
	"claviger/internal/oauth"
	"claviger/internal/store"
	"claviger/internal/vault"
)

// TokenMaker is what the core needs of authentication: the random values that are shown
// once.
type TokenMaker interface {
	// NewAPIKey answers a token, the hash to keep and its last four characters.
	NewAPIKey() (token claviger.Secret, hash []byte, hint string, err error)
	// NewClientSecret answers a client secret and the hash to keep.
	NewClientSecret() (secret claviger.Secret, hash []byte, err error)
	// NewSetupLink answers the token of a link by which a person chooses how they sign in,
	// and what is kept of it.
	NewSetupLink(claviger.OrganizationID, claviger.UserID) (claviger.Secret, claviger.SetupLink, error)
	// NewConnectToken answers the token of a connect page and the hash to keep.
	NewConnectToken() (token claviger.Secret, hash []byte, err error)
}

// Founder has the rules of names that tokens are minted for, and founds tenants: what the
// first start does and what the core does must be the same.
type Founder interface {
	// CanonicalName answers a workspace's name as it is shown, and the form by which it is
	// unique; param is the field to blame.
	CanonicalName(param, name string) (shown, canonical string, err error)
	// Found prepares an organization with its workspace "default", owner, application and
	// owner's API key, and the writing of them.
	Found(name string, regions []claviger.RegionID) (NewOrganization, func(context.Context, *store.Tx) error, error)
}

// Config is what a Broker is made of. All but Forget, Now, Random, Wait and Log are required.
type Config struct {
	Store   *store.DB
	Gate    *gate.Gate
	Vault   *vault.Vault
	Catalog *catalog.Catalog
	Egress  *egress.Client
	Tokens  TokenMaker
	Tenants Founder
	// Insert adds a job to a transaction: the queue's own method. The jobs are those of
	// [RevocationKinds] and [WebhookKinds].
	Insert func(ctx context.Context, tx *store.Tx, kind string, args any, o jobs.Options) error
	// System answers claviger's own caller of an organization.
	System func(claviger.OrganizationID) claviger.Caller
	// Events tells the organization's endpoints what happened; nil: nobody is told.
	Events *events.Events
	// Forget tells authentication of a row that has just changed, so that a token which
	// depends on it is asked about again at its next use and not a second later, when the
	// announcement arrives.
	Forget func(kind, id string)
	// PlainHTTP reports whether a host may be called without TLS: those that the
	// instance's egress setting opens.
	PlainHTTP func(host string) bool
	// Connecting answers the caller of a browser within a connect session or flow, by
	// whose id it is known.
	Connecting func(claviger.OrganizationID, claviger.WorkspaceID, string, claviger.Request) claviger.Caller
	// PublicURL is where a person connects and reconnects.
	PublicURL string
	Now       func() time.Time
	Random    io.Reader
	// Wait pauses between two attempts; it ends early with the context's error.
	Wait func(ctx context.Context, d time.Duration) error
	// Schemes answers the ways in which vendors prove their webhooks; it is asked when the
	// first one arrives. nil: there are none.
	Schemes func() (*hookverify.Set, error)
	// KeepInbound is how long deliveries of vendors are kept; 0: 30 days.
	KeepInbound time.Duration
	Log         *slog.Logger
}

// Broker is the core. Its methods may be called from many goroutines.
type Broker struct {
	db         *store.DB
	gate       *gate.Gate
	vault      *vault.Vault
	catalog    *catalog.Catalog
	egress     *egress.Client
	tokens     TokenMaker
	founder    Founder
	events     *events.Events
	forget     func(kind, id string)
	plainHTTP  func(string) bool
	publicURL  string
	now        func() time.Time
	random     io.Reader
	wait       func(context.Context, time.Duration) error
	log        *slog.Logger
	lives      *cache[claviger.ConnectionID, *live]
	shapes     *cache[shapeKey, *shape]
	connectors *cache[connectorKey, *claviger.Connector]
	limits     *cache[claviger.ConnectionID, limit]
	drains     *cache[string, limit] // of revocations, by organization and connector
	insert     func(context.Context, *store.Tx, string, any, jobs.Options) error
	system     func(claviger.OrganizationID) claviger.Caller
	connecting connecting
	logins     logins
	signOns    *cache[string, foundProvider] // by organization and issuer

	// Of webhooks.
	schemes   func() (*hookverify.Set, error)
	keep      time.Duration
	receivers *cache[receiverKey, *receiver]
	plans     *cache[planKey, *hookPlan]
	budgets   *cache[claviger.SystemID, *budget]
	strangers *rate.Limiter
	loads     singleflight.Group
	published *published
	inbox     *inbox
}

// New makes a Broker.
func New(c Config) *Broker {
	b := &Broker{
		db: c.Store, gate: c.Gate, vault: c.Vault, catalog: c.Catalog, egress: c.Egress, tokens: c.Tokens, founder: c.Tenants, events: c.Events, forget: c.Forget,
		plainHTTP: c.PlainHTTP, publicURL: c.PublicURL, now: c.Now, random: c.Random, wait: c.Wait, log: c.Log,
		lives: newCache[claviger.ConnectionID, *live](maxLive), connectors: newCache[connectorKey, *claviger.Connector](maxConnectors),
		shapes: newCache[shapeKey, *shape](maxShapes), limits: newCache[claviger.ConnectionID, limit](maxLive),
		drains: newCache[string, limit](maxConnectors), insert: c.Insert, system: c.System, logins: newLogins(),
		signOns: newCache[string, foundProvider](maxSignOns),
	}
	if b.forget == nil {
		b.forget = func(string, string) {}
	}
	if b.plainHTTP == nil {
		b.plainHTTP = func(string) bool { return false }
	}
	if b.now == nil {
		b.now = time.Now
	}
	if b.random == nil {
		b.random = rand.Reader
	}
	if b.wait == nil {
		b.wait = pause
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	if b.schemes = c.Schemes; b.schemes == nil {
		b.schemes = func() (*hookverify.Set, error) {
			return nil, claviger.Errorf(claviger.KindUnavailable, "", "This instance knows no webhook schemes.")
		}
	}
	b.receivers, b.plans = newCache[receiverKey, *receiver](maxReceivers), newCache[planKey, *hookPlan](maxPlans)
	b.budgets, b.strangers = newCache[claviger.SystemID, *budget](maxReceivers), rate.NewLimiter(strangerRate, strangerBurst)
	b.keep = cmp.Or(c.KeepInbound, keepInbound)
	b.published = newPublished(b.egress, b.now)
	b.inbox = &inbox{db: b.db, insert: b.insert, newID: b.newID, log: b.log, writers: map[claviger.RegionID]*inboxWriter{}}
	b.connecting = connecting{
		oauth: &oauth.Client{Egress: c.Egress, Now: b.now, Random: b.random, Nonces: oauth.NewNonces()}, act: c.Connecting, refusals: rate.NewLimiter(5, 50),
	}
	return b
}

// Close stores what was received and waits for it. Nothing may be received after it began.
func (b *Broker) Close(ctx context.Context) error { return b.inbox.close(ctx) }

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Evict forgets what is cached of a row that changed, here or on another node.
func (b *Broker) Evict(c claviger.Change) {
	switch c.Kind {
	case "connection":
		b.lives.drop(claviger.ConnectionID(c.ID))
	case "connector", "workspace":
		b.lives.clear()
		b.shapes.clear()
		b.connectors.clear()
	case "keyset":
		b.vault.Evict(claviger.OrganizationID(c.ID))
	}
}

// newID answers a new identifier of the given prefix.
func (b *Broker) newID(prefix string) (string, error) {
	return claviger.NewID(prefix, b.now(), b.random)
}

// own answers a resource of the caller's own organization.
func own(c claviger.Caller, kind, id string) claviger.Resource {
	return claviger.Resource{Type: kind, ID: id, Organization: c.Scope.Organization(), Workspace: c.Scope.Workspace()}
}

// orgWide answers a resource that belongs to the caller's organization as a whole.
func orgWide(c claviger.Caller, kind, id string) claviger.Resource {
	return claviger.Resource{Type: kind, ID: id, Organization: c.Scope.Organization()}
}
