package connect

import (
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"claviger"
	"claviger/internal/broker"
	"claviger/internal/surface/pagekit"
	"claviger/internal/wire"
)

// maxForm bounds what a page sends.
const maxForm = 512 << 10

// The names of a form's inputs are these prefixes and a key.
const (
	credentialInput = "credential."
	settingInput    = "setting."
)

// session shows what may be connected. An address that names a connection instead of a
// session is where errors send people who have to connect again: only the application
// can give them a session, so the page says that and looks nothing up.
func (s *surface) session(w http.ResponseWriter, r *http.Request) {
	token := r.PathValue("token")
	if claviger.ValidID(claviger.PrefixConnection, token) {
		pagekit.Write(w, s.log, s.pages, http.StatusOK, "reconnect", frame{Title: "This connection must be connected again", Brand: pagekit.BrandOf(claviger.Branding{})})
		return
	}
	page, ok := s.open(w, r)
	if !ok {
		return
	}
	if len(page.Choices) == 1 {
		s.show(w, http.StatusOK, formOf(page, page.Choices[0], token, nil, nil))
		return
	}
	pagekit.Write(w, s.log, s.pages, http.StatusOK, "choose", choicesOf(page, token))
}

// open finds the session of a page and what it shows.
func (s *surface) open(w http.ResponseWriter, r *http.Request) (broker.ConnectPage, bool) {
	caller, err := s.sessions.AuthenticateConnect(r.Context(), r.PathValue("token"), wire.From(r))
	if err != nil {
		s.refuse(w, r, err)
		return broker.ConnectPage{}, false
	}
	page, err := s.core.ConnectPage(r.Context(), caller)
	if err != nil {
		s.fail(w, r, page.Brand, err)
		return page, false
	}
	return page, true
}

// form shows one way to connect.
func (s *surface) form(w http.ResponseWriter, r *http.Request) {
	page, ok := s.open(w, r)
	if !ok {
		return
	}
	choice, ok := choiceOf(page, r)
	if !ok {
		s.refuse(w, r, claviger.NotFound("page"))
		return
	}
	s.show(w, http.StatusOK, formOf(page, choice, r.PathValue("token"), nil, nil))
}

func (s *surface) show(w http.ResponseWriter, status int, f form) {
	pagekit.Write(w, s.log, s.pages, status, "form", f)
}

func choiceOf(page broker.ConnectPage, r *http.Request) (broker.ConnectChoice, bool) {
	for _, c := range page.Choices {
		if c.Connector.Key == r.PathValue("connector") && c.Method.Key == r.PathValue("method") {
			return c, true
		}
	}
	return broker.ConnectChoice{}, false
}

// submit takes a choice: it goes on to the vendor, or checks what was entered.
func (s *surface) submit(w http.ResponseWriter, r *http.Request) {
	page, ok := s.open(w, r)
	if !ok {
		return
	}
	choice, ok := choiceOf(page, r)
	if !ok {
		s.refuse(w, r, claviger.NotFound("page"))
		return
	}
	entered, form, err := readForm(w, r)
	if err != nil {
		s.fail(w, r, page.Brand, err)
		return
	}
	caller, err := s.sessions.AuthenticateConnect(r.Context(), r.PathValue("token"), wire.From(r))
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	a, err := s.core.Connect(r.Context(), caller, entered)
	switch e := claviger.AsError(err); {
	case e == nil && choice.Consents:
		w.Header().Set("Location", pagePath(r.PathValue("token"), "go", string(a.Flow.ID))+"/")
		w.WriteHeader(http.StatusSeeOther)
	case e == nil:
		s.arrive(w, r, a)
	case e.Kind == claviger.KindInvalid || e.Kind == claviger.KindConflict && e.Code != "session_ended":
		s.show(w, http.StatusUnprocessableEntity, formOf(page, choice, r.PathValue("token"), form, e))
	default:
		s.fail(w, r, page.Brand, err)
	}
}

// depart sends the browser on to the flow: a page of its own, because a form's answer
// may not lead to another site.
func (s *surface) depart(w http.ResponseWriter, r *http.Request) {
	page, ok := s.open(w, r)
	if !ok {
		return
	}
	flow := r.PathValue("flow")
	if !claviger.ValidID(claviger.PrefixFlow, flow) {
		s.refuse(w, r, claviger.NotFound("page"))
		return
	}
	w.Header().Set("Refresh", "0; url=/oauth/start/"+flow)
	pagekit.Write(w, s.log, s.pages, http.StatusOK, "depart", departure{frame: frame{Title: "One moment", Brand: pagekit.BrandOf(page.Brand)}, Start: "/oauth/start/" + flow})
}

// readForm reads a page's own form. Names that the page does not make are refused by
// the core, which knows the method's fields. It answers the form as it came, too.
func readForm(w http.ResponseWriter, r *http.Request) (broker.ConnectForm, url.Values, error) {
	in := broker.ConnectForm{
		Connector: r.PathValue("connector"), AuthMethod: r.PathValue("method"),
		Settings: map[string]string{}, Credentials: claviger.Credentials{},
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return in, nil, claviger.Errorf(claviger.KindUnreadable, "bad_form", "This is not the form of the page.")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if err != nil {
		return in, nil, claviger.Errorf(claviger.KindTooLarge, "form_too_large", "The form has at most %d KiB.", maxForm>>10)
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return in, nil, claviger.Errorf(claviger.KindUnreadable, "bad_form", "The form cannot be read.")
	}
	for name, values := range form {
		if len(values) != 1 {
			return in, nil, claviger.Errorf(claviger.KindUnreadable, "bad_form", "A field of the form stands twice.")
		}
		if values[0] == "" {
			continue
		}
		if key, ok := strings.CutPrefix(name, credentialInput); ok {
			in.Credentials[key] = claviger.NewSecretString(values[0])
		} else if key, ok := strings.CutPrefix(name, settingInput); ok {
			in.Settings[key] = values[0]
		} else {
			return in, nil, claviger.Errorf(claviger.KindUnreadable, "bad_form", "This is not the form of the page.")
		}
	}
	return in, form, nil
}

// check answers the page's script what is wrong with one field, as far as its form
// tells: {"message": ""} if nothing is.
func (s *surface) check(w http.ResponseWriter, r *http.Request) {
	caller, err := s.sessions.AuthenticateConnect(r.Context(), r.PathValue("token"), wire.From(r))
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	entered, _, err := readForm(w, r)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	message := ""
	switch e := claviger.AsError(s.core.CheckForm(r.Context(), caller, entered)); {
	case e == nil:
	case e.Kind == claviger.KindInvalid:
		message = plain(e)
	default:
		s.refuse(w, r, e)
		return
	}
	s.answer(w, r, map[string]string{"message": message})
}

// answer answers a page's script.
func (s *surface) answer(w http.ResponseWriter, r *http.Request, what any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(what); err != nil {
		s.log.DebugContext(r.Context(), "an answer to a page was not read", "error", err)
	}
}
