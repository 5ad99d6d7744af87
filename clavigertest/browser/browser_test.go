package browser_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"claviger/clavigertest/browser"
)

const good = `<!doctype html><html lang="en"><head><title>Good</title><meta name="viewport" content="width=device-width">
<style>:root{color-scheme:light dark}button{min-height:2rem}</style></head><body><main><h1>Good</h1>
<p id="theme"></p><form action="/sent"><label for="a">Name</label><input id="a" name="a">
<label for="b">Kind</label><select id="b" name="b"><option>One</option><option>Two</option></select><button>Send</button></form>
<button id="open">Window</button></main><script src="/script.js"></script></body></html>`

const script = `document.cookie = "seen=yes"; localStorage.setItem("k", "v");
document.getElementById("theme").textContent = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
document.getElementById("open").onclick = () => window.open("/popup");`

const bad = `<!doctype html><html><body><img src="/x.png"><div style="width:2000px">wide</div>
<img src="http://elsewhere.example/pixel"><script>throw new Error("broken script")</script></body></html>`

func site(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	for path, body := range map[string]string{
		"/good": good, "/bad": bad, "/popup": `<!doctype html><title>Popup</title>hello<script>opener.postMessage("x", "*");window.close()</script>`,
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = fmt.Fprint(w, body)
		})
	}
	mux.HandleFunc("/favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/script.js", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, script) })
	mux.HandleFunc("/sent", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusTeapot)
		_, _ = fmt.Fprintf(w, "<!doctype html>got %s and %s", r.FormValue("a"), r.FormValue("b"))
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL
}

func TestBrowser(t *testing.T) {
	b, url := browser.Start(t), site(t)
	t.Run("a good page", func(t *testing.T) {
		p := b.Open(t, browser.Phone())
		p.Goto(url + "/good")
		p.See("light")
		var wide bool
		p.Look(browser.Dark())
		if p.Eval("innerWidth === 1280 && matchMedia('(prefers-color-scheme: dark)').matches", &wide); !wide {
			t.Error("the page does not look as it should")
		}
		p.Look(browser.Phone())
		p.Accessible()
		if tree := p.Tree(); !strings.Contains(tree, `heading "Good"`) {
			t.Errorf("a screen reader has:\n%s", tree)
		}
		p.Press("Tab")
		if f := p.Focus(); f.Tag != "input" || f.Name != "Name" || !f.Ring {
			t.Errorf("the focus is on %+v", f)
		}
		p.Type("Ada")
		p.Select("Kind", "Two")
		if _, err := os.Stat(p.Screenshot("browser-test")); err != nil {
			t.Error(err)
		}
		if c, s := p.Cookies(), p.Storage(); len(c) != 1 || c[0].Name != "seen" || s.Local["k"] != "v" {
			t.Errorf("it keeps %+v and %+v", c, s)
		}
		popup := p.Popup("button", "Window")
		popup.Gone()
		if !popup.Closed() || p.Closed() {
			t.Error("the wrong window is closed")
		}
		p.Click("button", "Send")
		p.At(url + "/sent?a=Ada&b=Two")
		if p.See("got Ada and Two"); p.Status() != http.StatusTeapot {
			t.Errorf("the status is %d", p.Status())
		}
		p.Quiet(url)
	})
	t.Run("people are apart", func(t *testing.T) {
		one, two := b.Open(t, browser.Dark()), b.Open(t, browser.View{Width: 800, Height: 600, NoScript: true})
		one.Goto(url + "/good")
		two.Goto(url + "/good")
		if one.See("dark"); len(one.Cookies()) != 1 || len(two.Cookies()) != 0 || len(one.Tab().Cookies()) != 1 {
			t.Error("cookies are shared between people, or not between a person's windows")
		}
	})
	t.Run("a bad page", func(t *testing.T) {
		p := b.Open(t, browser.Desktop())
		p.Goto(url + "/bad")
		found := map[string]bool{}
		for _, v := range p.Axe() {
			found[v.Rule] = true
		}
		if !found["image-alt"] || !found["html-has-lang"] || p.Sideways() < 700 {
			t.Errorf("found %v, %d pixels too wide", found, p.Sideways())
		}
		if faults := strings.Join(p.Faults(), "\n"); !strings.Contains(faults, "broken script") {
			t.Errorf("the console has %s", faults)
		}
		watched := &fails{TB: t}
		q := b.Open(watched, browser.Desktop())
		q.Goto(url + "/bad")
		q.Accessible()
		q.Quiet(url)
		if told := strings.Join(watched.told, "\n"); !strings.Contains(told, "image-alt") || !strings.Contains(told, "elsewhere.example") {
			t.Errorf("a test is told %s", told)
		}
	})
}

// fails is a test whose failures are expected.
type fails struct {
	testing.TB
	told []string
}

func (f *fails) Errorf(format string, args ...any) {
	f.told = append(f.told, fmt.Sprintf(format, args...))
}
