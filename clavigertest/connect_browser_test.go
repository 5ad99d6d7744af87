package clavigertest_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/oauthserver"
)

// visited answers one page of each kind.
func (x *consent) visited() map[string]page {
	x.t.Helper()
	s := x.session(api.CreateConnectSession{User: api.ConnectUser{ID: "user-42", Name: `Eve"><script>x</script>`}})
	path := strings.TrimPrefix(s.ConnectURL, x.URL)
	b := x.browser()
	sent := b.post(path+"/acme/oauth", url.Values{})
	depart := b.get(sent.Location)
	_, start, _ := strings.Cut(depart.Header.Get("Refresh"), "url=")
	left := b.get(start)
	conn := x.connect("one")
	return map[string]page{
		"choose": b.get(path), "form": b.get(path + "/acme/token"), "consent": b.get(path + "/acme/oauth"), "sent": sent, "depart": depart, "left": left,
		"done": b.get(x.callback(left.Location)), "used": b.get("/oauth/callback/org_x/acme"), "unknown": b.get("/connect/clv_connect_x"),
		"reconnect": b.get("/connect/" + conn.ID), "missing": b.get("/oauth/nothing"), "start": b.get("/oauth/start/flow_x"),
	}
}

func TestAbuse_249_NoPageCanBeFramed(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	for name, p := range x.visited() {
		policy := p.Header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "frame-ancestors 'none'") || p.Header.Get("X-Frame-Options") != "DENY" || !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s (%d): %v", name, p.Status, p.Header)
		}
		if p.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s may be sniffed", name)
		}
	}
}

func TestConnect_PagesTellNobodyAndAskNobody(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	source := regexp.MustCompile(`(?:src|href|action)="([^"]*)"`)
	for name, p := range x.visited() {
		if p.Header.Get("Referrer-Policy") != "no-referrer" || p.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s (%d): %v", name, p.Status, p.Header)
		}
		for _, m := range source.FindAllStringSubmatch(p.Body, -1) {
			if m[1] != "#main" && !strings.HasPrefix(m[1], "/") || strings.HasPrefix(m[1], "//") || strings.Contains(m[1], "?") {
				t.Errorf("%s refers to %q", name, m[1])
			}
		}
		if regexp.MustCompile(`<script(?: [^>]*)?>[^<]|<style| style="| on[a-z]+="`).MatchString(p.Body) {
			t.Errorf("%s has a script or a style of its own: %s", name, p.Body)
		}
	}
}

func TestAbuse_253_FormsOfOtherSites(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	s := x.session(api.CreateConnectSession{})
	path := strings.TrimPrefix(s.ConnectURL, x.URL) + "/acme/token"
	form := url.Values{"credential.token": {"at_planted-by-another-site"}}.Encode()
	b := x.browser()
	for name, header := range map[string]map[string]string{
		"cross-site": {"Sec-Fetch-Site": "cross-site"}, "same-site": {"Sec-Fetch-Site": "same-site"}, "origin": {"Origin": "https://evil.example"}, "null": {"Origin": "null"},
	} {
		header["Content-Type"] = "application/x-www-form-urlencoded"
		t.Run(name, func(t *testing.T) {
			wants(t, b.do(http.MethodPost, path, form, header), http.StatusForbidden, "cross_origin")
		})
	}
	for name, kind := range map[string]string{"text": "text/plain", "json": "application/json", "none": ""} {
		t.Run(name, func(t *testing.T) {
			wants(t, b.do(http.MethodPost, path, form, map[string]string{"Content-Type": kind, "Origin": x.URL}), http.StatusBadRequest, "bad_form")
		})
	}
	b.get(path + "?" + form)
	b.do(http.MethodGet, path, "", map[string]string{"X-HTTP-Method-Override": "POST"})
	state, err := x.api.ConnectSession(t.Context(), s.ID)
	if err != nil || state.Status != "open" {
		t.Errorf("the session stands at %+v, %v", state, err)
	}
	// Looking ahead or asking for the header is no departure.
	conn := x.begin("one")
	for _, p := range []page{b.do(http.MethodHead, conn.AuthorizeURL, "", nil), b.do(http.MethodGet, conn.AuthorizeURL, "", map[string]string{"Sec-Purpose": "prefetch;prerender"})} {
		if p.Status != http.StatusServiceUnavailable || p.Header.Get("Set-Cookie") != "" {
			t.Errorf("answered %d %v", p.Status, p.Header)
		}
	}
}

func TestAbuse_254_TheCookie(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	conn, b := x.begin("one"), x.browser()
	c := b.get(conn.AuthorizeURL).Header.Get("Set-Cookie")
	for _, want := range []string{"claviger_browser=", "Path=/", "HttpOnly", "SameSite=Lax", "Max-Age=3600"} {
		if !strings.Contains(c, want) || strings.Contains(c, "Domain") || strings.Contains(c, "__Host-") || len(c) > 4096 {
			t.Errorf("on the loopback the cookie is %q, want %q", c, want)
		}
	}
	secure := newConsent(t, clavigertest.Options{PublicURL: "https://claviger.example"}, oauthserver.Policy{})
	conn, b = secure.begin("one"), secure.browser()
	c = b.get(strings.Replace(conn.AuthorizeURL, "https://claviger.example", secure.URL, 1)).Header.Get("Set-Cookie")
	for _, want := range []string{"__Host-claviger_browser=", "Path=/", "HttpOnly", "Secure", "SameSite=Lax"} {
		if !strings.Contains(c, want) || strings.Contains(c, "Domain") {
			t.Errorf("over TLS the cookie is %q, want %q", c, want)
		}
	}
	plain := newConsent(t, clavigertest.Options{PublicURL: "http://claviger.example"}, oauthserver.Policy{})
	_, err := plain.api.CreateConnection(t.Context(), api.CreateConnection{Connector: "acme", AuthMethod: "oauth", Name: "one"})
	refused(t, err, 503, "public_url_insecure")
}

func TestAbuse_259_TheConsentPageSaysWhoAsksWhatOfWhom(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	const back = "https://xn--pple-43d.example/done"
	if _, err := x.api.PutReturnURLs(t.Context(), []string{back}); err != nil {
		t.Fatal(err)
	}
	s := x.session(api.CreateConnectSession{User: api.ConnectUser{ID: "u", Name: "<i>Grace</i>"}, ReturnURL: back})
	p := x.browser().get(s.ConnectURL + "/acme/oauth")
	for _, want := range []string{"default", "Acme CRM", x.vendor.URL, "contacts.read", "contacts.write", "&lt;i&gt;Grace&lt;/i&gt;", "https://xn--pple-43d.example"} {
		if !strings.Contains(p.Body, want) {
			t.Errorf("the page lacks %q: %s", want, p.Body)
		}
	}
	// A vendor whose name looks like another's is shown by the name that browsers use.
	document := strings.Replace(string(vendorDocument(x.vendor, "lookalike")), x.vendor.URL+"/authorize", "https://xn--gthub-n4a.example/authorize", 1)
	if _, err := x.api.PutConnector(t.Context(), "lookalike", []byte(document)); err != nil {
		t.Fatal(err)
	}
	lookalike := x.browser().get(x.session(api.CreateConnectSession{AllowedConnectors: []string{"lookalike"}}).ConnectURL)
	if !strings.Contains(lookalike.Body, "Sign in at https://xn--gthub-n4a.example<") {
		t.Errorf("the page hides where it leads: %s", lookalike.Body)
	}
	for _, name := range []string{"gíthub.example", "g\u0131thub.example"} {
		bad := strings.Replace(document, "xn--gthub-n4a.example", name, 1)
		_, err := x.api.PutConnector(t.Context(), "lookalike", []byte(bad))
		refused(t, err, 422, "invalid_connector")
	}
	// The organization may call itself something else, but not without its own name.
	if _, err := x.api.PutBranding(t.Context(), api.Branding{Name: "GitHub <b>Support</b>"}); err != nil {
		t.Fatal(err)
	}
	branded := x.browser().get(s.ConnectURL)
	for _, want := range []string{"GitHub &lt;b&gt;Support&lt;/b&gt;", "for <strong>default</strong>"} {
		if !strings.Contains(branded.Body, want) {
			t.Errorf("the page lacks %q: %s", want, branded.Body)
		}
	}
	_, err := x.api.CreateConnectSession(t.Context(), api.CreateConnectSession{User: api.ConnectUser{ID: "u", Name: "Gr\u202eace"}, AllowedConnectors: []string{"acme"}})
	refused(t, err, 422, "invalid_format")
}

func TestAbuse_260_NothingSplitsAnAnswer(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	b := x.browser()
	for _, path := range []string{
		"/connect/x%0d%0aSet-Cookie:%20a=b", "/oauth/start/flow_%0d%0aX:y", "/oauth/callback/org_x/acme%0d%0aX:y?state=%0d%0aX:y", "/connect-assets/page.css%0d%0aX:y",
	} {
		p := b.get(path)
		if p.Status < 400 || p.Header.Get("X") != "" || p.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %d %v", path, p.Status, p.Header)
		}
	}
}

// drawings are what a page has for the eye alone.
var drawings = regexp.MustCompile(`<svg.*?</svg>`)

func TestConnect_ReconnectShowsWhatIsNew(t *testing.T) {
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{})
	x.vendor.Next(oauthserver.Fault{Change: map[string]any{"scope": "contacts.read legacy.read"}})
	conn := x.connect("one")
	s := x.session(api.CreateConnectSession{ConnectionID: conn.ID})
	p := x.browser().get(s.ConnectURL)
	for _, want := range []string{"Connect Acme CRM again", `New since the last time</h2><ul class="scopes added"><li><code>contacts.write`, `No longer asked for</h2><ul class="scopes dropped"><li><code>legacy.read`} {
		if !strings.Contains(drawings.ReplaceAllString(p.Body, ""), want) {
			t.Errorf("the page lacks %q: %s", want, p.Body)
		}
	}
	help := x.browser().get("/connect/" + conn.ID)
	if help.Status != 200 || !strings.Contains(help.Body, "connect again") {
		t.Errorf("the address in errors answers %d: %s", help.Status, help.Body)
	}
}
