package console

import (
	"net/http"
	"net/url"

	"claviger"
	"claviger/internal/authn"
)

// passkey is the page that asks the person's authenticator. Its script does the asking and
// then sends the page's form.
type passkey struct {
	frame
	Lead    string
	How     string // what the script calls: get or create
	Options string // what it hands over, as JSON
	Action  string // where the form goes
	Label   string // what the passkey will be called
	Back    string
}

// askFor shows the page, with the cookie by which this browser ends what it begins.
func (s *surface) askFor(w http.ResponseWriter, page passkey, asked authn.Asked) {
	s.begin(w, asked.Cookie)
	page.Options = asked.Options
	s.show(w, http.StatusOK, "passkey", page)
}

func (s *surface) beginPasskey(w http.ResponseWriter, r *http.Request) {
	form, ok := s.posted(w, r)
	if !ok {
		return
	}
	asked, err := s.people.BeginPasskey(r.Context(), within(form.Get("next")), s.visit(r))
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	s.askFor(w, passkey{
		frame: s.stranger("Use your passkey"), How: "get", Action: signInPath + "/passkey", Back: signInPath,
		Lead: "Your device asks for your finger, your face or its PIN.",
	}, asked)
}

func (s *surface) passkeySignIn(w http.ResponseWriter, r *http.Request) {
	form, ok := s.posted(w, r)
	if !ok {
		return
	}
	in, next, err := s.people.SignInWithPasskey(r.Context(), s.begun(w, r), form.Get("response"), s.visit(r))
	if err != nil {
		page := s.signInOf(r, "", next)
		s.again(w, r, &page.frame, err, func(status int) { s.show(w, status, "sign-in", page) })
		return
	}
	s.seat(w, in)
	goTo(w, within(next))
}

// beginSetUpPasskey is the set-up page's other way: a passkey in place of a password.
func (s *surface) beginSetUpPasskey(w http.ResponseWriter, r *http.Request) {
	s.settingUp(w, r, func(form url.Values, of authn.Setup) error {
		asked, err := s.people.BeginSetUpPasskey(r.Context(), r.PathValue("token"), authn.Chosen{Name: form.Get("name"), Email: form.Get("email")}, s.visit(r))
		if err != nil {
			return err
		}
		page := s.setupOf(r, of)
		s.askFor(w, passkey{
			frame: page.titled("", "Make your passkey"), How: "create", Action: page.Action + "/passkey", Back: page.Action,
			Lead: "Your device keeps it and asks for your finger, your face or its PIN whenever you sign in.",
		}, asked)
		return nil
	})
}

func (s *surface) setUpPasskey(w http.ResponseWriter, r *http.Request) {
	s.settingUp(w, r, func(form url.Values, _ authn.Setup) error {
		in, err := s.people.SetUpPasskey(r.Context(), r.PathValue("token"), s.begun(w, r), form.Get("response"), s.visit(r))
		if err != nil {
			return err
		}
		s.seat(w, in)
		goTo(w, "/console/")
		return nil
	})
}

func (s *surface) beginAddPasskey(w http.ResponseWriter, r *http.Request, in *seat) {
	label := in.form.Get("name")
	if _, _, err := authn.CanonicalName("name", label); err != nil {
		s.renewed(w, r, in, authn.SignedIn{}, claviger.Invalid("passkey", "invalid_name", "%s", claviger.AsError(err).Message), "")
		return
	}
	asked, err := s.people.BeginAddPasskey(r.Context(), in.Seated, s.visit(r))
	if err != nil {
		s.tell(w, r, in.frame, err)
		return
	}
	s.askFor(w, passkey{
		frame: in.frame.titled("account", "Make your passkey"), How: "create", Action: "/console/account/passkeys", Label: label, Back: accountPath,
		Lead: "Your device keeps it and asks for your finger, your face or its PIN whenever you sign in.",
	}, asked)
}

func (s *surface) addPasskey(w http.ResponseWriter, r *http.Request, in *seat) {
	out, err := s.people.AddPasskey(r.Context(), in.Seated, s.begun(w, r), in.form.Get("name"), in.form.Get("response"), s.visit(r))
	s.renewed(w, r, in, out, err, "passkey")
}

func (s *surface) removePasskey(w http.ResponseWriter, r *http.Request, in *seat) {
	out, err := s.people.RemovePasskey(r.Context(), in.Seated, claviger.PasskeyID(r.PathValue("id")), s.visit(r))
	s.renewed(w, r, in, out, err, "passkey-off")
}
