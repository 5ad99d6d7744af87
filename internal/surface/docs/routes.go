package docs

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the pages' templates and style
	"encoding/base64"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"strings"

	"claviger"
	"claviger/internal/catalog"
)

//go:embed assets/gallery.html
var templates string

//go:embed assets/gallery.css
var style string

// Prefix is the path of the gallery; each connector's page is below it.
const Prefix = "/docs/connectors"

// Catalog answers the connectors that everybody sees.
type Catalog interface {
	List(catalog.Filter) []*claviger.Connector
	Get(key string) (*claviger.Connector, bool)
}

// Config is what the surface is made of. All members are required.
type Config struct {
	Catalog   Catalog
	PublicURL string // under which redirect URIs are shown
	Log       *slog.Logger
}

type surface struct {
	catalog   Catalog
	publicURL string
	log       *slog.Logger
	set       *template.Template
	policy    string
}

// New answers the surface's handler, for [Prefix] and what is below it.
func New(c Config) (http.Handler, error) {
	if c.Catalog == nil || c.PublicURL == "" || c.Log == nil {
		return nil, errors.New("docs: a catalog, the public URL and a log are required")
	}
	s := &surface{catalog: c.Catalog, publicURL: strings.TrimSuffix(c.PublicURL, "/"), log: c.Log}
	digest := sha256.Sum256([]byte(style))
	s.policy = "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(digest[:]) +
		"'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	var err error
	s.set, err = template.New("gallery").Funcs(template.FuncMap{
		"prose": prose,
		"style": func() template.CSS { return template.CSS(style) }, //nolint:gosec // our own file, whose hash is in the policy
	}).Parse(templates)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Prefix, s.gallery)
	mux.HandleFunc("GET "+Prefix+"/{$}", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, Prefix, http.StatusMovedPermanently) })
	mux.HandleFunc("GET "+Prefix+"/{key}", s.connector)
	return mux, nil
}

// write answers a page, rendered whole first, so that a fault is never half a page.
func (s *surface) write(w http.ResponseWriter, status int, name string, data any) {
	var b bytes.Buffer
	if err := s.set.ExecuteTemplate(&b, name, data); err != nil {
		s.log.Error("a page could not be rendered", "page", name, "error", err)
		http.Error(w, "Something went wrong on our side.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Security-Policy", s.policy)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

// prose is a guide's text with its `code` marked. Everything is escaped; the only markup
// is what stands here.
func prose(text string) template.HTML {
	var b strings.Builder
	for i, part := range strings.Split(text, "`") {
		if i%2 == 1 {
			b.WriteString("<code>" + template.HTMLEscapeString(part) + "</code>")
			continue
		}
		b.WriteString(template.HTMLEscapeString(part))
	}
	return template.HTML(b.String()) //nolint:gosec // escaped above
}
