package docs_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"claviger"
	"claviger/clavigertest/browser"
	"claviger/connectors"
	"claviger/internal/catalog"
	"claviger/internal/surface/docs"
)

// serve serves a catalogue's pages.
func serve(t *testing.T, c docs.Catalog) string {
	t.Helper()
	h, err := docs.New(docs.Config{Catalog: c, PublicURL: "https://claviger.example", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", h)
	mux.HandleFunc("/favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL
}

func builtin(t *testing.T) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Load(connectors.Files, catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func get(t *testing.T, address string) (*http.Response, string) {
	t.Helper()
	resp, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// TestFilters: without any script, the address says what is shown.
func TestFilters(t *testing.T) {
	c := builtin(t)
	address := serve(t, c)
	for query, want := range map[string]struct {
		has, hasNot string
	}{
		"":                               {"/docs/connectors/zoom\"", ""},
		"?q=git":                         {"/docs/connectors/github\"", "/docs/connectors/zoom\""},
		"?q=%20GitHub%20":                {"/docs/connectors/github\"", "/docs/connectors/gitlab\""},
		"?category=crm":                  {"/docs/connectors/hubspot\"", "/docs/connectors/github\""},
		"?auth=oauth2&q=git":             {"/docs/connectors/github\"", "/docs/connectors/zoom\""},
		"?auth=basic":                    {"/docs/connectors/jira\"", "/docs/connectors/github\""},
		"?q=nothing-is-called-this":      {"Nothing fits", "<ul class=\"cards\">"},
		"?q=" + strings.Repeat("a", 500): {"Nothing fits", strings.Repeat("a", 101)},
		"?q=%3Cscript%3E":                {"value=\"&lt;script&gt;\"", "<script>"},
		"?q=%ff":                         {"All ", "\xff"},
	} {
		resp, body := get(t, address+docs.Prefix+query)
		if resp.StatusCode != http.StatusOK || !strings.Contains(body, want.has) || want.hasNot != "" && strings.Contains(body, want.hasNot) {
			t.Errorf("%s: %d, has %q: %v, has %q: %v", query, resp.StatusCode, want.has, strings.Contains(body, want.has), want.hasNot, strings.Contains(body, want.hasNot))
		}
	}
}

// TestEveryPage: each connector has a page that the gallery leads to.
func TestEveryPage(t *testing.T) {
	c := builtin(t)
	address := serve(t, c)
	_, list := get(t, address+docs.Prefix)
	for _, conn := range c.List(catalog.Filter{}) {
		if !strings.Contains(list, `href="/docs/connectors/`+conn.Key+`"`) {
			t.Errorf("%s is not in the gallery", conn.Key)
		}
		resp, body := get(t, address+docs.Prefix+"/"+conn.Key)
		if resp.StatusCode != http.StatusOK || !strings.Contains(body, "connector test --simulated "+conn.Key) {
			t.Errorf("%s: %d", conn.Key, resp.StatusCode)
		}
		for _, host := range conn.AllowedHosts {
			if !strings.Contains(body, "<code>"+host+"</code>") {
				t.Errorf("%s does not tell the host %s", conn.Key, host)
			}
		}
	}
	if resp, body := get(t, address+docs.Prefix+"/nobody"); resp.StatusCode != http.StatusNotFound || !strings.Contains(body, "no such connector") {
		t.Errorf("%d", resp.StatusCode)
	}
	_, github := get(t, address+docs.Prefix+"/github")
	for _, part := range []string{"<h1>GitHub</h1>", "https://claviger.example/oauth/callback/{organization}/github", "<code>api.github.com</code>", "<code>github.create-issue</code>", "<code>read:user</code>", "Settings, Developer settings"} {
		if !strings.Contains(github, part) {
			t.Errorf("the page of github lacks %q", part)
		}
	}
}

// TestTryIt: the command line has what the method needs, and not what others need.
func TestTryIt(t *testing.T) {
	address := serve(t, builtin(t))
	for key, want := range map[string]string{
		"salesforce": "--auth-method oauth --name my-salesforce</code>",
		"zendesk":    "--setting subdomain=...",
	} {
		if _, body := get(t, address+docs.Prefix+"/"+key); !strings.Contains(body, want) {
			t.Errorf("the page of %s lacks %q", key, want)
		}
	}
}

// hostile is a catalogue with one connector of an operator's folder.
type hostile struct{ conn *claviger.Connector }

func (h hostile) List(catalog.Filter) []*claviger.Connector { return []*claviger.Connector{h.conn} }

func (h hostile) Get(string) (*claviger.Connector, bool) { return h.conn, true }

// TestAbuse_274_TextsOfDocuments: what a document says is text on its page, and its links
// lead to https alone; the page fetches nothing.
func TestAbuse_274_TextsOfDocuments(t *testing.T) {
	const document = `{"key":"evil","name":"<img src=x onerror=alert(1)>","kind":"http","description":"\"><script>alert(1)</script>","categories":["crm"],
"docsUrl":%s,"baseUrl":"https://api.evil.example","auth":[{"key":"k","type":"apiKey","label":"<b>k</b>","fields":[{"key":"apiKey","secret":true,"hint":"</p><script>"}],
"inject":[{"in":"header","name":"X-Key","value":"${apiKey}"}],"test":{"method":"GET","path":"/","expectStatus":[200]}}]}`
	for _, link := range []string{`"javascript:alert(1)"`, `"data:text/html,x"`, `"http://evil.example/"`, `"//evil.example/"`} {
		if conn, faults := catalog.Parse("evil.json", []byte(strings.Replace(document, "%s", link, 1)), catalog.Options{}); conn != nil || len(faults) == 0 {
			t.Errorf("the link %s is accepted", link)
		}
	}
	conn, faults := catalog.Parse("evil.json", []byte(strings.Replace(document, "%s", `"https://evil.example/"`, 1)), catalog.Options{})
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	address := serve(t, hostile{conn})
	for _, path := range []string{"", "/evil"} {
		resp, body := get(t, address+docs.Prefix+path)
		for _, bad := range []string{"<script", "<img", "<b>k", "</p><s"} {
			if strings.Contains(body, bad) {
				t.Errorf("%s has %s", path, bad)
			}
		}
		if !strings.Contains(body, "&lt;img src=x") {
			t.Errorf("%q does not show the name", path)
		}
		if policy := resp.Header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") || strings.Contains(policy, "unsafe") {
			t.Errorf("the policy is %s", policy)
		}
	}
}

// TestLooks opens the pages as people do: light and dark, wide and on a phone, by
// keyboard and without scripts.
func TestLooks(t *testing.T) {
	address := serve(t, builtin(t))
	b := browser.Start(t)
	for name, view := range map[string]browser.View{"light": browser.Desktop(), "dark": browser.Dark(), "phone": browser.Phone(), "dark-phone": {Width: 360, Height: 740, Dark: true}} {
		t.Run(name, func(t *testing.T) {
			p := b.Open(t, view)
			for page, path := range map[string]string{"gallery": "?q=go", "github": "/github", "salesforce": "/salesforce", "nobody": "/nobody", "nothing": "?q=xyzzy"} {
				p.Goto(address + docs.Prefix + path)
				p.Accessible()
				p.Screenshot("docs-" + page + "-" + name)
			}
		})
	}
	t.Run("search without scripts", func(t *testing.T) {
		p := b.Open(t, browser.View{Width: 360, Height: 740, NoScript: true})
		p.Goto(address + docs.Prefix)
		p.Fill("Search", "github")
		p.Press("Enter")
		p.At(address + docs.Prefix + "?q=github")
		p.See("1 of ")
		p.Select("Category", "developer tools (8)")
		p.Click("button", "Search")
		p.At(address + docs.Prefix + "?q=github&category=developer-tools")
		p.Click("link", "GitHub")
		p.At(address + docs.Prefix + "/github")
		p.SeeRole("heading", "Ways to connect")
	})
	p := b.Open(t, browser.Desktop())
	p.Goto(address + docs.Prefix)
	for _, want := range []string{"Skip to the content", "Claviger connectors", "API reference", "Search"} {
		p.Press("Tab")
		if f := p.Focus(); f.Name != want || !f.Ring {
			t.Errorf("the focus is on %+v, want %s", f, want)
		}
	}
	p.Quiet(address)
}
