package authn

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-webauthn/webauthn/webauthn"

	"claviger"
	"claviger/internal/store"
)

// Ledger decides and writes down; package gate behind a few lines of app is the one
// implementation.
type Ledger interface {
	// Record writes an entry that no decision stands behind: a refused token.
	Record(ctx context.Context, e claviger.Entry) error
	// Check decides a read; a denial is recorded.
	Check(ctx context.Context, c claviger.Caller, v claviger.Verb, r claviger.Resource) error
	// Change decides a change and runs it in one transaction with its entry. fn may
	// run again.
	Change(ctx context.Context, c claviger.Caller, v claviger.Verb, r claviger.Resource, fn func(*store.Tx) error) error
}

// Sealer encrypts the signing keys for the database. name is bound to the
// ciphertext.
type Sealer interface {
	SealInstance(name string, plaintext []byte) ([]byte, error)
	OpenInstance(name string, sealed []byte) ([]byte, error)
}

// Config is what an [Authority] is made of. Store, Ledger, Sealer and PublicURL are
// required.
type Config struct {
	Store     *store.DB
	Ledger    Ledger
	Sealer    Sealer
	Prints    claviger.Secret  // keys the fingerprints of client secrets that people chose
	PublicURL string           // the issuer and the root of the audiences, without a trailing slash
	Now       func() time.Time // nil: time.Now
	Random    io.Reader        // nil: crypto/rand
	Log       *slog.Logger     // nil: discarded
}

// Authority verifies and mints tokens. Its methods may be called from many
// goroutines.
type Authority struct {
	prints   claviger.Secret
	db       *store.DB
	ledger   Ledger
	issuer   string
	kinds    []tokenKind
	ring     ring
	cache    *verdicts
	failures *throttle // of recording refused tokens, by source
	omitted  atomic.Uint64
	secrets  *throttle // of guessing client secrets, by client and source
	// passwords is of guessing passwords, by account and source, sources by source alone,
	// factors of guessing second factors, by person; ceremonies of beginning them, by source.
	passwords, sources, factors, ceremonies *throttle

	party *webauthn.WebAuthn // of passkeys; nil: there are none here

	hashing hashing
	sealer  Sealer
	now     func() time.Time
	random  io.Reader
	log     *slog.Logger

	usedMu sync.Mutex
	used   map[claviger.KeyID]time.Time
}

// New makes an Authority and, on an empty database, its first signing key.
func New(ctx context.Context, c Config) (*Authority, error) {
	if c.Store == nil || c.Ledger == nil || c.Sealer == nil || c.PublicURL == "" {
		return nil, errors.New("authn: a store, a ledger, a sealer and the public URL are required")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	issuer := strings.TrimRight(c.PublicURL, "/")
	a := &Authority{
		db: c.Store, ledger: c.Ledger, issuer: issuer, kinds: tokenKinds(issuer),
		ring:  ring{db: c.Store, sealer: c.Sealer, now: c.Now, random: c.Random},
		cache: newVerdicts(maxVerdicts), now: c.Now, random: c.Random, log: c.Log,
		// A refused token is an entry of the ledger, but a flood of them from one source
		// must not fill it: 50 at once, then 5 a second.
		failures: newThrottle(5, 50, c.Now),
		// Ten wrong secrets at once for one client from one source, then one in six seconds.
		secrets: newThrottle(1.0/6, 10, c.Now),
		// The same for passwords. A source that tries many accounts is counted as well, with
		// room for an office behind one address.
		passwords: newThrottle(1.0/6, 10, c.Now), sources: newThrottle(1.0/2, 50, c.Now),
		// Five wrong codes at once, then one a minute: of a million, three are right.
		factors: newThrottle(1.0/60, 5, c.Now),
		// Thirty begun at once, as in an office of a morning, then one a second.
		ceremonies: newThrottle(1, 30, c.Now),
		hashing:    newHashing(), sealer: c.Sealer, prints: c.Prints,
		used: map[claviger.KeyID]time.Time{},
	}
	var err error
	if a.party, err = relyingParty(issuer); err != nil {
		return nil, err
	}
	if err := a.ring.open(ctx); err != nil {
		return nil, err
	}
	return a, nil
}

// refusedToken is why a token was refused, for the ledger only. The caller learns
// nothing but "invalid".
type refusedToken struct {
	code     string // of the ledger
	resource string // what it was for; empty: a token
	org      claviger.OrganizationID
	actor    string // an id of ours; empty while the token is not known to be one
	cause    error
}

// Error implements error.
func (r *refusedToken) Error() string { return "authn: " + r.code }

// Unwrap answers the cause, for errors.Is and errors.As.
func (r *refusedToken) Unwrap() error { return r.cause }

func refuse(code string) *refusedToken { return &refusedToken{code: code} }

// Authenticate finds the caller of a request by its "Authorization: Bearer" or
// "api-key" header.
//
// Errors: KindUnauthenticated without a valid token, KindUnreadable
// "ambiguous_credentials" with more than one.
func (a *Authority) Authenticate(r *http.Request, from claviger.Request) (claviger.Caller, error) {
	bearer, key := r.Header.Values("Authorization"), r.Header.Values("Api-Key")
	switch len(bearer) + len(key) {
	case 0:
		return claviger.Caller{}, claviger.Errorf(claviger.KindUnauthenticated, "missing_token", "Send an API key or a token as Authorization: Bearer, or an API key as api-key.")
	case 1:
	default:
		return claviger.Caller{}, claviger.Errorf(claviger.KindUnreadable, "ambiguous_credentials", "Send one credential only: Authorization or api-key, once.")
	}
	if len(key) == 1 {
		if !strings.HasPrefix(key[0], keyPrefix) {
			return a.refused(r.Context(), from, refuse("not_an_api_key"))
		}
		return a.AuthenticateToken(r.Context(), key[0], from)
	}
	scheme, token, ok := strings.Cut(bearer[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" || strings.ContainsAny(token, " \t") {
		return a.refused(r.Context(), from, refuse("malformed_authorization"))
	}
	return a.AuthenticateToken(r.Context(), token, from)
}

// AuthenticateToken finds the caller that a token stands for, wherever it stood on
// the request. Every refusal is the same KindUnauthenticated, and an entry of the
// ledger.
func (a *Authority) AuthenticateToken(ctx context.Context, token string, from claviger.Request) (claviger.Caller, error) {
	v, err := a.verdict(ctx, token)
	if err == nil && !v.admits(from.Address) {
		err = &refusedToken{code: "address_not_allowed", org: v.caller.Scope.Organization(), actor: v.caller.ID}
	}
	var r *refusedToken
	switch {
	case errors.As(err, &r):
		return a.refused(ctx, from, r)
	case err != nil:
		return claviger.Caller{}, unavailable(err)
	}
	caller := v.caller
	caller.From = from
	if caller.Kind == claviger.CallerAPIKey {
		a.touch(claviger.KeyID(caller.ID))
	}
	return caller, nil
}

// verdict answers what is known of a token: from memory, or found out now.
func (a *Authority) verdict(ctx context.Context, token string) (*verdict, error) {
	now := a.now()
	if len(token) > maxToken {
		return nil, refuse("token_too_long")
	}
	hash := sha256.Sum256([]byte(token))
	if v := a.cache.get(hash, now); v != nil {
		return v, nil
	}
	generation := a.cache.generation()
	var v *verdict
	var err error
	switch {
	case strings.HasPrefix(token, keyPrefix):
		v, err = a.checkKey(ctx, token, hash[:], now)
	case strings.Count(token, ".") == 2:
		v, err = a.checkJWT(ctx, token, now)
	default:
		err = refuse("unknown_token")
	}
	if err != nil {
		return nil, err
	}
	a.cache.put(hash, v, now, generation)
	return v, nil
}

// Omitted answers how many refused tokens were not written down, since nobody who is
// refused may fill the ledger: each source has 50 entries at once, and 5 a second.
func (a *Authority) Omitted() uint64 { return a.omitted.Load() }

// refused writes a refused token down and answers the one 401 there is.
func (a *Authority) refused(ctx context.Context, from claviger.Request, r *refusedToken) (claviger.Caller, error) {
	if !a.failures.allow(source(from.Address)) {
		a.omitted.Add(1)
	} else {
		e := claviger.Entry{
			Organization: r.org, ActorKind: claviger.CallerNobody, ActorID: r.actor,
			Verb: claviger.AuthenticationFail, ResourceType: cmp.Or(r.resource, "token"), Outcome: claviger.OutcomeDenied,
			Code: r.code, RequestID: from.ID,
		}
		if from.Address.IsValid() {
			e.Address = from.Address.String()
		}
		if err := a.ledger.Record(ctx, e); err != nil {
			a.log.WarnContext(ctx, "a refused token could not be recorded", "request", from.ID)
		}
	}
	return claviger.Caller{}, invalidToken().With(r)
}

func invalidToken() *claviger.Error {
	return claviger.Errorf(claviger.KindUnauthenticated, "invalid_token", "The token is not valid: unknown, expired or revoked.")
}

func unavailable(cause error) *claviger.Error {
	e := claviger.Errorf(claviger.KindUnavailable, "unavailable", "Tokens cannot be checked now. Try again shortly.")
	e.RetryAfter = time.Second
	return e.With(cause)
}

// Evict forgets what is remembered of a row that changed; kind and id are those of a
// claviger.Change. An empty id means all rows of the kind.
func (a *Authority) Evict(kind, id string) {
	switch kind {
	case "api_key", "token", "user", "application", "workspace", "organization":
		a.cache.evict(id)
	case "keyset":
		a.ring.expire()
	}
}

func (a *Authority) touch(id claviger.KeyID) {
	now := a.now()
	a.usedMu.Lock()
	a.used[id] = now
	a.usedMu.Unlock()
}

// TakeUsed answers when each API key was last used since the last call, for
// store.Tx.TouchAPIKeys. Its size is bounded by the number of keys.
func (a *Authority) TakeUsed() map[claviger.KeyID]time.Time {
	a.usedMu.Lock()
	defer a.usedMu.Unlock()
	used := a.used
	a.used = make(map[claviger.KeyID]time.Time, len(used))
	return used
}

// source is what a client is throttled by: its address, or the /64 that an IPv6
// client can move about in at will.
func source(addr netip.Addr) string {
	if addr.Is6() && !addr.Is4In6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.String()
		}
	}
	return addr.Unmap().String()
}
