package simulate

import (
	"net/http"
	"regexp"
	"slices"
	"strings"

	"claviger"
	"claviger/internal/catalog"
)

// addresses answers the templates of a grant's addresses by what they are for.
func (g *grant) addresses(e *claviger.OAuthEndpoints) map[string]claviger.Template {
	out := map[string]claviger.Template{"authorize": e.Authorize, "token": e.Token, "refresh": e.Refresh, "revoke": e.Revoke}
	for _, d := range g.method.OAuth.Discover {
		if d.From == "request" { // several steps may read one answer
			out["discover"] = d.URL
		}
	}
	return out
}

// told answers what the vendor tells for a discovered variable: of a host, its address.
func (g *grant) told(conn *claviger.Connector, d *claviger.Discovery) string {
	value := g.settings[d.Variable]
	for i := range conn.Variables {
		if v := &conn.Variables[i]; v.Key == d.Variable && (v.Type == claviger.VariableHostname || v.Type == claviger.VariableEnum && strings.Contains(value, ".")) {
			return "https://" + value
		}
	}
	return value
}

// discoveryCall is the call of a method's discovery where the API itself answers it.
func (v *Vendor) discoveryCall(m *claviger.AuthMethod) *call {
	g := v.grants[m.Key]
	if g == nil || g.endpoints["discover"] == nil || g.endpoints["discover"].Hostname() != v.bases[m.Key].Hostname() {
		return nil
	}
	return &call{
		of: m, method: http.MethodGet, path: regexp.MustCompile("^" + regexp.QuoteMeta(g.endpoints["discover"].EscapedPath()) + "$"), success: http.StatusOK, early: true,
		put: func(tree any, _ http.Header) any { return g.putDiscovered(v.conn, tree) },
	}
}

// putDiscovered adds what the call of a discovery tells.
func (g *grant) putDiscovered(conn *claviger.Connector, tree any) any {
	for i := range g.method.OAuth.Discover {
		if d := &g.method.OAuth.Discover[i]; d.From == "request" {
			tree = place(tree, d.Path, g.told(conn, d))
		}
	}
	return tree
}

// serveDiscovery answers the call by which variables are discovered, if it carries a live
// token, and reports whether it did.
func (g *grant) serveDiscovery(w http.ResponseWriter, in *request, conn *claviger.Connector) bool {
	live := false
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.method.OAuth.Discover {
		d := &g.method.OAuth.Discover[i]
		if d.From != "request" {
			continue
		}
		token, ok := strings.CutPrefix(in.Header.Get("Authorization"), orElse(d.Scheme, "Bearer")+" ")
		live = ok && g.access[token]
	}
	if live {
		writeJSON(w, http.StatusOK, g.putDiscovered(conn, nil))
	}
	return live
}

// serveRevoke ends a token; the text says what was wrong with the request.
func (g *grant) serveRevoke(w http.ResponseWriter, in *request) string {
	r, rules := g.method.OAuth.Revoke, g.method.OAuth
	if !r.Authorization.Empty() {
		want, _ := r.Authorization.Render(func(name string) (string, bool) {
			return map[string]string{catalog.ClientID: g.client.ID, catalog.ClientSecret: g.client.Secret}[name], true
		}, nil)
		if in.Header.Get("Authorization") != want {
			return "the client is not proven in the vendor's own way"
		}
	} else if r.TokenIn != "bearer" {
		if why := g.clientWrong(in, claviger.ClientAuth(orElse(string(r.ClientAuth), string(rules.ClientAuth)))); why != "" {
			return why
		}
	}
	if why := g.paramsWrong(in); why != "" {
		return why
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.TokenIn == "none" {
		clear(g.access)
		clear(g.refresh)
		w.WriteHeader(http.StatusOK)
		return ""
	}
	token := g.revoked(in)
	access, isRefresh := g.refresh[token]
	switch {
	case !g.access[token] && !isRefresh:
		return "the token is not where the document puts it"
	case r.Token == "access" && isRefresh || r.Token == "refresh" && !isRefresh:
		return "the vendor does not end such a token"
	}
	delete(g.access, token)
	if isRefresh {
		delete(g.access, access)
		delete(g.refresh, token)
	}
	for _, refresh := range sorted(g.refresh) { // the grant ends as a whole
		if g.refresh[refresh] == token {
			delete(g.refresh, refresh)
		}
	}
	w.WriteHeader(http.StatusOK)
	return ""
}

// revoked answers the token that a request wants to end, from where the document puts it.
func (g *grant) revoked(in *request) string {
	r := g.method.OAuth.Revoke
	switch r.TokenIn {
	case "bearer":
		return strings.TrimPrefix(in.Header.Get("Authorization"), "Bearer ")
	case "header":
		return in.Header.Get(r.TokenHeader)
	case "path":
		return in.URL.Path[strings.LastIndexByte(in.URL.Path, '/')+1:]
	case "query":
		return in.URL.Query().Get(orElse(r.TokenParam, "token"))
	}
	if want := map[string]string{"json": "application/json"}[r.BodyFormat]; in.kind != orElse(want, "application/x-www-form-urlencoded") {
		return ""
	}
	return in.form.Get(orElse(r.TokenParam, "token"))
}

// paramsWrong checks the fixed parameters of the call that revokes.
func (g *grant) paramsWrong(in *request) string {
	given := in.form
	if g.method.OAuth.Revoke.TokenIn == "query" {
		given = in.URL.Query()
	}
	for name, value := range g.params {
		if name, ok := strings.CutPrefix(name, "revoke."); ok && !slices.Equal(given[name], []string{value}) {
			return "the parameter " + name + " is missing"
		}
	}
	return ""
}
