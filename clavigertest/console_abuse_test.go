package clavigertest_test

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger/api"
	"claviger/clavigertest"
)

// visitor is a browser of nobody's.
func visitor(t *testing.T, s *clavigertest.Server) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t: t, base: s.URL, http: &http.Client{
		Jar: jar, Timeout: longest, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// chosen is what the owner fills in at the link.
func chosen() url.Values {
	return url.Values{"name": {ownerName}, "email": {ownerEmail}, "password": {ownerPassword}}
}

// owner is a browser in which the first owner is signed in.
func owner(t *testing.T, s *clavigertest.Server) *browser {
	t.Helper()
	b := visitor(t, s)
	if p := b.post(ownerLink(t, s), chosen()); p.Status != http.StatusSeeOther {
		t.Fatalf("the link answered %d: %s", p.Status, p.Body)
	}
	return b
}

// session answers the browser's cookie.
func (b *browser) session() string {
	b.t.Helper()
	u, err := url.Parse(b.base)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range b.http.Jar.Cookies(u) {
		if strings.HasSuffix(c.Name, "claviger_session") {
			return c.Value
		}
	}
	return ""
}

var formToken = regexp.MustCompile(`name="form" value="([^"]+)"`)

// own adds the token of the session's forms.
func (b *browser) own(form url.Values) url.Values {
	b.t.Helper()
	m := formToken.FindStringSubmatch(b.get("/console/account").Body)
	if m == nil {
		b.t.Fatal("nobody is signed in")
	}
	form.Set("form", m[1])
	return form
}

func (b *browser) signIn(email, password string) page {
	b.t.Helper()
	return b.post("/console/sign-in", url.Values{"email": {email}, "password": {password}})
}

// in reports whether somebody is signed in.
func (b *browser) in() bool {
	b.t.Helper()
	return b.get("/console/").Status == http.StatusOK
}

func TestAbuse_037_OneOwnerByOneLink(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		s := clavigertest.Start(t, clavigertest.Options{Engine: engine})
		link := ownerLink(t, s)
		visitor(t, s).get(link) // looking uses nothing up
		const many = 8
		var race sync.WaitGroup
		won := make(chan *browser, many)
		for range many {
			b := visitor(t, s)
			race.Go(func() {
				p := b.post(link, chosen())
				for p.Status == http.StatusServiceUnavailable { // too many hash at once: they come again
					p = b.post(link, chosen())
				}
				if p.Status == http.StatusSeeOther {
					won <- b
				} else if p.Status != http.StatusNotFound {
					t.Errorf("another answered %d: %s", p.Status, p.Body)
				}
			})
		}
		race.Wait()
		if len(won) != 1 || !(<-won).in() {
			t.Fatal("not exactly one became the owner")
		}
		after := func(s *clavigertest.Server) {
			link := strings.Replace(link, s.App.PublicURL(), "", 1)
			link = link[strings.Index(link, "/console/"):]
			wants(t, visitor(t, s).get(link), http.StatusNotFound, "link_over")
			wants(t, visitor(t, s).post(link, chosen()), http.StatusNotFound, "link_over")
		}
		after(s)
		for _, guess := range [][2]string{{"owner@localhost", "owner"}, {"admin", "admin"}, {ownerEmail, ""}, {"owner@localhost", ""}} {
			if p := visitor(t, s).signIn(guess[0], guess[1]); p.Status != http.StatusUnprocessableEntity {
				t.Errorf("%v answered %d", guess, p.Status)
			}
		}
		s.Stop()
		again := clavigertest.Start(t, s.Options())
		after(again)
		// The operator of the server makes a new link, which ends what was before.
		b := visitor(t, again)
		if p := b.signIn(ownerEmail, ownerPassword); p.Status != http.StatusSeeOther {
			t.Fatalf("signing in after the restart: %d", p.Status)
		}
		renewed, err := again.App.OwnerLink(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if p := visitor(t, again).post(renewed, url.Values{"password": {"quite another password"}}); p.Status != http.StatusSeeOther {
			t.Fatalf("the new link answered %d: %s", p.Status, p.Body)
		}
		if b.in() || visitor(t, again).signIn(ownerEmail, ownerPassword).Status != http.StatusUnprocessableEntity {
			t.Error("the password before, or its session, still opens the console")
		}
	})
}

func TestAbuse_039_GuessingIsSlowAndLocksNobodyOut(t *testing.T) {
	c := &clock{at: time.Now()} // stands still: each minute that passes allows for more
	s := clavigertest.Start(t, clavigertest.Options{Now: c.now})
	owner(t, s)
	b := visitor(t, s)
	slowed := 0
	for _, email := range []string{
		ownerEmail, "ADA@example.com", " ada@example.com ", "Ada@Example.COM", "\uff41da@example.com", "ada@example.com\t",
		ownerEmail, ownerEmail, ownerEmail, ownerEmail, "aDA@example.com", "ada@EXAMPLE.com ",
	} {
		p := b.do(http.MethodPost, "/console/sign-in", url.Values{"email": {email}, "password": {"a wrong password"}}.Encode(), map[string]string{
			"Content-Type": "application/x-www-form-urlencoded", "Origin": b.base, "X-Forwarded-For": "198.51.100.7", "Forwarded": "for=198.51.100.8",
		})
		switch p.Header.Get("Claviger-Error") {
		case "wrong_password":
		case "too_many_attempts":
			slowed++
		default:
			t.Errorf("%q answered %d: %s", email, p.Status, p.Body)
		}
	}
	if slowed != 2 {
		t.Errorf("%d of 12 attempts were slowed down, want the last 2", slowed)
	}
	// Another account of the same source, and this account from another, are free.
	wants(t, visitor(t, s).signIn("somebody@example.com", "a wrong password"), http.StatusUnprocessableEntity, "wrong_password")
}

func TestAbuse_042_SessionsAreNewAndEnd(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		s := clavigertest.Start(t, clavigertest.Options{Engine: engine})
		b := owner(t, s)
		first := b.session()
		form := b.own(url.Values{})
		other := visitor(t, s)
		planted := map[string]string{"Cookie": "claviger_session=" + first}
		// Signing in again, with the cookie of somebody's choice, gives a new one and ends that.
		p := other.do(http.MethodPost, "/console/sign-in", url.Values{"email": {ownerEmail}, "password": {ownerPassword}}.Encode(), map[string]string{
			"Content-Type": "application/x-www-form-urlencoded", "Origin": s.URL, "Cookie": "claviger_session=" + first,
		})
		if p.Status != http.StatusSeeOther || other.session() == "" || other.session() == first {
			t.Fatalf("signing in answered %d with the cookie %q", p.Status, other.session())
		}
		if visitor(t, s).do(http.MethodGet, "/console/", "", planted).Status == http.StatusOK {
			t.Error("the planted cookie opens the console")
		}
		// A change of how to sign in gives a new session, and ends all others.
		second := visitor(t, s)
		second.signIn(ownerEmail, ownerPassword)
		before := other.session()
		if p := other.post("/console/account/password", other.own(url.Values{"password": {"another good password"}})); p.Status != http.StatusSeeOther || other.session() == before {
			t.Fatalf("changing the password answered %d: %s", p.Status, p.Body)
		}
		if second.in() || !other.in() {
			t.Error("a session from before the change still opens the console, or the new one does not")
		}
		// Signing out ends it on the server, and takes the cookie with its own attributes.
		last := other.session()
		out := other.post("/console/sign-out", other.own(url.Values{}))
		gone := out.Header.Get("Set-Cookie")
		if out.Status != http.StatusSeeOther || !strings.Contains(gone, "Max-Age=0") || !strings.Contains(gone, "Path=/") || !strings.Contains(gone, "HttpOnly") || !strings.Contains(gone, "SameSite=Lax") {
			t.Errorf("signing out answered %d with %q", out.Status, gone)
		}
		replay := visitor(t, s)
		for _, cookie := range []string{last, first} {
			p := replay.do(http.MethodPost, "/console/account/password", form.Encode(), map[string]string{
				"Content-Type": "application/x-www-form-urlencoded", "Origin": s.URL, "Cookie": "claviger_session=" + cookie,
			})
			if p.Status != http.StatusSeeOther || !strings.HasPrefix(p.Location, "/console/sign-in") {
				t.Errorf("a replay answered %d to %q", p.Status, p.Location)
			}
		}
	})
}

func TestAbuse_021_AConsolesCookieIsNoToken(t *testing.T) {
	s := clavigertest.Start(t, clavigertest.Options{})
	b := owner(t, s)
	setup := ownerLink(t, s)
	for name, token := range map[string]string{"session": b.session(), "link": setup[strings.LastIndex(setup, "/")+1:]} {
		for _, path := range []string{"/v1/whoami", "/v1/connections", "/api/v1/actions"} {
			for _, header := range []map[string]string{{"Authorization": "Bearer " + token}, {"Api-Key": token}} {
				if p := visitor(t, s).do(http.MethodGet, path, "", header); p.Status != http.StatusUnauthorized && p.Status != http.StatusNotFound {
					t.Errorf("the %s at %s answered %d", name, path, p.Status)
				}
			}
		}
	}
	// And the cookie opens nothing of the API, nor an API key anything of the console.
	if p := b.get("/v1/whoami"); p.Status != http.StatusUnauthorized {
		t.Errorf("the API took the cookie: %d", p.Status)
	}
	for _, header := range []map[string]string{{"Authorization": "Bearer " + s.Key}, {"Cookie": "claviger_session=" + s.Key}} {
		if p := visitor(t, s).do(http.MethodGet, "/console/", "", header); p.Status != http.StatusSeeOther {
			t.Errorf("the console took an API key: %d", p.Status)
		}
	}
}

// consolePages are the addresses of all pages.
func consolePages(s *clavigertest.Server) []string {
	return []string{
		"/console/", "/console/systems", "/console/systems/example-crm", "/console/systems/example-crm?tab=authentication", "/console/connections",
		"/console/account", "/console/account/factor", "/console/cli", "/console/cli/authorize", "/console/nothing", "/console/systems/nothing",
		"/console/sign-in", "/console/sign-in/code", s.App.SetupLink(s.App.FirstStart().OwnerLink), "/console/setup/x",
	}
}

func TestAbuse_249_256_ConsolePagesOpenInTheirOwnWindowOnly(t *testing.T) {
	s, _, _ := crmServer(t, clavigertest.SQLite)
	b := owner(t, s)
	for _, path := range consolePages(s) {
		p := b.get(path)
		policy := p.Header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "frame-ancestors 'none'") || !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") ||
			p.Header.Get("X-Frame-Options") != "DENY" || p.Header.Get("Referrer-Policy") != "no-referrer" || p.Header.Get("Cache-Control") != "no-store" ||
			p.Header.Get("Cross-Origin-Resource-Policy") != "same-origin" {
			t.Errorf("%s (%d): %v", path, p.Status, p.Header)
		}
		if regexp.MustCompile(`<script(?: [^>]*)?>[^<]|<style| style="| on[a-z]+="`).MatchString(p.Body) {
			t.Errorf("%s has a script or a style of its own", path)
		}
		// What another site frames, embeds or fetches gets one answer, whatever is there.
		for name, fetch := range map[string][3]string{
			"frame": {"cross-site", "navigate", "iframe"}, "script": {"cross-site", "no-cors", "script"}, "fetch": {"same-site", "cors", "empty"}, "own frame": {"same-origin", "navigate", "iframe"},
		} {
			p := b.do(http.MethodGet, path, "", map[string]string{"Sec-Fetch-Site": fetch[0], "Sec-Fetch-Mode": fetch[1], "Sec-Fetch-Dest": fetch[2]})
			if p.Status != http.StatusForbidden || p.Header.Get("Claviger-Error") != "cross_origin" {
				t.Errorf("%s of %s answered %d", name, path, p.Status)
			}
		}
	}
}

func TestAbuse_253_FormsOfTheConsoleAreItsOwn(t *testing.T) {
	s, vendor, c := crmServer(t, clavigertest.SQLite)
	b := owner(t, s)
	const give = "/console/systems/example-crm/slots/default"
	form := b.own(url.Values{"value.apiKey": {crmAPIKey}})
	send := func(body url.Values, header map[string]string) page {
		if header["Content-Type"] == "" {
			header["Content-Type"] = "application/x-www-form-urlencoded"
		}
		return b.do(http.MethodPost, give, body.Encode(), header)
	}
	for name, header := range map[string]map[string]string{
		"cross-site": {"Sec-Fetch-Site": "cross-site"}, "same-site": {"Sec-Fetch-Site": "same-site"}, "origin": {"Origin": "https://evil.example"}, "null": {"Origin": "null"},
	} {
		t.Run(name, func(t *testing.T) { wants(t, send(form, header), http.StatusForbidden, "cross_origin") })
	}
	stranger := another(t, s, "viewer")
	for name, token := range map[string][]string{"no token": nil, "a wrong one": {"x"}, "another session's": stranger.own(url.Values{})["form"]} {
		t.Run(name, func(t *testing.T) {
			wants(t, send(url.Values{"value.apiKey": {crmAPIKey}, "form": token}, map[string]string{"Origin": s.URL}), http.StatusForbidden, "form_over")
		})
	}
	for _, kind := range []string{"text/plain", "application/json", "multipart/form-data; boundary=x"} {
		t.Run(kind, func(t *testing.T) {
			wants(t, send(form, map[string]string{"Content-Type": kind, "Origin": s.URL}), http.StatusBadRequest, "bad_form")
		})
	}
	// No GET changes anything.
	for _, path := range []string{give + "?" + form.Encode(), give + "/test", "/console/sign-out?" + form.Encode()} {
		if p := b.do(http.MethodGet, path, "", map[string]string{"X-HTTP-Method-Override": "POST"}); p.Status < 400 {
			t.Errorf("GET %s answered %d", path, p.Status)
		}
	}
	if slots := slotsOf(t, c); slots[0].Secrets[0].HasValue || len(vendor.Received()) > 0 || !b.in() {
		t.Error("a form that was not the page's own did something")
	}
	if p := send(form, map[string]string{"Origin": s.URL}); p.Status != http.StatusSeeOther {
		t.Errorf("the page's own form answered %d: %s", p.Status, p.Body)
	}
}

// another is a browser of a second person.
func another(t *testing.T, s *clavigertest.Server, role string) *browser {
	t.Helper()
	u, err := s.Client(s.Key).CreateUser(t.Context(), api.CreateUser{Name: "Grace Hopper", Email: "grace@example.com", Role: role})
	if err != nil {
		t.Fatal(err)
	}
	b := visitor(t, s)
	if p := b.post(u.SetUpURL, url.Values{"password": {"nanoseconds of wire"}}); p.Status != http.StatusSeeOther {
		t.Fatalf("the invitation answered %d: %s", p.Status, p.Body)
	}
	return b
}

func TestAbuse_254_TheConsolesCookie(t *testing.T) {
	s := clavigertest.Start(t, clavigertest.Options{})
	check := func(s *clavigertest.Server, name string, want ...string) {
		link := ownerLink(t, s)
		c := visitor(t, s).post(s.URL+link[strings.Index(link, "/console/"):], chosen()).Header.Get("Set-Cookie")
		for _, w := range append(want, name+"=", "Path=/", "HttpOnly", "SameSite=Lax", "Max-Age=604800") {
			if !strings.Contains(c, w) || !strings.HasPrefix(c, name) || strings.Contains(c, "Domain") || len(c) > 4096 {
				t.Errorf("the cookie is %q, want %q", c, w)
			}
		}
	}
	check(s, "claviger_session")
	check(clavigertest.Start(t, clavigertest.Options{PublicURL: "https://claviger.example"}), "__Host-claviger_session", "Secure")
	plain := clavigertest.Start(t, clavigertest.Options{PublicURL: "http://claviger.example"})
	link := ownerLink(t, plain)
	for _, p := range []page{visitor(t, plain).signIn(ownerEmail, ownerPassword), visitor(t, plain).post(plain.URL+link[strings.Index(link, "/console/"):], chosen())} {
		wants(t, p, http.StatusServiceUnavailable, "public_url_insecure")
		if p.Header.Get("Set-Cookie") != "" {
			t.Error("a session was given over plain http")
		}
	}
}

func TestAbuse_258_260_SigningInLeadsNowhereElse(t *testing.T) {
	s := clavigertest.Start(t, clavigertest.Options{})
	owner(t, s)
	for _, next := range []string{
		"https://evil.example/", "//evil.example", "/\\evil.example", "/console/..//evil.example", "/console//evil.example", "javascript:alert(1)", "/v1/whoami",
		"/console/sign-in", "/console/%0d%0aX:y", "/console/\r\nX: y", "/console/../v1/whoami", "\thttps://evil.example", "/console/@evil.example/..", "",
	} {
		p := visitor(t, s).post("/console/sign-in", url.Values{"email": {ownerEmail}, "password": {ownerPassword}, "next": {next}})
		if p.Status != http.StatusSeeOther || p.Location != "/console/" && !strings.HasPrefix(p.Location, "/console/%0d%0a") || p.Header.Get("X") != "" {
			t.Errorf("%q led to %q (%d)", next, p.Location, p.Status)
		}
	}
	p := visitor(t, s).post("/console/sign-in", url.Values{"email": {ownerEmail}, "password": {ownerPassword}, "next": {"/console/systems/example-crm?tab=authentication"}})
	if p.Location != "/console/systems/example-crm?tab=authentication" {
		t.Errorf("the page that was asked for is forgotten: %q", p.Location)
	}
}

func TestAbuse_181_188_NoPageHasASecret(t *testing.T) {
	s, _, c := crmServer(t, clavigertest.SQLite)
	b := owner(t, s)
	const wrong = "ak_refused_by_the_vendor_9"
	for _, value := range []string{crmAPIKey, wrong} {
		if p := b.post("/console/systems/example-crm/slots/default", b.own(url.Values{"value.apiKey": {value}})); p.Status != http.StatusSeeOther {
			t.Fatalf("giving a value answered %d: %s", p.Status, p.Body)
		}
	}
	refusedForm := b.post("/console/systems/example-crm/slots/default", b.own(url.Values{"value.apiKey": {crmSyncKey}, "value.other": {crmHookKey}}))
	if refusedForm.Status != http.StatusUnprocessableEntity {
		t.Errorf("a field that is none answered %d", refusedForm.Status)
	}
	bodies := refusedForm.Body
	for _, path := range consolePages(s) {
		bodies += b.get(path).Body
	}
	conn := slotsOf(t, c)[0].ConnectionID
	bodies += b.get("/console/connections/" + conn).Body
	for _, value := range []string{crmAPIKey, wrong, crmSyncKey, crmHookKey, ownerPassword} {
		for _, form := range []string{value, url.QueryEscape(value), value[:12]} {
			if strings.Contains(bodies, form) || strings.Contains(s.Logs.String(), form) {
				t.Errorf("a page or the log has %q", form)
			}
		}
	}
	page := b.get("/console/systems/example-crm?tab=authentication").Body
	if !strings.Contains(page, "set on <time") || !strings.Contains(page, "unhealthy") {
		t.Error("the card does not say that a value is set, or that it does not work")
	}
	for _, input := range regexp.MustCompile(`<input[^>]*name="value\.[^>]*>`).FindAllString(page, -1) {
		if strings.Contains(input, " value=") || !strings.Contains(input, `type="password"`) || !strings.Contains(input, `autocomplete="off"`) {
			t.Errorf("an input of a secret is %s", input)
		}
	}
	if strings.Contains(strings.ToLower(page), "reveal") || strings.Contains(page, `type="text"`) {
		t.Error("something on the page shows a secret")
	}
}
