package rehearse

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"claviger"
	"claviger/internal/catalog"
	"claviger/internal/oauth"
)

const redirect = "https://claviger.example/oauth/callback/org_1/simulated"

// life is the life of one grant.
type life struct {
	*run
	m       *claviger.AuthMethod
	client  claviger.OAuthClient
	written oauth.Config // with the vendor's own addresses
	moved   oauth.Config // with this world's
	tokens  claviger.Tokens

	callback url.Values // what the browser brought back
	answer   oauth.Raw  // that the first tokens came in
}

// granted answers the steps of an oauth2 method: consent and exchange, or the client's
// own grant; calls; expiry; refresh; revocation.
func (r *run) granted(m *claviger.AuthMethod) []named {
	var l *life
	return []named{
		{StepConnect, func() (err error) {
			if l, err = r.newLife(m); err != nil {
				return err
			}
			if err := l.obtain(); err != nil {
				return err
			}
			if err := l.discover(); err != nil {
				return fmt.Errorf("discovery: %w", err)
			}
			return r.test(m, l.credentials())
		}},
		{StepCall, func() error { return r.actions(m, l.credentials()) }},
		{StepExpire, func() error {
			if err := r.limits(m, l.credentials()); err != nil {
				return err
			}
			r.vendor.ExpireAccess(m.Key)
			if err := r.refused(m, l.credentials()); err != nil {
				return fmt.Errorf("an expired access token: %w", err)
			}
			return nil
		}},
		{StepRefresh, func() error {
			renewed := l.renew()
			if renewed != nil && !errors.Is(renewed, errNone) {
				return renewed
			}
			if a, err := r.any(m, l.credentials()); err != nil || catalog.Expired(r.conn, a.status, a.header, a.body) {
				return fmt.Errorf("the renewed token is refused: %d %s %v", a.status, a.body, err)
			}
			return renewed
		}},
		{StepRevoke, func() error { return l.revoke() }},
	}
}

func (r *run) newLife(m *claviger.AuthMethod) (*life, error) {
	for _, d := range m.OAuth.Discover {
		delete(r.settings, d.Variable)
	}
	known := r.vendor.Client(m.Key)
	l := &life{run: r, m: m, client: claviger.OAuthClient{ID: known.ID, Secret: claviger.NewSecretString(known.Secret)}}
	if m.OAuth.ClientAuth == claviger.PrivateKeyJWT {
		var err error
		if l.client.PrivateKey, err = r.oauth.NewProofKey(); err != nil {
			return nil, err
		}
	}
	if m.OAuth.Grant == claviger.GrantJWTBearer || m.OAuth.Grant == claviger.GrantInstallation {
		var err error
		if l.client, err = asserting(m, l.client.ID); err != nil {
			return nil, err
		}
	}
	return l, l.resolve()
}

// resolve fills the section's addresses from the settings that are known.
func (l *life) resolve() (err error) {
	lookup := func(name string) (string, bool) { value, ok := l.settings[name]; return value, ok }
	if l.written, err = oauth.Resolve(l.m.OAuth, "org_1/"+l.conn.Key, lookup); err != nil {
		return err
	}
	l.moved = l.written
	e := &l.moved.Endpoints
	for _, address := range []*string{&e.Token, &e.Refresh, &e.Revoke} {
		if *address, err = l.move(l.conn.Key, *address); err != nil {
			return err
		}
	}
	return nil
}

// discover finds what the connector learns from the consent, which must be what the
// vendor is simulated with.
func (l *life) discover() error {
	if len(l.m.OAuth.Discover) == 0 {
		return nil
	}
	settings, err := catalog.Discover(l.conn, l.m, l.settings, catalog.Sources{
		Token: l.moved.Tree(l.answer), Callback: l.callback,
		Ask: func(d *claviger.Discovery, address string) (any, error) {
			moved, err := l.move(l.conn.Key, address)
			if err != nil {
				return nil, err
			}
			l.calls++
			return l.oauth.Ask(l.ctx, l.moved, moved, d.Scheme, l.tokens.Access, nil)
		},
	})
	if err != nil {
		return err
	}
	if want := l.vendor.Settings(l.m.Key); !maps.Equal(settings, want) {
		return fmt.Errorf("found %q, want %q", settings, want)
	}
	l.settings = settings
	return l.resolve()
}

func (l *life) credentials() claviger.Credentials {
	return claviger.Credentials{catalog.AccessToken: l.tokens.Access, catalog.ClientID: claviger.NewSecretString(l.client.ID)}
}

// obtain gets the first tokens.
func (l *life) obtain() error {
	var attempt oauth.Attempt
	switch l.m.OAuth.Grant {
	case claviger.GrantAuthorizationCode:
		code, err := l.consent()
		if err != nil {
			return fmt.Errorf("consent: %w", err)
		}
		attempt = l.oauth.Exchange(l.ctx, l.moved, l.client, code, nil)
	case claviger.GrantClientCredentials:
		attempt = l.oauth.ClientCredentials(l.ctx, l.moved, l.client, nil, nil)
	case claviger.GrantJWTBearer:
		attempt = l.oauth.JWTBearer(l.ctx, l.moved, l.client, oauth.Assertion{
			Issuer: l.client.ID, Subject: l.vendor.Values(l.m.Key)["subject"], Key: l.client.PrivateKey, KeyID: l.client.KeyID,
		}, nil, nil)
	case claviger.GrantInstallation:
		attempt = l.oauth.InstallationToken(l.ctx, l.moved, oauth.Assertion{Issuer: l.client.ID, Key: l.client.PrivateKey})
	default:
		return fmt.Errorf("the grant %s is not simulated", l.m.OAuth.Grant)
	}
	tokens, err := l.parse(attempt)
	if err != nil {
		return fmt.Errorf("first tokens: %w", err)
	}
	l.tokens, l.answer = tokens, attempt.Raw
	left := time.Until(tokens.ExpiresAt)
	switch {
	case left < 55*time.Minute || left > 65*time.Minute:
		return fmt.Errorf("the tokens expire in %s, want an hour", left)
	case tokens.Refresh.Empty() == l.vendor.Refreshes(l.m.Key):
		return fmt.Errorf("a refresh token: %v", !tokens.Refresh.Empty())
	case len(l.m.OAuth.Scopes) > 0 && !slices.Equal(slices.Sorted(slices.Values(tokens.Scopes)), slices.Sorted(slices.Values(l.m.OAuth.Scopes))):
		return fmt.Errorf("the scopes are %q, want %q", tokens.Scopes, l.m.OAuth.Scopes)
	}
	return nil
}

func (l *life) consent() (oauth.Code, error) {
	state, err := l.oauth.NewState()
	if err != nil {
		return oauth.Code{}, err
	}
	verifier, err := l.oauth.NewVerifier()
	if err != nil {
		return oauth.Code{}, err
	}
	address, err := oauth.AuthorizeURL(l.written, l.client, oauth.Authorization{State: state, Verifier: verifier, RedirectURI: redirect})
	if err != nil {
		return oauth.Code{}, err
	}
	query, err := l.vendor.Consent(l.m.Key, address)
	if err != nil {
		return oauth.Code{}, err
	}
	if l.callback, err = url.ParseQuery(query); err != nil {
		return oauth.Code{}, err
	}
	back, err := oauth.ParseCallback(l.written, state, http.MethodGet, query)
	if err != nil {
		return oauth.Code{}, err
	}
	return oauth.Code{Code: back.Code, Verifier: verifier, RedirectURI: redirect}, back.Err()
}

func (l *life) parse(a oauth.Attempt) (claviger.Tokens, error) {
	l.calls++
	if a.Outcome != oauth.Answered {
		return claviger.Tokens{}, fmt.Errorf("%s: %w", a.Outcome, a.Err)
	}
	tokens, err := oauth.Parse(l.moved, l.client, a.Raw)
	if err != nil {
		return tokens, fmt.Errorf("status %d: %w, %q", a.Raw.Status, err, l.vendor.Faults())
	}
	return tokens, nil
}

// renew gets tokens after the first ones expired, and checks that a rotated refresh
// token is dead in the vendor's own words.
func (l *life) renew() error {
	if !l.vendor.Refreshes(l.m.Key) {
		if err := l.obtain(); err != nil {
			return err
		}
		return errNone
	}
	old := l.tokens.Refresh
	tokens, err := l.parse(l.oauth.Refresh(l.ctx, l.moved, l.client, old, nil, nil))
	if err != nil {
		return err
	}
	if l.m.OAuth.Refresh.Rotates == tokens.Refresh.Empty() {
		return fmt.Errorf("rotates is %v, a new refresh token: %v", l.m.OAuth.Refresh.Rotates, !tokens.Refresh.Empty())
	}
	if tokens.Refresh.Empty() {
		tokens.Refresh = old // an answer without one keeps the old
	}
	l.tokens = tokens
	if !l.m.OAuth.Refresh.Rotates {
		return nil
	}
	again := l.oauth.Refresh(l.ctx, l.moved, l.client, old, nil, nil)
	l.calls++
	if again.Outcome != oauth.Answered {
		return fmt.Errorf("the old refresh token again: %s: %w", again.Outcome, again.Err)
	}
	if class := oauth.Classify(l.moved, again.Raw); !class.Dead() {
		return fmt.Errorf("the old refresh token counts as %s", class.Verdict)
	}
	return nil
}

// revoke ends the grant, and checks that nothing of it is live any more.
func (l *life) revoke() error {
	token, hint := l.tokens.Refresh, oauth.HintRefresh
	if token.Empty() || l.m.OAuth.Revoke.Token == "access" || l.m.OAuth.Revoke.TokenIn == "bearer" {
		token, hint = l.tokens.Access, oauth.HintAccess
	}
	done := l.oauth.Revoke(l.ctx, l.moved, l.client, token, hint)
	if l.m.OAuth.Endpoints.Revoke.Empty() {
		if done.Verdict != oauth.NotSupported {
			return fmt.Errorf("the verdict is %s although there is no way to revoke", done.Verdict)
		}
		return errNone
	}
	l.calls++
	if done.Verdict != oauth.Revoked {
		return fmt.Errorf("%s: %s, %q", done.Verdict, done.Reason, l.vendor.Faults())
	}
	if access, refresh := l.vendor.Live(l.m.Key); access != 0 || refresh != 0 {
		return fmt.Errorf("%d access and %d refresh tokens are live", access, refresh)
	}
	if err := l.refused(l.m, l.credentials()); err != nil {
		return errors.New("a revoked token is accepted")
	}
	return nil
}
