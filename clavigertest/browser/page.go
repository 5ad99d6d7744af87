package browser

import (
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Page is a window of a person's browser.
type Page struct {
	b      *Browser
	t      testing.TB
	number int
	frame  string
}

// Frame answers the page in the frame that a CSS selector finds. What concerns a window as
// a whole - keys, pictures, axe, cookies - is still that of the window.
func (p *Page) Frame(selector string) *Page {
	return &Page{b: p.b, t: p.t, number: p.number, frame: selector}
}

// nothing is the answer of an operation that has none.
type nothing any

// Look changes the window's size, theme and motion; the page stays as it is.
func (p *Page) Look(v View) {
	p.t.Helper()
	ask[nothing](p, "look", "view", v)
}

// Goto opens an address and waits until the page is loaded. An error status is no fault;
// see [Page.Status].
func (p *Page) Goto(address string) {
	p.t.Helper()
	ask[nothing](p, "goto", "url", address)
}

// Click clicks what has the ARIA role and exactly the accessible name.
func (p *Page) Click(role, name string) {
	p.t.Helper()
	ask[nothing](p, "click", "role", role, "name", name)
}

// Popup is [Page.Click] on what opens a window, and answers that window.
func (p *Page) Popup(role, name string) *Page {
	p.t.Helper()
	return &Page{b: p.b, t: p.t, number: ask[int](p, "popup", "role", role, "name", name)}
}

// Tab opens another window of the same person, with the same cookies.
func (p *Page) Tab() *Page {
	p.t.Helper()
	return &Page{b: p.b, t: p.t, number: ask[int](p, "tab")}
}

// Fill replaces the text of the field with exactly this label, or placeholder.
func (p *Page) Fill(label, value string) {
	p.t.Helper()
	ask[nothing](p, "fill", "label", label, "value", value)
}

// Select chooses an option, by what a person reads, of the list with the label.
func (p *Page) Select(label, option string) {
	p.t.Helper()
	ask[nothing](p, "select", "label", label, "value", option)
}

// Upload gives the file field with the label the file at path.
func (p *Page) Upload(label, path string) {
	p.t.Helper()
	ask[nothing](p, "upload", "label", label, "value", path)
}

// Press presses a key or chord, for example "Tab", "Enter", "Shift+Tab", "Control+K".
func (p *Page) Press(key string) {
	p.t.Helper()
	ask[nothing](p, "press", "key", key)
}

// Type types a text where the focus is.
func (p *Page) Type(text string) {
	p.t.Helper()
	ask[nothing](p, "type", "text", text)
}

// See waits until the text, in any case, is visible somewhere on the page.
func (p *Page) See(text string) {
	p.t.Helper()
	ask[nothing](p, "see", "text", text)
}

// SeeRole waits until something with the ARIA role and exactly the name is visible.
func (p *Page) SeeRole(role, name string) {
	p.t.Helper()
	ask[nothing](p, "seeRole", "role", role, "name", name)
}

// At waits until the window's address begins with prefix and the page is loaded.
func (p *Page) At(prefix string) {
	p.t.Helper()
	ask[nothing](p, "at", "prefix", prefix)
}

// Until waits until a JavaScript expression is true in the page.
func (p *Page) Until(expression string) {
	p.t.Helper()
	ask[nothing](p, "until", "script", expression)
}

// URL answers the window's address.
func (p *Page) URL() string {
	p.t.Helper()
	return ask[string](p, "url")
}

// Status answers the HTTP status of the page itself.
func (p *Page) Status() int {
	p.t.Helper()
	return ask[int](p, "status")
}

// Text answers what is visible on the page.
func (p *Page) Text() string {
	p.t.Helper()
	return ask[string](p, "text")
}

// Tree answers the page as a screen reader has it: roles, names and states, as indented
// lines.
func (p *Page) Tree() string {
	p.t.Helper()
	return ask[string](p, "tree")
}

// Focus is what has the keyboard's focus.
type Focus struct {
	Tag  string `json:"tag"`  // in lower case; empty if nothing has it
	Name string `json:"name"` // what a person reads on it or beside it
	Ring bool   `json:"ring"` // an outline shows it
}

// Focus answers what has the keyboard's focus.
func (p *Page) Focus() Focus {
	p.t.Helper()
	return ask[Focus](p, "focus")
}

// Eval runs a JavaScript expression in the page and puts its value, as JSON has it, into
// out, a pointer. The page's content security policy does not hold it back.
func (p *Page) Eval(expression string, out any) {
	p.t.Helper()
	if err := json.Unmarshal(ask[json.RawMessage](p, "eval", "script", expression), out); err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
}

// Screenshot puts a picture of the whole page at artifacts/screenshots/name.png below the
// project's folder, and answers its path.
func (p *Page) Screenshot(name string) string {
	p.t.Helper()
	dir, err := os.Getwd()
	for err == nil && !exists(filepath.Join(dir, "go.mod")) && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	path := filepath.Join(dir, "artifacts", "screenshots", name+".png")
	ask[nothing](p, "screenshot", "path", path)
	return path
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Violation is what axe has against a page.
type Violation struct {
	Rule  string   `json:"rule"`
	Help  string   `json:"help"`
	Nodes []string `json:"nodes"` // where, and how to mend it
}

// Axe answers what axe finds by the rules of WCAG 2.0, 2.1 and 2.2, levels A and AA, and
// its best practices.
func (p *Page) Axe() []Violation {
	p.t.Helper()
	return ask[[]Violation](p, "axe")
}

// Sideways answers by how many pixels the page is wider than its window.
func (p *Page) Sideways() int {
	p.t.Helper()
	return ask[int](p, "sideways")
}

// Accessible fails the test, and lets it go on, if axe finds a violation or the page
// scrolls sideways.
func (p *Page) Accessible() {
	p.t.Helper()
	for _, v := range p.Axe() {
		p.t.Errorf("%s: %s: %s\n%s", p.URL(), v.Rule, v.Help, strings.Join(v.Nodes, "\n"))
	}
	if n := p.Sideways(); n > 0 {
		p.t.Errorf("%s is %d pixels wider than its window", p.URL(), n)
	}
}

// Requests answers every address that the person's windows asked for, in order.
func (p *Page) Requests() []string {
	p.t.Helper()
	return ask[[]string](p, "requests")
}

// Faults answers what the person's windows wrote as errors on the console: scripts that
// failed, and what the content security policy held back.
func (p *Page) Faults() []string {
	p.t.Helper()
	return ask[[]string](p, "faults")
}

// Quiet fails the test, and lets it go on, if the person's windows asked for anything of
// another origin than those of the given addresses, or wrote an error on the console.
func (p *Page) Quiet(own ...string) {
	p.t.Helper()
	var origins []string
	for _, o := range own {
		origins = append(origins, origin(o))
	}
	for _, r := range p.Requests() {
		if !slices.Contains(origins, origin(r)) && !strings.HasPrefix(r, "data:") && !strings.HasPrefix(r, "blob:") {
			p.t.Errorf("a page asked for %s", r)
		}
	}
	for _, f := range p.Faults() {
		p.t.Errorf("on the console: %s", f)
	}
}

func origin(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	return u.Scheme + "://" + u.Host
}

// Cookie is a cookie as the browser keeps it.
type Cookie struct {
	Name     string  `json:"name"`
	Value    string  `json:"value"`
	Domain   string  `json:"domain"`
	Path     string  `json:"path"`
	Expires  float64 `json:"expires"` // Unix seconds; -1 for the session's
	HTTPOnly bool    `json:"httpOnly"`
	Secure   bool    `json:"secure"`
	SameSite string  `json:"sameSite"`
}

// Cookies answers the person's cookies.
func (p *Page) Cookies() []Cookie {
	p.t.Helper()
	return ask[[]Cookie](p, "cookies")
}

// Storage is what the page's origin keeps in the browser beside cookies.
type Storage struct {
	Local   map[string]string `json:"local"`
	Session map[string]string `json:"session"`
}

// Storage answers what the page's origin keeps in the browser beside cookies.
func (p *Page) Storage() Storage {
	p.t.Helper()
	return ask[Storage](p, "storage")
}

// Close closes the window.
func (p *Page) Close() {
	p.t.Helper()
	ask[nothing](p, "close")
}

// Gone waits until the window has closed, by itself or by a script.
func (p *Page) Gone() {
	p.t.Helper()
	ask[nothing](p, "gone")
}

// Closed reports whether the window is closed.
func (p *Page) Closed() bool {
	p.t.Helper()
	return ask[bool](p, "closed")
}
