package clavigertest_test

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"claviger/api"
	"claviger/clavigertest"
	chromium "claviger/clavigertest/browser"
	"claviger/clavigertest/oauthserver"
)

// logo is a picture: a ring on nothing.
func logo(t testing.TB) []byte {
	t.Helper()
	const side = 96
	img := image.NewNRGBA(image.Rect(0, 0, side, side))
	for x := range side {
		for y := range side {
			if d := (x-side/2)*(x-side/2) + (y-side/2)*(y-side/2); d < 46*46 && d > 24*24 {
				img.Set(x, y, color.NRGBA{R: 0x6b, G: byte(0x2f + x), B: 0xd6, A: 0xff})
			}
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// odd is a vendor that does not let people in: at /no it sends them back with an error,
// elsewhere it answers nothing, so that a browser stays where it is.
func odd(t testing.TB) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/no" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		q := url.Values{"state": r.URL.Query()["state"], "error": {"access_denied"}, "error_description": {"Ada pressed Cancel <script>alert(1)</script>"}}
		http.Redirect(w, r, r.URL.Query().Get("redirect_uri")+"?"+q.Encode(), http.StatusFound)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// fields is a connector that asks for a little of everything.
const fields = `{"key":"warehouse","name":"Warehouse & Söhne","kind":"http","baseUrl":"https://${region}.warehouse.example","allowedHosts":["*.warehouse.example"],
	"variables":[{"key":"region","label":"Region","type":"enum","values":["eu","us"],"required":true,"hint":"Where your data lives"}],
	"auth":[{"key":"service","type":"custom","label":"Service account","fields":[
	{"key":"account","label":"Account name","required":true},{"key":"token","label":"Access token","secret":true,"required":true,"hint":"Starts with wh_.","pattern":"^wh_","docsUrl":"https://docs.warehouse.example/tokens"},
	{"key":"key","label":"Key file","type":"json","secret":true,"required":false}],
	"inject":[{"in":"header","name":"X-Token","value":"${token}"},{"in":"header","name":"X-Account","value":"${account}"}],"test":"none","permissions":"none"}]}`

// gallery is a branded organization, whose pages are in every state that they can have.
type gallery struct {
	*consent
	odd  string
	lost api.ConnectSessionMade // its only connector has been deleted
	used api.ConnectSessionMade // was finished
	old  api.Connection         // has a permission too little and one too many
}

func newGallery(t *testing.T) *gallery {
	t.Helper()
	x := newConsent(t, clavigertest.Options{}, oauthserver.Policy{DevicePolls: 100})
	g := &gallery{consent: x, odd: odd(t)}
	if _, err := x.api.PutBranding(t.Context(), api.Branding{Name: "Northwind Traders", Color: "#6b2fd6", Logo: logo(t)}); err != nil {
		t.Fatal(err)
	}
	for key, document := range map[string]string{
		"gone": string(vendorDocument(x.vendor, "gone")), "warehouse": fields,
		"device": strings.Replace(strings.Replace(string(vendorDocument(x.vendor, "device")), "authorizationCode", "device", 1), "authorizeUrl\":\""+x.vendor.URL+"/authorize", "deviceUrl\":\""+x.vendor.URL+"/device", 1),
		"slow":   strings.Replace(string(vendorDocument(x.vendor, "slow")), x.vendor.URL+"/authorize", g.odd+"/slow", 1),
		"no":     strings.Replace(string(vendorDocument(x.vendor, "no")), x.vendor.URL+"/authorize", g.odd+"/no", 1),
	} {
		if _, err := x.api.PutConnector(t.Context(), key, []byte(document)); err != nil {
			t.Fatal(key, err)
		}
		if key == "warehouse" {
			continue
		}
		if _, err := x.api.PutOAuthClient(t.Context(), key, api.PutOAuthClient{ClientID: x.vendor.Client.ID, ClientSecret: reveal(x.vendor.Client.Secret)}); err != nil {
			t.Fatal(key, err)
		}
	}
	x.vendor.Next(oauthserver.Fault{Change: map[string]any{"scope": "contacts.read legacy.read"}})
	g.old = x.connect("old")
	g.lost = g.page("gone")
	if _, err := x.api.DeleteConnector(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	g.used = g.page("acme")
	done := x.browser().post(strings.TrimPrefix(g.used.ConnectURL, x.URL)+"/acme/token", url.Values{"credential.token": {"at_right-secret"}})
	if _, err := x.api.FinishConnectSession(t.Context(), g.used.ID, shownCode(t, done)); err != nil {
		t.Fatal(err)
	}
	return g
}

// page is a new session's for the connectors.
func (g *gallery) page(keys ...string) api.ConnectSessionMade {
	g.t.Helper()
	return g.session(api.CreateConnectSession{
		User: api.ConnectUser{ID: "user-42", Name: "Grace Hopper"}, AllowedConnectors: keys, ReturnURL: "http://127.0.0.1:39999/back", Delivery: "code",
	})
}

// pictures are the states, and how a person comes to see them.
func (g *gallery) pictures() map[string]func(p *chromium.Page) {
	open := func(address string, see string) func(*chromium.Page) {
		return func(p *chromium.Page) { p.Goto(address); p.See(see) }
	}
	go1 := func(p *chromium.Page, s api.ConnectSessionMade, path, button, see string) {
		p.Goto(s.ConnectURL + path)
		p.Click("button", button)
		p.See(see)
	}
	return map[string]func(*chromium.Page){
		"choose": open(g.page("acme", "github", "slack", "warehouse").ConnectURL, "would like to use an account of yours"),
		"choose-many": func(p *chromium.Page) {
			p.Goto(g.page("acme", "github", "slack", "warehouse", "stripe", "hubspot", "notion", "linear", "zoom").ConnectURL)
			p.Fill("Find", "ac")
			p.See(" of ")
		},
		"choose-none": open(g.lost.ConnectURL, "There is nothing to connect"),
		"key":         open(g.page("acme").ConnectURL+"/acme/token", "Connect Acme CRM"),
		"key-wrong": func(p *chromium.Page) {
			p.Goto(g.page("acme").ConnectURL + "/acme/token")
			p.Fill("Token", "not a token at all")
			p.Click("button", "Connect Acme CRM")
			p.See("Please check what you entered")
		},
		"fields": open(g.page("warehouse").ConnectURL, "Access token"),
		"fields-wrong": func(p *chromium.Page) {
			p.Goto(g.page("warehouse").ConnectURL)
			p.Select("Region", "eu")
			p.Fill("Account name", "north")
			p.Fill("Access token", "no such thing")
			p.Click("button", "Connect Warehouse & Söhne")
			p.See("Please check what you entered")
		},
		"consent":           open(g.page("acme", "slack").ConnectURL+"/acme/oauth", "What is asked for"),
		"consent-not-ready": open(g.page("github").ConnectURL+"/github/oauth", "not set this up yet"),
		"reconnect":         open(g.session(api.CreateConnectSession{ConnectionID: g.old.ID, User: api.ConnectUser{ID: "u", Name: "Grace Hopper"}}).ConnectURL, "New since the last time"),
		"leaving":           func(p *chromium.Page) { go1(p, g.page("slow"), "/slow/oauth", "Continue to Acme CRM", "One moment") },
		"code":              func(p *chromium.Page) { go1(p, g.page("acme"), "/acme/oauth", "Continue to Acme CRM", "Your code") },
		"device": func(p *chromium.Page) {
			go1(p, g.page("device"), "/device/oauth", "Continue to Acme CRM", "Code for Acme CRM")
		},
		"account": func(p *chromium.Page) {
			s := g.session(api.CreateConnectSession{ReturnURL: "http://127.0.0.1:39999/back", Delivery: "popup"})
			go1(p, s, "/acme/oauth", "Continue to Acme CRM", "Almost done")
		},
		"vendor-says-no": func(p *chromium.Page) { go1(p, g.page("no"), "/no/oauth", "Continue to Acme CRM", "Not connected") },
		"over":           open(g.used.ConnectURL, "This link is over"),
		"unknown":        open(g.URL+"/connect/clv_connect_x", "There is nothing here"),
		"strange":        open(g.URL+"/oauth/callback/org_x/acme?state=x", "This did not work"),
		"connect-again":  open(g.URL+"/connect/"+g.old.ID, "must be connected again"),
	}
}

// Every state of every page, in both themes and on a telephone: nothing for axe to find,
// nothing wider than the window, nothing asked of anybody else, no error on the console.
// The pictures are in artifacts/screenshots, for people.
func TestConnect_EveryPageForEverybody(t *testing.T) {
	g, b := newGallery(t), chromium.Start(t)
	views := map[string]chromium.View{"light": chromium.Desktop(), "dark": chromium.Dark(), "phone": chromium.Phone()}
	for name, show := range g.pictures() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := b.Open(t, chromium.Desktop())
			show(p)
			for view, how := range views {
				p.Look(how)
				p.Accessible()
				p.Screenshot(fmt.Sprintf("connect-%s-%s", name, view))
			}
			p.Quiet(g.URL, g.vendor.URL, g.odd)
			if s := p.Storage(); len(s.Local)+len(s.Session) > 0 {
				t.Errorf("the page keeps %v", s)
			}
		})
	}
}
