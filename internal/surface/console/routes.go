package console

import (
	"embed"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strings"
	"time"

	"claviger"
	"claviger/internal/authn"
	"claviger/internal/broker"
	"claviger/internal/surface/pagekit"
)

//go:embed assets/console.css assets/console.js assets/passkey.js
var assets embed.FS

//go:embed assets/*.html
var templates embed.FS

// The addresses that are made elsewhere.
const (
	SetupPath  = "/console/setup/" // and the token of a link
	signInPath = "/console/sign-in"
	// accountPath is a person's own page.
	accountPath = "/console/account"
)

// Config is what the surface is made of. All members are required.
type Config struct {
	Broker    *broker.Broker
	Tokens    *authn.Authority
	PublicURL string // decides how the cookie is named and guarded
	Now       func() time.Time
	Log       *slog.Logger
}

// surface holds what the handlers need.
type surface struct {
	core    *broker.Broker
	people  *authn.Authority
	issuer  string // what an authenticator app calls this server
	origin  string // where people see it
	cookies pagekit.Cookies
	plain   bool // http, and not on the loopback: nobody can sign in safely
	now     func() time.Time
	log     *slog.Logger
	pages   *template.Template
}

// Prefixes are the parts of the path space that the surface owns.
func Prefixes() []string { return []string{"/console", "/console/", "/console-assets/"} }

// New answers the surface's handler, for all of [Prefixes].
func New(c Config) (http.Handler, error) {
	if c.Broker == nil || c.Tokens == nil || c.PublicURL == "" || c.Now == nil || c.Log == nil {
		return nil, errors.New("console: a broker, authentication, the public URL, a clock and a log are required")
	}
	set, err := template.New("console").Funcs(functions()).Parse(pagekit.Parts)
	if err == nil {
		set, err = set.ParseFS(templates, "assets/*.html")
	}
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(c.PublicURL)
	if err != nil {
		return nil, err
	}
	s := &surface{
		core: c.Broker, people: c.Tokens, issuer: "claviger " + u.Host, origin: c.PublicURL, cookies: pagekit.Cookies{Secure: u.Scheme == "https"},
		plain: u.Scheme != "https" && !loopback(u.Hostname()), now: c.Now, log: c.Log, pages: set,
	}
	mux := http.NewServeMux()
	s.open(mux)
	s.closed(mux)
	mux.HandleFunc("GET /console-assets/{file}", s.asset)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { s.refuse(w, r, claviger.NotFound("page")) })
	return pagekit.Defend(pagekit.Alone(mux, s.refuse)), nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && a.IsLoopback()
}

// open mounts what a person reaches who is signed in nowhere.
func (s *surface) open(mux *http.ServeMux) {
	mux.HandleFunc("GET "+signInPath, s.signInPage)
	mux.HandleFunc("POST "+signInPath, s.signIn)
	mux.HandleFunc("GET "+signInPath+"/code", s.codePage)
	mux.HandleFunc("POST "+signInPath+"/code", s.code)
	mux.HandleFunc("POST "+signInPath+"/passkey/begin", s.beginPasskey)
	mux.HandleFunc("POST "+signInPath+"/passkey", s.passkeySignIn)
	mux.HandleFunc("POST "+broker.SignOnPath+"{organization}", s.beginSignOn)
	mux.HandleFunc("GET "+broker.SignOnPath+"{organization}/callback", s.signOnBack)
	mux.HandleFunc("GET "+SetupPath+"{token}", s.setupPage)
	mux.HandleFunc("POST "+SetupPath+"{token}", s.setup)
	mux.HandleFunc("POST "+SetupPath+"{token}/passkey/begin", s.beginSetUpPasskey)
	mux.HandleFunc("POST "+SetupPath+"{token}/passkey", s.setUpPasskey)
}

// closed mounts what needs a session.
func (s *surface) closed(mux *http.ServeMux) {
	page := func(pattern string, h handler) { mux.Handle(pattern, s.seated(h)) }
	page("GET /console", s.home)
	page("GET /console/{$}", s.home)
	page("POST /console/sign-out", s.signOut)
	page("GET /console/systems", s.systems)
	page("GET /console/systems/{key}", s.system)
	page("POST /console/systems/{key}/slots/{slot}", s.give)
	page("POST /console/systems/{key}/slots/{slot}/test", s.testSlot)
	page("GET /console/connections", s.connections)
	page("GET /console/connections/{id}", s.connection)
	page("POST /console/connections/{id}/test", s.testConnection)
	page("POST /console/connections/{id}/disable", s.disable)
	page("POST /console/connections/{id}/enable", s.enable)
	page("POST /console/connections/{id}/connect", s.connect)
	page("GET "+broker.ConnectedPath+"{id}", s.connectedPage)
	page("POST "+broker.ConnectedPath+"{id}", s.connected)
	page("GET "+auditPath, s.audit)
	page("GET "+auditPath+"/export", s.exportAudit)
	page("GET /console/cli", s.cliPage)
	page("POST /console/cli", s.decideCLI)
	page("GET /console/cli/authorize", s.authorizeCLI)
	page("POST /console/cli/authorize", s.grantCLI)
	page("GET "+accountPath, s.account)
	page("POST /console/account/password", s.changePassword)
	page("GET /console/account/factor", s.factorPage)
	page("POST /console/account/factor", s.addFactor)
	page("POST /console/account/factor/drop", s.dropFactor)
	page("POST /console/account/sessions/{id}/end", s.endSession)
	page("POST /console/account/passkeys/begin", s.beginAddPasskey)
	page("POST /console/account/passkeys", s.addPasskey)
	page("POST /console/account/passkeys/{id}/remove", s.removePasskey)
	page("POST /console/account/sso", s.linkSignOn)
	page("POST /console/account/sso/unlink", s.unlinkSignOn)
}

// refuse answers the page of an error to somebody unknown.
func (s *surface) refuse(w http.ResponseWriter, r *http.Request, err error) {
	s.tell(w, r, frame{Brand: pagekit.BrandOf(claviger.Branding{})}, err)
}

// asset answers the style and the script, the same for everybody.
func (s *surface) asset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	body, err := assets.ReadFile("assets/" + name)
	if err != nil {
		s.refuse(w, r, claviger.NotFound("page"))
		return
	}
	kinds := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
	pagekit.Give(w, kinds[path.Ext(name)], body)
}
