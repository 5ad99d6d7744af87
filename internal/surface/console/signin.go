package console

import (
	"cmp"
	"net/http"
	"net/url"

	"claviger"
	"claviger/internal/authn"
	"claviger/internal/broker"
	"claviger/internal/surface/pagekit"
	"claviger/internal/wire"
)

// signIn is the page that asks who a person is.
type signIn struct {
	frame
	Email, Next  string
	Passkeys     bool
	SignOn       string // where the form of single sign-on goes; empty without
	Organization string // that the address names
}

func (s *surface) signInOf(r *http.Request, organization, next string) signIn {
	page := signIn{frame: s.stranger("Sign in"), Next: within(next), Passkeys: s.people.OffersPasskeys(), Organization: organization}
	at := claviger.OrganizationID(cmp.Or(organization, s.cookies.Get(r, atCookie)))
	id, ok := s.core.OffersSignOn(r.Context(), at)
	if !ok && organization == "" { // what the browser remembers is over
		id, ok = s.core.OffersSignOn(r.Context(), "")
	}
	if ok {
		page.SignOn = broker.SignOnPath + string(id)
		page.Brand = pagekit.BrandOf(s.core.Brand(r.Context(), id))
	}
	return page
}

func (s *surface) stranger(title string) frame {
	return frame{Title: title, Brand: pagekit.BrandOf(claviger.Branding{})}
}

// unsafe refuses to take a password over a connection that others can read.
func (s *surface) unsafe(w http.ResponseWriter, r *http.Request) bool {
	if s.plain {
		s.refuse(w, r, claviger.Errorf(claviger.KindUnavailable, "public_url_insecure",
			"Nobody can sign in over plain http. The operator sets public.url to an https address."))
	}
	return s.plain
}

// posted reads a form of somebody who is not signed in. Otherwise it has answered already.
func (s *surface) posted(w http.ResponseWriter, r *http.Request) (url.Values, bool) {
	if s.unsafe(w, r) {
		return nil, false
	}
	form, err := readForm(w, r)
	if err != nil {
		s.refuse(w, r, err)
	}
	return form, err == nil
}

func (s *surface) signInPage(w http.ResponseWriter, r *http.Request) {
	if s.unsafe(w, r) {
		return
	}
	next := within(r.URL.Query().Get("next"))
	if _, err := s.people.AuthenticateSession(r.Context(), s.cookie(r), wire.From(r)); err == nil {
		goTo(w, next)
		return
	}
	s.show(w, http.StatusOK, "sign-in", s.signInOf(r, r.URL.Query().Get("organization"), next))
}

func (s *surface) signIn(w http.ResponseWriter, r *http.Request) {
	form, ok := s.posted(w, r)
	if !ok {
		return
	}
	next := within(form.Get("next"))
	in, err := s.people.SignIn(r.Context(), form.Get("email"), claviger.NewSecretString(form.Get("password")), s.visit(r))
	if err != nil {
		page := s.signInOf(r, form.Get("organization"), next)
		page.Email = form.Get("email")
		s.again(w, r, &page.frame, err, func(status int) { s.show(w, status, "sign-in", page) })
		return
	}
	s.seat(w, in)
	if in.Session.Stage == claviger.SessionHalf {
		goTo(w, onward(signInPath+"/code", next))
		return
	}
	goTo(w, next)
}

// again shows a form again with what was wrong, or the page of an error that is not the
// form's.
func (s *surface) again(w http.ResponseWriter, r *http.Request, f *frame, err error, show func(status int)) {
	e, own := refused(err)
	if !own {
		s.tell(w, r, *f, err)
		return
	}
	f.Faulty, f.Notice, f.Done = true, e.Message, notice{}
	w.Header().Set(wire.ErrorHeader, e.FineCode())
	status := pagekit.Status(e.Kind)
	if e.Kind == claviger.KindUnauthenticated {
		status = http.StatusUnprocessableEntity // the page is there; what was entered is wrong
	}
	show(status)
}

func (s *surface) codeOf(r *http.Request, next string) signIn {
	page := signIn{frame: s.stranger("Enter your code"), Next: within(next)}
	page.Form = formToken(s.cookie(r))
	return page
}

// codePage asks for the second factor.
func (s *surface) codePage(w http.ResponseWriter, r *http.Request) {
	_, err := s.people.AuthenticateSession(r.Context(), s.cookie(r), wire.From(r))
	if e := claviger.AsError(err); e == nil || e.Code != "second_factor_required" {
		goTo(w, onward(signInPath, within(r.URL.Query().Get("next"))))
		return
	}
	s.show(w, http.StatusOK, "code", s.codeOf(r, r.URL.Query().Get("next")))
}

func (s *surface) code(w http.ResponseWriter, r *http.Request) {
	form, err := readForm(w, r)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	visit := s.visit(r)
	if !tokenFits(form.Get("form"), visit.Cookie) {
		s.refuse(w, r, claviger.Errorf(claviger.KindDenied, "form_over", "This form belongs to another session. Sign in again."))
		return
	}
	in, err := s.people.SecondFactor(r.Context(), form.Get("code"), visit)
	if e := claviger.AsError(err); e != nil && e.Code == "signed_out" {
		goTo(w, signInPath)
		return
	}
	if err != nil {
		page := s.codeOf(r, form.Get("next"))
		s.again(w, r, &page.frame, err, func(status int) { s.show(w, status, "code", page) })
		return
	}
	s.seat(w, in)
	goTo(w, within(form.Get("next")))
}

func (s *surface) signOut(w http.ResponseWriter, r *http.Request, in *seat) {
	if err := s.people.EndSession(r.Context(), in.Seated, in.Session.ID); err != nil && !claviger.IsKind(err, claviger.KindNotFound) {
		s.tell(w, r, in.frame, err)
		return
	}
	s.unseat(w)
	w.Header().Set("Clear-Site-Data", `"cache"`)
	goTo(w, signInPath)
}

// setup is the page of a link by which a person chooses how to sign in.
type setup struct {
	frame
	Action, Name, Email string
	Unnamed, Passkeys   bool
	Wrong               map[string]string // by field
}

func (s *surface) setupOf(r *http.Request, of authn.Setup) setup {
	page := setup{frame: s.stranger("Choose how you sign in"), Action: SetupPath + r.PathValue("token"), Unnamed: of.Unnamed, Passkeys: s.people.OffersPasskeys(), Wrong: map[string]string{}}
	page.Brand = pagekit.BrandOf(s.core.Brand(r.Context(), of.User.Organization))
	if !of.Unnamed {
		page.Name, page.Email = of.User.Name, of.User.Email
	}
	return page
}

func (s *surface) setupPage(w http.ResponseWriter, r *http.Request) {
	if s.unsafe(w, r) {
		return
	}
	of, err := s.people.Setup(r.Context(), r.PathValue("token"), wire.From(r))
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	s.show(w, http.StatusOK, "setup", s.setupOf(r, of))
}

func (s *surface) setup(w http.ResponseWriter, r *http.Request) {
	s.settingUp(w, r, func(form url.Values, _ authn.Setup) error {
		in, err := s.people.SetUp(r.Context(), r.PathValue("token"), authn.Chosen{
			Name: form.Get("name"), Email: form.Get("email"), Password: claviger.NewSecretString(form.Get("password")),
		}, s.visit(r))
		if err != nil {
			return err
		}
		s.seat(w, in)
		goTo(w, "/console/account/factor?first=yes")
		return nil
	})
}

// settingUp reads the form of a link's page and shows the page again with what choose finds
// wrong; without a fault, choose has answered.
func (s *surface) settingUp(w http.ResponseWriter, r *http.Request, choose func(form url.Values, of authn.Setup) error) {
	form, ok := s.posted(w, r)
	if !ok {
		return
	}
	of, err := s.people.Setup(r.Context(), r.PathValue("token"), wire.From(r))
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	if err = choose(form, of); err == nil {
		return
	}
	page := s.setupOf(r, of)
	if page.Unnamed {
		page.Name, page.Email = form.Get("name"), form.Get("email")
	}
	if e := claviger.AsError(err); e.Kind == claviger.KindInvalid {
		page.Wrong[e.Param] = e.Message
	}
	s.again(w, r, &page.frame, err, func(status int) { s.show(w, status, "setup", page) })
}
