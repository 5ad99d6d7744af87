package connect

import (
	"context"
	"embed"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"strings"

	"claviger"
	"claviger/internal/broker"
	"claviger/internal/surface/pagekit"
	"claviger/internal/wire"
)

//go:embed assets/page.css assets/page.js assets/icon.svg
var assets embed.FS

// Sessions finds the caller behind the token of a connect page.
type Sessions interface {
	AuthenticateConnect(ctx context.Context, token string, from claviger.Request) (claviger.Caller, error)
}

// Config is what the surface is made of. All members are required.
type Config struct {
	Broker    *broker.Broker
	Sessions  Sessions
	PublicURL string // decides how the cookie is named and guarded
	Log       *slog.Logger
}

// surface holds what the handlers need.
type surface struct {
	core     *broker.Broker
	sessions Sessions
	cookies  pagekit.Cookies
	log      *slog.Logger
	pages    *template.Template
}

// Prefixes are the parts of the path space that the surface owns.
func Prefixes() []string { return []string{"/connect/", "/connect-assets/", "/oauth/"} }

// New answers the surface's handler, for all of [Prefixes].
func New(c Config) (http.Handler, error) {
	if c.Broker == nil || c.Sessions == nil || c.PublicURL == "" || c.Log == nil {
		return nil, errors.New("connect: a broker, sessions, the public URL and a log are required")
	}
	p, err := template.New("pages").Parse(templates + deviceTemplate + pagekit.Parts)
	if err != nil {
		return nil, err
	}
	s := &surface{core: c.Broker, sessions: c.Sessions, cookies: pagekit.Cookies{Secure: strings.HasPrefix(c.PublicURL, "https://")}, log: c.Log, pages: p}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /connect/{token}", s.session)
	mux.HandleFunc("GET /connect/{token}/{connector}/{method}", s.form)
	mux.HandleFunc("POST /connect/{token}/{connector}/{method}", s.submit)
	mux.HandleFunc("POST /connect/{token}/{connector}/{method}/check", s.check)
	mux.HandleFunc("GET /connect/{token}/go/{flow}/{$}", s.depart)
	mux.HandleFunc("GET /oauth/start/{flow}", s.start)
	mux.HandleFunc("GET /oauth/start/{flow}/over", s.over)
	mux.HandleFunc("/oauth/callback/{organization}/{connector}", s.callback)
	mux.HandleFunc("GET /connect-assets/{file}", s.asset)
	mux.HandleFunc("GET /connect-assets/accent/{color}", s.accent)
	mux.HandleFunc("GET /connect-assets/logo/{organization}", s.logo)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { s.refuse(w, r, claviger.NotFound("page")) })
	return pagekit.Defend(pagekit.Alone(mux, s.refuse)), nil
}

// refuse is fail for requests that belong to no organization.
func (s *surface) refuse(w http.ResponseWriter, r *http.Request, err error) {
	s.fail(w, r, claviger.Branding{}, err)
}

// asset answers the style, the script and the icon, the same for everybody.
func (s *surface) asset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	body, err := assets.ReadFile("assets/" + name)
	if err != nil {
		s.refuse(w, r, claviger.NotFound("page"))
		return
	}
	kinds := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	pagekit.Give(w, kinds[path.Ext(name)], body)
}

// accent answers the style sheet of a colour.
func (s *surface) accent(w http.ResponseWriter, r *http.Request) {
	sheet, ok := pagekit.Accent(r.PathValue("color"))
	if !ok {
		s.refuse(w, r, claviger.NotFound("page"))
		return
	}
	pagekit.Give(w, "text/css; charset=utf-8", []byte(sheet))
}

// logo answers an organization's logo.
func (s *surface) logo(w http.ResponseWriter, r *http.Request) {
	body, err := s.core.Logo(r.Context(), claviger.OrganizationID(r.PathValue("organization")))
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	pagekit.Give(w, "image/png", body)
}

// start binds the flow to this browser and sends it to the vendor.
func (s *surface) start(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet || strings.Contains(r.Header.Get("Sec-Purpose"), "prefetch") {
		w.WriteHeader(http.StatusServiceUnavailable) // a look ahead is no departure
		return
	}
	d, err := s.core.StartFlow(r.Context(), claviger.FlowID(r.PathValue("flow")), s.cookie(r), wire.From(r))
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	if d.Pairing != nil {
		s.pairing(w, r, d)
		return
	}
	s.setCookie(w, d.Cookie)
	w.Header().Set("Location", d.Location)
	w.WriteHeader(http.StatusSeeOther)
}

// callback takes what a vendor sent the browser back with.
func (s *surface) callback(w http.ResponseWriter, r *http.Request) {
	a, err := s.core.Callback(r.Context(), broker.Return{
		Organization: claviger.OrganizationID(r.PathValue("organization")), Connector: r.PathValue("connector"),
		Method: r.Method, RawQuery: r.URL.RawQuery, Cookie: s.cookie(r), From: wire.From(r),
	})
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	s.arrive(w, r, a)
}

// arrive ends a person's part: the browser carries the finish code to the application,
// or shows it.
func (s *surface) arrive(w http.ResponseWriter, r *http.Request, a broker.Arrival) {
	switch {
	case a.Failure != nil:
		s.failed(w, r, a)
	case a.Flow.Delivery == claviger.DeliverRedirect && r.Method == http.MethodGet:
		w.Header().Set("Location", a.ReturnTo)
		w.WriteHeader(http.StatusSeeOther)
	default:
		if a.Flow.Delivery == claviger.DeliverRedirect {
			// After a form the way on is no redirect, which the policy for forms would
			// hold back, but a navigation of the page.
			w.Header().Set("Refresh", "0; url="+a.ReturnTo)
		}
		pagekit.Write(w, s.log, s.pages, http.StatusOK, "done", arrived(s.core.Brand(r.Context(), a.Flow.Organization), a))
	}
}

const cookieLife = 3600 // seconds

// cookie answers the browser's value.
func (s *surface) cookie(r *http.Request) string {
	return s.cookies.Get(r, pagekit.BrowserCookie)
}

func (s *surface) setCookie(w http.ResponseWriter, value string) {
	s.cookies.Set(w, pagekit.BrowserCookie, value, cookieLife)
}

// pagePath answers the path of a session's page and of what is below it.
func pagePath(token string, below ...string) string {
	path := "/connect/" + url.PathEscape(token)
	for _, part := range below {
		path += "/" + url.PathEscape(part)
	}
	return path
}
