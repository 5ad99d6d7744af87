package simulate

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"claviger"
)

// NextPage is the position of the next page in answers that have one.
const NextPage = "page-2"

// Scope is the one scope of a credential whose document names none.
const Scope = "sample.read"

// The account behind every credential.
const (
	AccountID   = "account-1"
	AccountName = "Sample Account"
)

// call is one endpoint of the API, as one part of the document uses it.
type call struct {
	of      *claviger.AuthMethod // that it is made with
	method  string
	path    *regexp.Regexp
	query   []claviger.QueryParam
	body    bool
	form    bool
	success int
	early   bool                                   // made before the variables that headers name are known
	put     func(tree any, header http.Header) any // adds what this part reads
}

// listCalls gathers the tests, permission checks and actions of the document.
func (v *Vendor) listCalls() []*call {
	var out []*call
	for i := range v.conn.Auth {
		m := &v.conn.Auth[i]
		if m.Test != nil {
			out = append(out, v.probeCall(m, m.Test))
		}
		if p := m.Permissions; p != nil && p.Request != nil {
			out = append(out, v.probeCall(m, p.Request))
		}
		if c := v.discoveryCall(m); c != nil {
			out = append(out, c)
		}
		for j := range v.conn.Actions {
			a := &v.conn.Actions[j]
			out = append(out, &call{
				of: m, method: a.Method, path: v.pathPattern(m, a.Path), query: a.Query, body: a.Body != nil, form: a.BodyFormat == "form", success: http.StatusOK,
				put: func(tree any, header http.Header) any { return v.putPage(a, tree, header) },
			})
		}
	}
	return out
}

func (v *Vendor) probeCall(m *claviger.AuthMethod, p *claviger.Probe) *call {
	return &call{
		of: m, method: p.Method, path: v.pathPattern(m, p.Path), query: p.Query, body: p.Body != nil, success: p.ExpectStatus[0],
		put: func(tree any, header http.Header) any {
			tree = place(tree, p.AccountName, AccountName)
			tree = place(tree, p.AccountID, AccountID)
			if t := p.ExpectBody; t != nil {
				switch {
				case t.NotNull:
					if p.AccountID != t.Path && p.AccountName != t.Path {
						tree = place(tree, t.Path, map[string]any{"present": true})
					}
				case t.Equals != nil:
					tree = place(tree, t.Path, t.Equals)
				}
			}
			return v.putScopes(m.Permissions, p, tree, header)
		},
	}
}

// putScopes tells the granted scopes where the document reads them.
func (v *Vendor) putScopes(p *claviger.PermissionProbe, probe *claviger.Probe, tree any, header http.Header) any {
	if p == nil || p.From == "token" || (p.From == "request") != (p.Request == probe) {
		return tree
	}
	scopes := Granted(p)
	if p.Name != "" {
		header.Set(p.Name, strings.Join(scopes, p.Separator))
		return tree
	}
	if p.Separator != "" {
		return place(tree, p.Path, strings.Join(scopes, p.Separator))
	}
	if strings.Contains(p.Path, "[*]") { // one entry for each
		return place(tree, p.Path, scopes[0])
	}
	list := make([]any, len(scopes))
	for i, s := range scopes {
		list[i] = s
	}
	return place(tree, p.Path, list)
}

// Granted answers the scopes that a simulated credential has: all that the document
// asks for, or [Scope].
func Granted(p *claviger.PermissionProbe) []string {
	var out []string
	add := func(entries []string) {
		for _, entry := range entries {
			first, _, _ := strings.Cut(entry, "|")
			if !slices.Contains(out, first) {
				out = append(out, first)
			}
		}
	}
	add(p.Required)
	for _, action := range sorted(p.ForActions) {
		add(p.ForActions[action])
	}
	if out == nil {
		out = []string{Scope}
	}
	return out
}

func (v *Vendor) putPage(a *claviger.Action, tree any, header http.Header) any {
	if a.Pagination == nil {
		return tree
	}
	if a.Pagination.Type == "link" {
		header.Set("Link", fmt.Sprintf(`<https://api.example/next?%s=%s>; rel="next"`, a.Pagination.Param, NextPage))
	}
	return place(tree, a.Pagination.Next, NextPage)
}

// pathPattern matches the paths that a template makes: the connection's settings
// where it names variables, one segment's text where it names inputs.
func (v *Vendor) pathPattern(m *claviger.AuthMethod, t claviger.Template) *regexp.Regexp {
	const mark = "\x00"
	text, _ := t.Render(func(name string) (string, bool) {
		if value, ok := v.settings[name]; ok {
			return value, true
		}
		return mark, true
	}, nil)
	prefix := v.bases[m.Key].EscapedPath()
	if text == "/" && prefix != "" {
		text = ""
	}
	pattern := regexp.QuoteMeta(prefix + text)
	return regexp.MustCompile("^" + strings.ReplaceAll(pattern, mark, "[^/]+") + "$")
}

// answer finds the call and answers everything that the document reads there with a
// credential of the method.
func (v *Vendor) answer(w http.ResponseWriter, in *request, m *claviger.AuthMethod) {
	status, tree, known, early := http.StatusOK, any(nil), false, false
	for _, c := range v.calls {
		if c.of != m || c.method != in.Method || !c.path.MatchString(in.path) || !v.fits(c, in) {
			continue
		}
		if !known {
			status, known = c.success, true
		}
		tree, early = c.put(tree, w.Header()), early || c.early
	}
	if !known && in.Method == http.MethodGet && strings.TrimSuffix(in.path, "/") == strings.TrimSuffix(v.bases[m.Key].EscapedPath(), "/") {
		http.NotFound(w, in.Request) // a bare call to the base, where there is no test
		return
	}
	if !known {
		v.fault("%s %s is no call of the document", in.Method, in.path)
		http.NotFound(w, in.Request)
		return
	}
	if why := v.headersWrong(in); why != "" && !early {
		v.fault("%s", why)
		writeJSON(w, http.StatusBadRequest, map[string]any{"message": why})
		return
	}
	if tree == nil {
		tree = map[string]any{"ok": true}
	}
	writeJSON(w, status, tree)
}

// fits reports whether a request has what a call of this path needs: fixed parameters
// and a body of the right kind.
func (v *Vendor) fits(c *call, in *request) bool {
	if c.body != (len(in.body) > 0) {
		return false
	}
	if want := map[bool]string{false: "application/json", true: "application/x-www-form-urlencoded"}[c.form]; c.body && in.kind != want {
		return false
	}
	query := in.URL.Query()
	for _, q := range c.query {
		if len(q.Value.Names()) == 0 && query.Get(q.Name) != q.Value.String() {
			return false
		}
	}
	return true
}

// headersWrong checks the headers that go with every call.
func (v *Vendor) headersWrong(in *request) string {
	for _, h := range v.conn.Headers {
		missing := false
		want, _ := h.Value.Render(func(name string) (string, bool) {
			value, ok := v.settings[name]
			missing = missing || !ok
			return value, true
		}, nil)
		if got := in.Header.Values(h.Name); !missing && (len(got) != 1 || got[0] != want) && !v.overridden(h.Name) {
			return fmt.Sprintf("the header %s is %q, want %q", h.Name, got, want)
		}
	}
	return ""
}

// overridden reports whether a call sets a header of its own in place of the
// connector's.
func (v *Vendor) overridden(name string) bool {
	same := func(h claviger.Header) bool { return strings.EqualFold(h.Name, name) }
	for i := range v.conn.Auth {
		if t := v.conn.Auth[i].Test; t != nil && slices.ContainsFunc(t.Headers, same) {
			return true
		}
	}
	return slices.ContainsFunc(v.conn.Actions, func(a claviger.Action) bool { return slices.ContainsFunc(a.Headers, same) })
}
