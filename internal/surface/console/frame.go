package console

import (
	"cmp"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"claviger"
	"claviger/internal/authn"
	"claviger/internal/surface/pagekit"
	"claviger/internal/wire"
)

// frame is what all pages have.
type frame struct {
	Title  string
	Place  string // of the navigation: home, systems, connections, audit, account
	Brand  pagekit.Brand
	Person *person // nil on pages that need no session
	Form   string  // the token of the session's forms
	Faulty bool    // a form came back, which a screen reader says first
	Done   notice  // what a form has just done
	Notice string  // what is wrong with the form
}

// person is who is signed in.
type person struct {
	pagekit.Tile
	Name, Email, Role string
	Audits            bool // may read the ledger
}

// seat is a request with its person.
type seat struct {
	authn.Seated
	frame frame
	form  url.Values // of a POST
}

// handler answers a request of a person who is signed in.
type handler func(w http.ResponseWriter, r *http.Request, in *seat)

// seated lets a request through if its cookie is a session's and, for a form, the form is
// that session's own. Whoever is signed out signs in and comes back to where they were.
func (s *surface) seated(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cookie := s.cookie(r)
		person, err := s.people.AuthenticateSession(r.Context(), cookie, wire.From(r))
		switch e := claviger.AsError(err); {
		case e == nil:
		case e.Code == "signed_out" || e.Code == "second_factor_required":
			s.ask(w, r, e.Code == "second_factor_required")
			return
		default:
			s.refuse(w, r, err)
			return
		}
		in := &seat{Seated: person, frame: s.frameOf(r, &person, cookie)}
		if r.Method == http.MethodPost {
			if in.form, err = readForm(w, r); err == nil && !tokenFits(in.form.Get("form"), cookie) {
				err = claviger.Errorf(claviger.KindDenied, "form_over", "This form belongs to another session. Open the page again and fill it in there.")
			}
			if err != nil {
				s.tell(w, r, in.frame, err)
				return
			}
		}
		h(w, r, in)
	})
}

// ask sends a person who is signed out, or half in, to the page that is next for them.
func (s *surface) ask(w http.ResponseWriter, r *http.Request, half bool) {
	to := signInPath
	if half {
		to += "/code"
	}
	next := "/console/"
	if r.Method == http.MethodGet {
		next = within(r.URL.RequestURI())
	}
	goTo(w, onward(to, next))
}

func (s *surface) frameOf(r *http.Request, in *authn.Seated, cookie string) frame {
	return frame{
		Brand: pagekit.BrandOf(s.core.Brand(r.Context(), in.User.Organization)), Form: formToken(cookie), Done: done(r.URL.Query().Get("done")),
		Person: &person{Tile: pagekit.TileOf(string(in.User.ID), in.User.Name), Name: in.User.Name, Email: in.User.Email, Role: string(in.User.Role), Audits: in.Caller.May(claviger.AuditRead)},
	}
}

// notice is a sentence and its colour.
type notice struct{ Tone, Text string }

// done answers what a form did that led to this page: one of few sentences, never text
// that an address could carry.
func done(code string) notice {
	tone := "good"
	if code == "failed" || code == "test-fault" {
		tone = ""
	} else if code == "waits" || code == "saved" || code == "skipped" || code == "disabled" {
		tone = "calm"
	}
	return notice{tone, map[string]string{
		"password":    "Your password was changed. You were signed out everywhere else.",
		"factor":      "Signing in asks for a code from now on.",
		"passkey":     "The passkey was added. You were signed out everywhere else.",
		"passkey-off": "The passkey was removed. Delete it on its device too.",
		"linked":      "You can sign in by your organization's provider from now on.",
		"unlinked":    "Your account at the provider opens nothing here any more.",
		"factor-off":  "Signing in asks for your password alone from now on.",
		"session":     "That browser was signed out.",
		"passed":      "The slot works: the system accepted its credential.",
		"failed":      "The slot was tried and does not work yet. Its card says why.",
		"skipped":     "Saved. The slot names no test endpoint, so its first call will be its test.",
		"waits":       "Saved. The slot waits for somebody to sign in at the system.",
		"saved":       "Saved. The slot is tried once all of its secrets are set.",
		"disabled":    "The connection was disabled. Nothing can use it until it is enabled again.",
		"enabled":     "The connection was enabled.",
		"connected":   "The account is connected.",
		"tested":      "The connection works.",
		"test-fault":  "The connection was tried and does not work.",
	}[code]}
}

// titled answers the frame of a page.
func (f frame) titled(place, title string) frame {
	f.Place, f.Title = place, title
	return f
}

func (s *surface) show(w http.ResponseWriter, status int, name string, data any) {
	pagekit.Write(w, s.log, s.pages, status, name, data)
}

// failure is the page of what went wrong.
type failure struct {
	frame
	Message, Code, Request, Back string
}

// tell answers the page of an error.
func (s *surface) tell(w http.ResponseWriter, r *http.Request, f frame, err error) {
	e := claviger.AsError(err)
	code := pagekit.Status(e.Kind)
	if code == http.StatusInternalServerError {
		s.log.ErrorContext(r.Context(), "a page failed", "request", wire.From(r).ID, "error", e.Error())
	}
	title := "This did not work"
	switch {
	case e.Code == "link_over":
		title = "This link is over"
	case e.Kind == claviger.KindNotFound:
		title = "There is nothing here"
	case e.Kind == claviger.KindDenied:
		title = "This is not allowed"
	}
	f.Done = notice{}
	w.Header().Set(wire.ErrorHeader, e.FineCode())
	s.show(w, code, "failed", failure{
		frame: f.titled(f.Place, title), Message: e.Message, Code: e.FineCode(), Request: wire.From(r).ID, Back: back(f.Person),
	})
}

func back(p *person) string {
	if p == nil {
		return signInPath
	}
	return "/console/"
}

// refused reports whether an error is one that the form itself shows, beside the field
// that it names.
func refused(err error) (*claviger.Error, bool) {
	e := claviger.AsError(err)
	return e, e != nil && (e.Kind == claviger.KindInvalid || e.Kind == claviger.KindRateLimited || e.Kind == claviger.KindUnauthenticated || e.Kind == claviger.KindConflict)
}

// functions are what templates use beside their data.
func functions() template.FuncMap {
	return template.FuncMap{"when": when, "words": words, "usage": usage, "tone": tone, "dict": dict, "proof": proof, "outcome": outcome}
}

// moment is a time as a page shows it: UTC in words until the script has put the person's
// own time there, and UTC on the pointer's rest.
type moment struct{ Machine, Text, UTC string }

func when(t time.Time) moment {
	if t.IsZero() {
		return moment{}
	}
	t = t.UTC()
	return moment{t.Format(time.RFC3339), t.Format("2 Jan 2006, 15:04") + " UTC", t.Format("2006-01-02 15:04:05") + " UTC"}
}

// words answers an identifier such as reauthorization_required as people read it.
func words(v any) string {
	text := ""
	switch x := v.(type) {
	case claviger.Status:
		text = string(x)
	case claviger.Health:
		text = string(x)
	case claviger.InboundStatus:
		text = string(x)
	case claviger.Role:
		text = string(x)
	case string:
		text = x
	}
	return strings.ReplaceAll(cmp.Or(text, "unknown"), "_", " ")
}

// proof answers how a person proved who they are, as the list of sessions has it.
func proof(kept string) string {
	first, second, _ := strings.Cut(kept, "+")
	how := map[string]string{
		"link": "a set-up link", "password": "password", claviger.ProofPasskey: "passkey", claviger.ProofSingleSignOn: "single sign-on",
		"totp": "authenticator app", "recovery": "recovery code",
	}
	if second == "" {
		return how[first]
	}
	return how[first] + " and " + how[second]
}

// outcome answers the colour of an entry's outcome.
func outcome(o claviger.Outcome) string {
	switch o {
	case claviger.OutcomeSucceeded:
		return "good"
	case claviger.OutcomeDenied, claviger.OutcomeFailed:
		return "bad"
	}
	return "calm"
}

// tone answers the colour of a status or a health.
func tone(v any) string {
	switch words(v) {
	case "healthy", "active", "processed":
		return "good"
	case "unhealthy", "reauthorization required", "failed":
		return "bad"
	}
	return "calm"
}

// usage answers what a slot of a usage is for.
func usage(u claviger.Usage) string {
	return map[claviger.Usage]string{
		claviger.UsageAPI:             "Calls and actions: what applications and agents call the system with.",
		claviger.UsageWebhookInbound:  "Webhooks from the system: proves that what arrives was sent by it.",
		claviger.UsageSyncExecution:   "Sync runs: what scheduled and triggered jobs read and write with.",
		claviger.UsageCallback:        "Callbacks to the system.",
		claviger.UsageMessageInbound:  "Messages that come in from the system.",
		claviger.UsageMessageOutbound: "Messages that go out to the system.",
		claviger.UsageProvisioning:    "Provisioning of accounts in the system.",
	}[u]
}

// dict hands two values to a template.
func dict(of, frame any) map[string]any { return map[string]any{"Of": of, "Frame": frame} }
