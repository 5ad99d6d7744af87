package simulate

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"claviger"
	"claviger/internal/catalog"
)

// grant plays the authorization server of one oauth2 method.
type grant struct {
	method    *claviger.AuthMethod
	endpoints map[string]*url.URL // by their words in the document
	params    map[string]string   // authorizeParams and tokenParams, "authorize." and "token." before the name
	refreshes bool                // issues refresh tokens
	client    Client
	settings  map[string]string // the vendor's, of all methods

	mu      sync.Mutex
	serial  int
	codes   map[string]code
	access  map[string]bool   // live access tokens
	refresh map[string]string // live refresh tokens, and the access token of each
}

// Client is the registration that a simulated authorization server knows.
type Client struct{ ID, Secret string }

// code is what an authorization code is bound to.
type code struct{ redirect, challenge string }

func (v *Vendor) newGrant(m *claviger.AuthMethod, index int) (*grant, error) {
	g := &grant{
		method: m, endpoints: map[string]*url.URL{}, params: map[string]string{}, codes: map[string]code{}, access: map[string]bool{}, refresh: map[string]string{},
		client: Client{ID: "client-" + m.Key, Secret: "secret of " + m.Key + ": 50% + 1"},
	}
	if id := v.values[m.Key][catalog.ClientID]; id != "" {
		g.client.ID = id + "-" + m.Key
		v.values[m.Key][catalog.ClientID] = g.client.ID
	}
	if _, ok := m.Field("serviceAccount"); ok {
		g.client.ID = m.Key + "@sample.example"
	}
	if secret := v.values[m.Key]["clientSecret"]; secret != "" {
		g.client.Secret = secret
	}
	lookup := func(name string) (string, bool) {
		if name == catalog.ClientID {
			return g.client.ID, true
		}
		value, ok := v.settings[name]
		return value, ok
	}
	g.settings = v.settings
	e := &m.OAuth.Endpoints
	for name, t := range g.addresses(e) {
		if t.Empty() {
			continue
		}
		text, err := t.Render(lookup, url.PathEscape)
		if err != nil {
			return nil, fmt.Errorf("simulate: %s of %s: %w", name, m.Key, err)
		}
		if g.endpoints[name], err = url.Parse(text); err != nil {
			return nil, fmt.Errorf("simulate: %s of %s is no address", name, m.Key)
		}
	}
	for prefix, params := range map[string][]claviger.OAuthParam{"authorize.": m.OAuth.AuthorizeParams, "token.": m.OAuth.TokenParams, "revoke.": m.OAuth.Revoke.Params} {
		for _, p := range params {
			text, err := p.Value.Render(lookup, nil)
			if err != nil {
				return nil, fmt.Errorf("simulate: parameter %s of %s: %w", p.Name, m.Key, err)
			}
			g.params[prefix+p.Name] = text
		}
	}
	var document struct {
		Auth []struct{ OAuth2 struct{ Refresh any } }
	}
	if err := json.Unmarshal(v.conn.Document, &document); err != nil {
		return nil, err
	}
	g.refreshes = document.Auth[index].OAuth2.Refresh != nil && document.Auth[index].OAuth2.Refresh != "none"
	return g, nil
}

// Client answers the client of an oauth2 method.
func (v *Vendor) Client(method string) Client { return v.grants[method].client }

// Refreshes reports whether an oauth2 method has refresh tokens at all.
func (v *Vendor) Refreshes(method string) bool { return v.grants[method].refreshes }

// ExpireAccess ends the access tokens of an oauth2 method; refresh tokens live on.
func (v *Vendor) ExpireAccess(method string) {
	g := v.grants[method]
	g.mu.Lock()
	defer g.mu.Unlock()
	clear(g.access)
}

// Live answers how many access and refresh tokens of an oauth2 method are live.
func (v *Vendor) Live(method string) (access, refresh int) {
	g := v.grants[method]
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.access), len(g.refresh)
}

// credentials answers what an API call may carry, once for each live token.
func (g *grant) credentials() []map[string]string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []map[string]string
	for token := range g.access {
		out = append(out, map[string]string{catalog.AccessToken: token, catalog.ClientID: g.client.ID})
	}
	return out
}

// Consent plays the person: it checks an authorization address and answers the query
// of the callback.
func (v *Vendor) Consent(method, address string) (string, error) {
	g := v.grants[method]
	u, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	rules, q, want := g.method.OAuth, u.Query(), g.endpoints["authorize"]
	if u.Host != want.Host || u.EscapedPath() != want.EscapedPath() {
		return "", fmt.Errorf("people are sent to %s%s, not to %s%s", u.Host, u.Path, want.Host, want.Path)
	}
	expect := map[string]string{"response_type": "code", orElse(rules.ClientIDParam, "client_id"): g.client.ID}
	if len(rules.Scopes) > 0 {
		expect[orElse(rules.ScopeParam, "scope")] = strings.Join(rules.Scopes, orElse(rules.ScopeSeparator, " "))
	}
	for name, value := range g.params {
		if name, ok := strings.CutPrefix(name, "authorize."); ok {
			expect[name] = value
		}
	}
	for _, name := range sorted(expect) {
		if got := q[name]; len(got) != 1 || got[0] != expect[name] {
			return "", fmt.Errorf("the parameter %s is %q, want %q", name, got, expect[name])
		}
	}
	challenge := q.Get("code_challenge")
	if on := rules.PKCE != claviger.PKCEOff; on != (challenge != "") || on && q.Get("code_challenge_method") != "S256" {
		return "", errors.New("the challenge is not what the document says")
	}
	if q.Get("state") == "" || q.Get("redirect_uri") == "" {
		return "", errors.New("no state or no redirect address")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.serial++
	value := fmt.Sprintf("code-%d", g.serial)
	g.codes[value] = code{q.Get("redirect_uri"), challenge}
	back := url.Values{"code": {value}, "state": {q.Get("state")}}
	for _, d := range rules.Discover {
		if d.From == "callback" {
			back.Set(d.Param, g.told(v.conn, &d))
		}
	}
	return back.Encode(), nil
}

// serveGrant answers a request to an authorization server, and reports whether it was
// one. Where methods share an address, the client tells them apart.
func (v *Vendor) serveGrant(w http.ResponseWriter, in *request) bool {
	found := false
	for _, key := range sorted(v.grants) {
		g := v.grants[key]
		role := g.role(in)
		if role == "" {
			continue
		}
		found = found || role != "discover"
		if role == "discover" {
			if in.host != v.bases[key].Hostname() && g.serveDiscovery(w, in, v.conn) {
				return true
			}
			continue
		}
		if role == "token" && !g.knows(in) || role == "revoke" && !g.names(in) {
			continue
		}
		var why string
		if role == "revoke" {
			why = g.serveRevoke(w, in)
		} else {
			why = g.serveToken(w, in, v)
		}
		if why != "" {
			v.fault("%s: %s: %s", key, role, why)
			writeJSON(w, http.StatusBadRequest, place(map[string]any{}, orElse(g.method.OAuth.TokenResponse.Error, "$.error"), "invalid_request"))
		}
		return true
	}
	if found {
		v.fault("%s: no such client or token", in.path)
		writeJSON(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
	}
	return found
}

// role answers which endpoint a request is for, "" for none.
func (g *grant) role(in *request) string {
	for _, name := range []string{"token", "refresh", "revoke", "discover"} {
		u := g.endpoints[name]
		if u == nil || u.Hostname() != in.host {
			continue
		}
		if name == "revoke" && in.Method != orElse(g.method.OAuth.Revoke.Method, http.MethodPost) {
			continue // Zendesk shows a token at the address where another method ends it
		}
		path := u.EscapedPath()
		if name == "discover" && in.Method != http.MethodGet {
			continue
		}
		if in.path == path || name == "revoke" && g.method.OAuth.Revoke.TokenIn == "path" && strings.HasPrefix(in.path, strings.TrimSuffix(path, "/")+"/") {
			if name == "refresh" {
				return "token"
			}
			return name
		}
	}
	return ""
}

// knows reports whether the request is of this method's client.
func (g *grant) knows(in *request) bool {
	if g.method.OAuth.Grant == claviger.GrantInstallation {
		return claims(strings.TrimPrefix(in.Header.Get("Authorization"), "Bearer "))["iss"] == g.client.ID
	}
	if assertion := in.form.Get("assertion"); assertion != "" {
		return g.method.OAuth.Grant == claviger.GrantJWTBearer && claims(assertion)["iss"] == g.client.ID
	}
	if id, _, ok := in.BasicAuth(); ok {
		id, err := url.QueryUnescape(id)
		return err == nil && id == g.client.ID
	}
	return in.form.Get(orElse(g.method.OAuth.ClientIDParam, "client_id")) == g.client.ID
}

// names reports whether the request names a live token of this method.
func (g *grant) names(in *request) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.method.OAuth.Revoke
	if r.TokenIn == "none" {
		return true // the parameters name the grant, which serveRevoke checks
	}
	text := in.URL.String() + " " + in.Header.Get("Authorization") + " " + in.Header.Get(r.TokenHeader) + " " + string(in.body)
	for _, token := range slices.Concat(sorted(g.access), sorted(g.refresh)) {
		if strings.Contains(text, token) {
			return true
		}
	}
	return false
}

// clientWrong checks the client's proof, in the one way that the document names.
func (g *grant) clientWrong(in *request, way claviger.ClientAuth) string {
	rules := g.method.OAuth
	secretParam := orElse(rules.ClientSecretParam, "client_secret")
	user, password, basic := in.BasicAuth()
	switch way {
	case claviger.ClientSecretBasic:
		id, errID := url.QueryUnescape(user)
		secret, errSecret := url.QueryUnescape(password)
		if !basic || errID != nil || errSecret != nil || id != g.client.ID || secret != g.client.Secret || in.form.Has(secretParam) {
			return "the client is not proven in the header, and there alone"
		}
	case claviger.ClientSecretPost:
		if basic || in.form.Get(orElse(rules.ClientIDParam, "client_id")) != g.client.ID || in.form.Get(secretParam) != g.client.Secret {
			return "the client is not proven in the body, and there alone"
		}
	case claviger.PrivateKeyJWT:
		if basic || strings.Count(in.form.Get("client_assertion"), ".") != 2 || in.form.Has(secretParam) {
			return "the client is not proven by an assertion"
		}
	case claviger.ClientAuthNone:
		if basic || in.form.Has(secretParam) {
			return "a secret is sent although the document says none"
		}
	}
	return ""
}

// serveToken answers a token request; the text says what was wrong with it.
func (g *grant) serveToken(w http.ResponseWriter, in *request, v *Vendor) string {
	rules := g.method.OAuth
	if rules.Grant == claviger.GrantInstallation {
		return g.serveInstallation(w, in, v)
	}
	if want := map[string]string{"json": "application/json"}[rules.TokenRequestFormat]; in.Method != http.MethodPost || in.kind != orElse(want, "application/x-www-form-urlencoded") {
		return fmt.Sprintf("%s of %q", in.Method, in.kind)
	}
	if why := g.clientWrong(in, rules.ClientAuth); why != "" {
		return why
	}
	for name, value := range g.params {
		if name, ok := strings.CutPrefix(name, "token."); ok && in.form.Get(name) != value {
			return "the parameter " + name + " is missing"
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch in.form.Get("grant_type") {
	case "authorization_code":
		bound, ok := g.codes[in.form.Get("code")]
		delete(g.codes, in.form.Get("code"))
		sum := sha256.Sum256([]byte(in.form.Get("code_verifier")))
		switch {
		case !ok || bound.redirect != in.form.Get("redirect_uri"):
			return "the code is not live, or of another redirect address"
		case bound.challenge == "" && in.form.Has("code_verifier"), bound.challenge != "" && bound.challenge != base64.RawURLEncoding.EncodeToString(sum[:]):
			return "the verifier does not fit"
		}
	case "refresh_token":
		old := in.form.Get("refresh_token")
		access, live := g.refresh[old]
		if !live {
			g.refuseGrant(w)
			return ""
		}
		delete(g.access, access)
		if rules.Refresh.Rotates {
			delete(g.refresh, old)
		} else {
			g.issue(w, v, old)
			return ""
		}
	case orElse(rules.ClientCredentialsGrant, "client_credentials"):
		if rules.Grant != claviger.GrantClientCredentials {
			return "client credentials are not this method's grant"
		}
	case "urn:ietf:params:oauth:grant-type:jwt-bearer":
		if why := g.assertionWrong(in.form.Get("assertion")); why != "" {
			return why
		}
	default:
		return "the grant is " + in.form.Get("grant_type")
	}
	g.issue(w, v, "")
	return ""
}

// refuseGrant says invalid_grant, in a vendor's own word where it has one.
func (g *grant) refuseGrant(w http.ResponseWriter) {
	r, word := g.method.OAuth.TokenResponse, "invalid_grant"
	for _, own := range sorted(r.Errors) {
		if r.Errors[own] == "invalid_grant" {
			word = own
			break
		}
	}
	tree := place(map[string]any{}, orElse(r.Error, "$.error"), word)
	status := http.StatusBadRequest
	if r.OK != "" { // such vendors answer 200 to everything
		tree, status = place(tree, r.OK, false), http.StatusOK
	}
	writeJSON(w, status, tree)
}

// issue answers new tokens where the document reads them. kept is a refresh token
// that stays. The caller holds mu.
func (g *grant) issue(w http.ResponseWriter, v *Vendor, kept string) {
	now := v.now()
	rules, r := g.method.OAuth, g.method.OAuth.TokenResponse
	g.serial++
	access := fmt.Sprintf("access-%s-%d", g.method.Key, g.serial)
	g.access[access] = true
	tree := place(map[string]any{}, orElse(r.AccessToken, "$.access_token"), access)
	kind := "Bearer"
	if rules.DPoP {
		kind = "DPoP"
	}
	tree = place(tree, orElse(r.TokenType, "$.token_type"), kind)
	if r.ExpiresAt != "" {
		tree = place(tree, r.ExpiresAt, now.Add(time.Hour).UTC().Format(time.RFC3339))
	} else {
		lifetime := 3600
		if r.ExpiresInUnit == "ms" {
			lifetime *= 1000
		}
		tree = place(tree, orElse(r.ExpiresIn, "$.expires_in"), lifetime)
	}
	if g.refreshes {
		if kept == "" {
			kept = fmt.Sprintf("refresh-%s-%d", g.method.Key, g.serial)
			tree = place(tree, orElse(r.RefreshToken, "$.refresh_token"), kept)
		}
		g.refresh[kept] = access
	}
	if len(rules.Scopes) > 0 {
		tree = place(tree, orElse(r.Scope, "$.scope"), strings.Join(rules.Scopes, orElse(r.ScopeSeparator, orElse(rules.ScopeSeparator, " "))))
	}
	tree = place(tree, r.OK, true)
	for i := range rules.Discover {
		if d := &rules.Discover[i]; d.From == "token" {
			tree = place(tree, d.Path, g.told(v.conn, d))
		}
	}
	if r.Format == "form" {
		form := url.Values{}
		members, _ := tree.(map[string]any)
		for name, value := range members {
			form.Set(name, fmt.Sprint(value))
		}
		w.Header().Set("Content-Type", "application/x-www-form-urlencoded")
		_, _ = w.Write([]byte(form.Encode()))
		return
	}
	writeJSON(w, http.StatusOK, tree)
}

func orElse(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

// Hosts answers the host names that the vendor answers for, sorted.
func (v *Vendor) Hosts() []string {
	var out []string
	for _, base := range v.bases {
		out = append(out, base.Hostname())
	}
	for _, g := range v.grants {
		for _, u := range g.endpoints {
			out = append(out, u.Hostname())
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
