package broker

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/store"
)

const (
	// loginLife is how long a command line waits for its person.
	loginLife = 10 * time.Minute
	// grantLife is how long a code that a browser carries is good.
	grantLife = time.Minute
	// loginInterval is the pace of its questions at first; each one that comes too early
	// slows it by loginSlower (RFC 8628, section 3.5), up to loginSlowest.
	loginInterval = 5 * time.Second
	loginSlower   = 5 * time.Second
	loginSlowest  = time.Minute
	// loginKeyLife is how long the key of a command line lives.
	loginKeyLife = 90 * 24 * time.Hour
)

// logins are the limits of logging in from a command line: who asks to be let in, by
// address, and who types codes, by person. Both are ten at once, then one in six seconds.
// Of 2^40 codes, a person who guesses for ten minutes tries 110.
type logins struct {
	begun, typed *cache[string, *rate.Limiter]
}

func newLogins() logins {
	return logins{newCache[string, *rate.Limiter](maxLive), newCache[string, *rate.Limiter](maxLive)}
}

func (b *Broker) within(c *cache[string, *rate.Limiter], name string) error {
	l := c.settle(name, rate.NewLimiter(1.0/6, 10), func(*rate.Limiter) bool { return true })
	if l.AllowN(b.now(), 1) {
		return nil
	}
	e := claviger.Errorf(claviger.KindRateLimited, "too_many_attempts", "Too many attempts. Wait a little.")
	e.RetryAfter = 6 * time.Second
	return e
}

// LoginBegun is the answer of [Broker.BeginCLI]. Both codes are shown this once: one to
// the command line, which keeps it, one for its person to type.
type LoginBegun struct {
	Login      claviger.Login
	DeviceCode claviger.Secret
	UserCode   string // 8 characters of Crockford's base 32, 40 bits, with a dash in the middle
	PageURL    string // where it is typed
}

// BeginCLI lets a command line ask a person for a key (RFC 8628, section 3.1). Anybody may
// ask; host is the machine's own name, shown to the person beside its address.
func (b *Broker) BeginCLI(ctx context.Context, from claviger.Request, host string) (LoginBegun, error) {
	if err := b.within(b.logins.begun, source(from.Address)); err != nil {
		return LoginBegun{}, err
	}
	l, device, err := b.draftLogin(from, host)
	if err != nil {
		return LoginBegun{}, err
	}
	user, err := b.finishCode(claviger.DeliverCode)
	if err != nil {
		return LoginBegun{}, err
	}
	l.UserHash, l.Interval, l.ExpiresAt = digest(user), loginInterval, l.CreatedAt.Add(loginLife)
	if err := b.db.InTx(ctx, "", func(tx *store.Tx) error { return tx.CreateLogin(ctx, l) }); err != nil {
		return LoginBegun{}, err
	}
	return LoginBegun{
		Login: l, DeviceCode: claviger.NewSecretString(device), UserCode: user[:4] + "-" + user[4:], PageURL: b.publicURL + "/console/cli",
	}, nil
}

// draftLogin answers a login that waits, and the code that redeems it.
func (b *Broker) draftLogin(from claviger.Request, host string) (claviger.Login, string, error) {
	if err := checkName("host", host); err != nil {
		return claviger.Login{}, "", err
	}
	id, err := b.newID(claviger.PrefixLogin)
	if err != nil {
		return claviger.Login{}, "", err
	}
	code, err := b.finishCode(claviger.DeliverRedirect)
	l := claviger.Login{ID: claviger.LoginID(id), Status: claviger.LoginPending, CodeHash: digest(code), Host: host, CreatedAt: b.now()}
	if from.Address.IsValid() {
		l.Address = from.Address.Unmap().String()
	}
	return l, code, err
}

// source is what a client is counted by: its address, or the /64 that an IPv6 client can
// move about in at will.
func source(a netip.Addr) string {
	a = a.Unmap()
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}

// LoginAsked answers what a code that a person typed would let in, so that they see whose
// request it is before they decide. Only a person may ask; wrong codes are counted.
func (b *Broker) LoginAsked(ctx context.Context, c claviger.Caller, userCode string) (claviger.Login, error) {
	r := orgWide(c, "login", "")
	if err := b.gate.Check(ctx, c, claviger.APIKeysCreate, r); err != nil {
		return claviger.Login{}, err
	}
	if c.User == "" {
		return claviger.Login{}, b.gate.Refuse(ctx, c, claviger.APIKeysCreate, r,
			claviger.Errorf(claviger.KindDenied, "person_required", "Only a person lets a command line in. An application makes keys with POST /v1/api-keys."))
	}
	if err := b.within(b.logins.typed, string(c.User)); err != nil {
		return claviger.Login{}, err
	}
	l, err := b.db.LoginByUserCode(ctx, digest(plainCode(userCode)))
	if errors.Is(err, store.ErrNotFound) || err == nil && !b.now().Before(l.ExpiresAt) {
		return claviger.Login{}, b.gate.Absent(ctx, c, claviger.APIKeysCreate, r)
	}
	return l, err
}

// plainCode reads a code as people type it: small letters, dashes, spaces, and the
// letters that Crockford's alphabet leaves out for those that they look like.
func plainCode(s string) string {
	return strings.NewReplacer("-", "", " ", "", "O", "0", "I", "1", "L", "1").Replace(strings.ToUpper(s))
}

// ApproveCLI lets the command line of a code in, or sends it away. What it gets is an API
// key of the person who approves, with at most their rights and for 90 days at most.
func (b *Broker) ApproveCLI(ctx context.Context, c claviger.Caller, userCode string, allow bool) (claviger.Login, error) {
	l, err := b.LoginAsked(ctx, c, userCode)
	if err != nil {
		return l, err
	}
	decide := func(tx *store.Tx) error {
		return tx.UpdateLogin(ctx, l.ID, func(now claviger.Login) (claviger.Login, error) {
			if now.Status != claviger.LoginPending {
				return now, claviger.NotFound("login")
			}
			now.Status, now.Key = l.Status, l.Key
			return now, nil
		})
	}
	r := orgWide(c, "login", string(l.ID))
	if !allow {
		l.Status = claviger.LoginDenied
		if err := b.db.InTx(ctx, "", decide); err != nil {
			return l, err
		}
		_ = b.gate.Refuse(ctx, c, claviger.APIKeysCreate, r, loginRefused()) // answers its cause
		return l, nil
	}
	l.Status = claviger.LoginApproved
	if l.Key, err = b.draftLoginKey(ctx, c, l.Host); err != nil {
		return l, err
	}
	return l, b.gate.Change(ctx, c, claviger.APIKeysCreate, r, func(tx *store.Tx, _ *gate.Ticket) error { return decide(tx) })
}

func loginRefused() error {
	return claviger.Errorf(claviger.KindDenied, "access_denied", "The login was refused.")
}

func (b *Broker) draftLoginKey(ctx context.Context, c claviger.Caller, host string) (claviger.APIKey, error) {
	now := b.now()
	return b.draftKey(ctx, c, KeyRequest{Name: host + " " + now.UTC().Format(time.DateOnly), ExpiresAt: now.Add(loginKeyLife)})
}

// LoginGrant asks for the code that a browser carries to the command line on the same
// machine.
type LoginGrant struct {
	Host      string
	Challenge string // S256 of the command line's proof (RFC 7636, section 4.2)
	ReturnTo  string // where the command line listens: http on a loopback address (RFC 8252, section 7.3)
	State     string // goes back as it came
}

// GrantCLI lets in the command line that opened the person's browser, and answers where
// the browser goes next. The person has consented by then.
func (b *Broker) GrantCLI(ctx context.Context, c claviger.Caller, in LoginGrant) (location string, err error) {
	r := orgWide(c, "login", "")
	if c.User == "" {
		return "", b.gate.Refuse(ctx, c, claviger.APIKeysCreate, r, claviger.Errorf(claviger.KindDenied, "person_required", "Only a person lets a command line in."))
	}
	back, err := loopback(in.ReturnTo)
	if err != nil {
		return "", err
	}
	if raw, err := base64.RawURLEncoding.DecodeString(in.Challenge); err != nil || len(raw) != sha256.Size {
		return "", claviger.Invalid("codeChallenge", "invalid_format", "Send the SHA-256 of the code verifier in base64url.")
	}
	l, code, err := b.draftLogin(c.From, in.Host)
	if err != nil {
		return "", err
	}
	l.Status, l.Challenge, l.ExpiresAt = claviger.LoginApproved, in.Challenge, l.CreatedAt.Add(grantLife)
	if l.Key, err = b.draftLoginKey(ctx, c, in.Host); err != nil {
		return "", err
	}
	r.ID = string(l.ID)
	err = b.gate.Change(ctx, c, claviger.APIKeysCreate, r, func(tx *store.Tx, _ *gate.Ticket) error { return tx.CreateLogin(ctx, l) })
	back.RawQuery = url.Values{"code": {code}, "state": {in.State}}.Encode()
	return back.String(), err
}

// RefuseCLI sends that command line away, and answers where the browser goes next.
func (b *Broker) RefuseCLI(ctx context.Context, c claviger.Caller, in LoginGrant) (location string, err error) {
	back, err := loopback(in.ReturnTo)
	if err != nil {
		return "", err
	}
	_ = b.gate.Refuse(ctx, c, claviger.APIKeysCreate, orgWide(c, "login", ""), loginRefused()) // answers its cause
	back.RawQuery = url.Values{"error": {"access_denied"}, "state": {in.State}}.Encode()
	return back.String(), nil
}

func loopback(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err == nil && u.Scheme == "http" && u.User == nil && u.RawQuery == "" && u.Fragment == "" && u.Port() != "" {
		if ip := net.ParseIP(u.Hostname()); ip != nil && ip.IsLoopback() {
			return u, nil
		}
	}
	return nil, claviger.Invalid("redirectUri", "invalid_format", "A command line listens on http://127.0.0.1 with a port of its own.")
}

// RedeemCLI gives an approved command line its key, once. code is a device code, or one
// that a browser carried and whose proof is verifier.
//
// Errors: KindConflict "authorization_pending" while the person has not decided,
// KindRateLimited "slow_down" for a question that came too early, KindDenied
// "access_denied", KindUnauthenticated "expired_token" for a code that is unknown, used
// or over.
func (b *Broker) RedeemCLI(ctx context.Context, from claviger.Request, code, verifier string) (NewAPIKey, error) {
	l, err := b.db.LoginByCode(ctx, digest(code))
	if errors.Is(err, store.ErrNotFound) {
		return NewAPIKey{}, loginOver()
	}
	if err != nil {
		return NewAPIKey{}, err
	}
	if l, err = b.askAgain(ctx, l.ID, verifier); err != nil {
		return NewAPIKey{}, err
	}
	key := l.Key
	token, hash, hint, err := b.tokens.NewAPIKey()
	if err != nil {
		return NewAPIKey{}, err
	}
	key.Hash, key.Hint, key.CreatedAt = hash, hint, b.now()
	c := b.system(key.Organization)
	c.From = from
	err = b.gate.Change(ctx, c, claviger.TokensMint, orgWide(c, "api_key", string(key.ID)), func(tx *store.Tx, _ *gate.Ticket) error {
		err := tx.UpdateLogin(ctx, l.ID, func(now claviger.Login) (claviger.Login, error) {
			if now.Status != claviger.LoginApproved {
				return now, loginOver()
			}
			now.Status = claviger.LoginRedeemed
			return now, nil
		})
		if err != nil {
			return err
		}
		return tx.CreateAPIKey(ctx, c.Scope, key)
	})
	return NewAPIKey{Key: key, Token: token}, conflict(err)
}

// askAgain answers a login that may be redeemed, or how it stands. It notes the question,
// so that all nodes keep the same pace, and ends a login whose proof was wrong.
func (b *Broker) askAgain(ctx context.Context, id claviger.LoginID, verifier string) (l claviger.Login, err error) {
	var verdict error
	err = b.db.InTx(ctx, "", func(tx *store.Tx) error {
		return tx.UpdateLogin(ctx, id, func(now claviger.Login) (claviger.Login, error) {
			now, verdict = b.asked(now, verifier)
			l = now
			return now, nil
		})
	})
	return l, errors.Join(err, verdict)
}

func (b *Broker) asked(l claviger.Login, verifier string) (claviger.Login, error) {
	now := b.now()
	early := now.Before(l.PolledAt.Add(l.Interval))
	l.PolledAt = now
	switch {
	case !now.Before(l.ExpiresAt):
		return l, loginOver()
	case l.Challenge != "" && !proves(verifier, l.Challenge):
		l.Status = claviger.LoginDenied // whoever has the code is not who asked for it
		return l, loginOver()
	case early:
		l.Interval = min(l.Interval+loginSlower, loginSlowest)
		e := claviger.Errorf(claviger.KindRateLimited, "slow_down", "Ask less often.")
		e.RetryAfter = l.Interval
		return l, e
	}
	switch l.Status {
	case claviger.LoginApproved:
		return l, nil
	case claviger.LoginPending:
		return l, claviger.Errorf(claviger.KindConflict, "authorization_pending", "Nobody has decided yet. Ask again.")
	case claviger.LoginDenied:
		return l, loginRefused()
	}
	return l, loginOver()
}

func proves(verifier, challenge string) bool {
	return subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(digest(verifier))), []byte(challenge)) == 1
}

func loginOver() error {
	return claviger.Errorf(claviger.KindUnauthenticated, "expired_token", "The code is unknown, used or over. Log in anew.")
}
