package docs

import (
	"cmp"
	"encoding/json"
	"hash/fnv"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"claviger"
	"claviger/internal/catalog"
	"claviger/internal/catalog/guide"
)

// gallery is the page that lists connectors.
type gallery struct {
	Query, Category, Auth string
	Filtered              bool
	Categories, Auths     []option
	Cards                 []card
	Total                 int
}

// option is a value that can be filtered by.
type option struct {
	Value, Label string
	Count        int
	Chosen       bool
}

// card is a connector in the list.
type card struct {
	Key, Name, Description string
	Categories, Auths      []string
	Actions                int
	Logo                   logo
}

// logo stands for a vendor's own: its initials on one of a few colours.
type logo struct {
	Initials string
	Tone     uint32
}

// tones is how many colours the style has.
const tones = 8

func logoOf(conn *claviger.Connector) logo {
	h := fnv.New32a()
	_, _ = h.Write([]byte(conn.Key))
	return logo{guide.Initials(conn.Name), h.Sum32() % tones}
}

// maxQuery bounds a search; what is longer finds nothing that exists.
const maxQuery = 100

func (s *surface) gallery(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	g := gallery{Query: strings.TrimSpace(q.Get("q")), Category: q.Get("category"), Auth: q.Get("auth")}
	if len(g.Query) > maxQuery {
		g.Query = strings.ToValidUTF8(g.Query[:maxQuery], "")
	}
	if !utf8.ValidString(g.Query + g.Category + g.Auth) {
		g.Query, g.Category, g.Auth = "", "", ""
	}
	g.Filtered = g.Query+g.Category+g.Auth != ""
	categories, auths := map[string]int{}, map[string]int{}
	all := s.catalog.List(catalog.Filter{})
	slices.SortStableFunc(all, func(a, b *claviger.Connector) int {
		return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
	})
	filter := catalog.Filter{Search: g.Query, Category: g.Category}
	for _, conn := range all {
		types := authTypes(conn)
		for _, c := range conn.Categories {
			categories[c]++
		}
		for _, t := range types {
			auths[t]++
		}
		if filter.Matches(conn) && (g.Auth == "" || slices.Contains(types, g.Auth)) {
			g.Cards = append(g.Cards, cardOf(conn, types))
		}
	}
	g.Total = len(all)
	g.Categories, g.Auths = options(categories, g.Category), options(auths, g.Auth)
	for i := range g.Auths {
		g.Auths[i].Label = authLabel(g.Auths[i].Value)
	}
	s.write(w, http.StatusOK, "gallery", g)
}

func cardOf(conn *claviger.Connector, types []string) card {
	c := card{Key: conn.Key, Name: conn.Name, Categories: conn.Categories, Actions: len(conn.Actions), Logo: logoOf(conn)}
	for _, t := range types {
		c.Auths = append(c.Auths, authLabel(t))
	}
	var words struct{ Description string }
	if json.Unmarshal(conn.Document, &words) == nil {
		c.Description = words.Description
	}
	return c
}

// authTypes answers the types of a connector's methods, each once.
func authTypes(conn *claviger.Connector) []string {
	var out []string
	for i := range conn.Auth {
		if t := string(conn.Auth[i].Type); !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}

// authLabel is what people call an auth type.
func authLabel(t string) string {
	labels := map[string]string{"oauth2": "OAuth 2.0", "apiKey": "API key", "basic": "Basic", "bearer": "Bearer token", "custom": "Custom", "none": "None"}
	return cmp.Or(labels[t], t)
}

func options(counts map[string]int, chosen string) []option {
	out := make([]option, 0, len(counts))
	for value, n := range counts {
		out = append(out, option{Value: value, Label: strings.ReplaceAll(value, "-", " "), Count: n, Chosen: value == chosen})
	}
	slices.SortFunc(out, func(a, b option) int { return strings.Compare(a.Value, b.Value) })
	return out
}

// page is the page of one connector.
type page struct {
	guide.Page
	Logo      logo
	Auths     []string
	PublicURL string
}

// AuthLabel is what people call a method's type.
func (page) AuthLabel(t string) string { return authLabel(t) }

// Needs answers the settings that a connection by a method cannot do without.
func (p page) Needs(method string) []string {
	var out []string
	for _, s := range p.Settings {
		if s.Required && (len(s.Methods) == 0 || slices.Contains(s.Methods, method)) {
			out = append(out, s.Key)
		}
	}
	return out
}

func (s *surface) connector(w http.ResponseWriter, r *http.Request) {
	conn, ok := s.catalog.Get(r.PathValue("key"))
	if !ok {
		s.write(w, http.StatusNotFound, "absent", nil)
		return
	}
	p, err := guide.Of(conn)
	if err != nil {
		s.log.Error("a connector cannot be described", "connector", conn.Key, "error", err)
		s.write(w, http.StatusInternalServerError, "absent", nil)
		return
	}
	s.write(w, http.StatusOK, "connector", page{Page: p, Logo: logoOf(conn), Auths: authTypes(conn), PublicURL: s.publicURL})
}
