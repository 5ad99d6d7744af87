package vendor

import (
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// object is a JSON object.
type object = map[string]any

// profile is what one vendor insists on and answers.
type profile struct {
	key          string
	hosts        []string
	credentials  map[string]map[string]string // accepted, by auth method and field
	settings     map[string]string
	scopes       []string
	authentic    func(r *http.Request) bool
	unauthorized object // the documented body of a 401
	check        func(c *call) (status int, body object)
	routes       map[string]route // by "METHOD /path", {} for one segment
}

// route is one endpoint.
type route struct {
	scope   []string // any of them; none if empty
	format  string   // media type of the body; "" for none
	require []string // members of the body, or query parameters where there is no body
	answer  func(c *call) (status int, header http.Header, body any)
}

// call is one request on its way through a profile.
type call struct {
	r       *http.Request
	body    []byte
	scopes  []string
	revoked bool
	json    object
	form    url.Values
}

// Keys answers the connectors that are simulated here.
func Keys() []string {
	var out []string
	for _, p := range profiles() {
		out = append(out, p.key)
	}
	return out
}

// Credentials answers the values that a vendor accepts, by field, for one of its
// auth methods; nil if there is no such method.
func Credentials(vendor, method string) map[string]string {
	for _, p := range profiles() {
		if p.key == vendor {
			return p.credentials[method]
		}
	}
	return nil
}

// Settings answers the values of a vendor's variables under which it is simulated.
func Settings(vendor string) map[string]string {
	for _, p := range profiles() {
		if p.key == vendor {
			return p.settings
		}
	}
	return nil
}

func (p *profile) serve(w http.ResponseWriter, c *call) {
	if c.revoked || !p.authentic(c.r) {
		reply(w, http.StatusUnauthorized, p.unauthorized)
		return
	}
	if p.check != nil {
		if status, body := p.check(c); status != 0 {
			reply(w, status, body)
			return
		}
	}
	found, ok := p.route(c.r)
	if !ok {
		reply(w, http.StatusNotFound, object{"message": "Not Found"})
		return
	}
	if why := found.wrong(c); why != "" {
		reply(w, http.StatusBadRequest, object{"message": why})
		return
	}
	if len(found.scope) > 0 && !slices.ContainsFunc(found.scope, func(s string) bool { return slices.Contains(c.scopes, s) }) {
		reply(w, http.StatusForbidden, object{"message": "access forbidden", "needed": found.scope})
		return
	}
	status, header, body := found.answer(c)
	for name, values := range header {
		w.Header()[http.CanonicalHeaderKey(name)] = values
	}
	reply(w, status, body)
}

func (p *profile) route(r *http.Request) (route, bool) {
	for pattern, found := range p.routes {
		method, path, _ := strings.Cut(pattern, " ")
		if method == r.Method && samePath(path, r.URL.EscapedPath()) {
			return found, true
		}
	}
	return route{}, false
}

func samePath(pattern, path string) bool {
	a, b := strings.Split(pattern, "/"), strings.Split(path, "/")
	return slices.EqualFunc(a, b, func(x, y string) bool { return x == y || x == "{}" && y != "" })
}

// wrong answers what is wrong with a request, or "".
func (rt route) wrong(c *call) string {
	var has func(name string) bool
	kind, _, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	switch rt.format {
	case "":
		if len(c.body) > 0 {
			return "unexpected body"
		}
		has = func(name string) bool { return c.r.URL.Query().Has(name) }
	case "form":
		form, err := url.ParseQuery(string(c.body))
		if kind != "application/x-www-form-urlencoded" || err != nil {
			return "the body must be a form"
		}
		c.form, has = form, form.Has
	default:
		if kind != "application/json" || json.Unmarshal(c.body, &c.json) != nil {
			return "the body must be a JSON object"
		}
		has = func(name string) bool { _, ok := c.json[name]; return ok }
	}
	for _, name := range rt.require {
		if !has(name) {
			return "missing " + name
		}
	}
	return ""
}

func reply(w http.ResponseWriter, status int, body any) {
	if body == nil {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// just answers a fixed body.
func just(status int, body any) func(*call) (int, http.Header, any) {
	return func(*call) (int, http.Header, any) { return status, nil, body }
}

// exact reports whether a header is there once, with just this value.
func exact(r *http.Request, name, value string) bool {
	v := r.Header.Values(name)
	return len(v) == 1 && v[0] == value
}

// basic reports whether the request authenticates with one user and password.
func basic(r *http.Request, user, password string) bool {
	u, p, ok := r.BasicAuth()
	return ok && u == user && p == password && len(r.Header.Values("Authorization")) == 1
}
