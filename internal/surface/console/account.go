package console

import (
	"net/http"
	"strings"

	"rsc.io/qr"

	"claviger"
	"claviger/internal/authn"
)

// account is a person's own page: how they sign in, and where they are signed in.
type account struct {
	frame
	Password bool
	Factor   bool
	Passkeys []claviger.Passkey
	Offered  bool // passkeys can be had here
	SignOn   bool // the organization has a provider
	Linked   bool
	Sessions []browser
	Wrong    map[string]string
}

type browser struct {
	claviger.Session
	Name string
	Here bool
}

// browserName answers what a person calls the browser that calls itself something longer:
// "Firefox on Windows". Browsers name their ancestors too, so the youngest is asked for
// first.
func browserName(agent string) string {
	first := func(names [][2]string, none string) string {
		for _, n := range names {
			if strings.Contains(agent, n[0]) {
				return n[1]
			}
		}
		return none
	}
	name := first([][2]string{{"Edg/", "Edge"}, {"OPR/", "Opera"}, {"Firefox/", "Firefox"}, {"Chrome/", "Chrome"}, {"CriOS/", "Chrome"}, {"Safari/", "Safari"}}, "A browser")
	system := first([][2]string{{"Windows", "Windows"}, {"iPhone", "an iPhone"}, {"iPad", "an iPad"}, {"Mac OS X", "a Mac"}, {"Android", "Android"}, {"CrOS", "ChromeOS"}, {"Linux", "Linux"}}, "")
	if system == "" {
		return name
	}
	return name + " on " + system
}

func (s *surface) account(w http.ResponseWriter, r *http.Request, in *seat) {
	s.showAccount(w, r, in, http.StatusOK, nil)
}

func (s *surface) showAccount(w http.ResponseWriter, r *http.Request, in *seat, status int, wrong map[string]string) {
	list, err := s.people.Sessions(r.Context(), in.Seated)
	if err != nil {
		s.tell(w, r, in.frame, err)
		return
	}
	page := account{frame: in.frame.titled("account", "Your account"), Password: in.Password, Factor: in.Factor, Offered: s.people.OffersPasskeys(), Wrong: wrong}
	if page.Passkeys, err = s.people.Passkeys(r.Context(), in.Seated); err == nil {
		page.Linked, err = s.people.Linked(r.Context(), in.Seated)
	}
	if err != nil {
		s.tell(w, r, in.frame, err)
		return
	}
	_, page.SignOn = s.core.OffersSignOn(r.Context(), in.User.Organization)
	for _, x := range list {
		if x.Stage == claviger.SessionProven {
			page.Sessions = append(page.Sessions, browser{x, browserName(x.Agent), x.ID == in.Session.ID})
		}
	}
	s.show(w, status, "account", page)
}

func (s *surface) changePassword(w http.ResponseWriter, r *http.Request, in *seat) {
	out, err := s.people.ChangePassword(r.Context(), in.Seated, claviger.NewSecretString(in.form.Get("password")), s.visit(r))
	s.renewed(w, r, in, out, err, "password")
}

func (s *surface) dropFactor(w http.ResponseWriter, r *http.Request, in *seat) {
	out, err := s.people.DropFactor(r.Context(), in.Seated, s.visit(r))
	s.renewed(w, r, in, out, err, "factor-off")
}

// renewed answers a change of how a person signs in, which gave them a new session.
func (s *surface) renewed(w http.ResponseWriter, r *http.Request, in *seat, out authn.SignedIn, err error, done string) {
	if err == nil {
		s.seat(w, out)
		goTo(w, accountPath+"?done="+done)
		return
	}
	s.again(w, r, &in.frame, err, func(status int) {
		wrong := map[string]string{}
		if e := claviger.AsError(err); e.Param != "" {
			wrong[e.Param] = e.Message
		}
		s.showAccount(w, r, in, status, wrong)
	})
}

func (s *surface) endSession(w http.ResponseWriter, r *http.Request, in *seat) {
	id := claviger.SessionID(r.PathValue("id"))
	if err := s.people.EndSession(r.Context(), in.Seated, id); err != nil {
		s.tell(w, r, in.frame, err)
		return
	}
	if id == in.Session.ID {
		s.unseat(w)
		goTo(w, signInPath)
		return
	}
	goTo(w, accountPath+"?done=session")
}

// factor is the page that adds an authenticator app.
type factor struct {
	frame
	First  bool // the person came from their set-up link and may do it later
	Secret string
	Size   int      // of the picture, in squares with its margin
	Dark   []square // of the picture
	Codes  []string // for recovery, once it was added
}

// square is a run of dark squares of a picture: where it begins and how long it is.
type square struct{ X, Y, Width int }

// quiet is the margin that a picture needs, in squares (ISO/IEC 18004, section 5.3.8).
const quiet = 4

// picture draws a text as a QR code.
func picture(text string) (size int, dark []square, err error) {
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		return 0, nil, err
	}
	for y := range code.Size {
		for x := 0; x < code.Size; x++ {
			begin := x
			for x < code.Size && code.Black(x, y) {
				x++
			}
			if x > begin {
				dark = append(dark, square{begin + quiet, y + quiet, x - begin})
			}
		}
	}
	return code.Size + 2*quiet, dark, nil
}

func (s *surface) factorPage(w http.ResponseWriter, r *http.Request, in *seat) {
	secret, uri, err := s.people.OfferFactor(in.Seated, s.issuer)
	if err != nil {
		s.tell(w, r, in.frame, err)
		return
	}
	s.showFactor(w, r, in, http.StatusOK, secret, uri)
}

func (s *surface) showFactor(w http.ResponseWriter, r *http.Request, in *seat, status int, secret, uri string) {
	page := factor{frame: in.frame.titled("account", "Add an authenticator app"), First: r.URL.Query().Get("first") == "yes", Secret: secret}
	var err error
	if page.Size, page.Dark, err = picture(uri); err != nil {
		s.tell(w, r, in.frame, err)
		return
	}
	s.show(w, status, "factor", page)
}

func (s *surface) addFactor(w http.ResponseWriter, r *http.Request, in *seat) {
	secret := in.form.Get("secret")
	codes, out, err := s.people.AddFactor(r.Context(), in.Seated, secret, in.form.Get("code"), s.visit(r))
	if err == nil {
		s.seat(w, out)
		in.frame.Form = formOf(out)
		s.show(w, http.StatusOK, "codes", factor{frame: in.frame.titled("account", "Keep your recovery codes"), Codes: codes})
		return
	}
	if e := claviger.AsError(err); e.Kind == claviger.KindInvalid && e.Param == "code" {
		s.again(w, r, &in.frame, err, func(status int) {
			s.showFactor(w, r, in, status, secret, s.people.FactorURI(in.Seated, s.issuer, secret))
		})
		return
	}
	s.tell(w, r, in.frame, err)
}
