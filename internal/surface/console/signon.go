package console

import (
	"net/http"

	"claviger"
	"claviger/internal/authn"
	"claviger/internal/broker"
	"claviger/internal/wire"
)

// leaving is the page from which a browser goes on to its organization's provider.
type leaving struct {
	frame
	Onward string
}

func (s *surface) beginSignOn(w http.ResponseWriter, r *http.Request) {
	form, ok := s.posted(w, r)
	if !ok {
		return
	}
	s.leave(w, r, s.stranger("You go on to your provider"), authn.SignOn{
		Organization: claviger.OrganizationID(r.PathValue("organization")), Next: within(form.Get("next")),
	})
}

// linkSignOn lets a person who is signed in add their account at the provider.
func (s *surface) linkSignOn(w http.ResponseWriter, r *http.Request, in *seat) {
	s.leave(w, r, in.frame.titled("account", "You go on to your provider"), authn.SignOn{
		Organization: in.User.Organization, Link: in.User.ID, Next: accountPath + "?done=linked",
	})
}

// leave sends a browser to a provider. A form's answer may lead nowhere but to this server,
// so a page of its own leads there.
func (s *surface) leave(w http.ResponseWriter, r *http.Request, f frame, what authn.SignOn) {
	if _, ok := s.core.OffersSignOn(r.Context(), what.Organization); !ok {
		s.tell(w, r, f, claviger.NotFound("page"))
		return
	}
	cookie, keys, err := s.people.BeginSignOn(r.Context(), what, s.visit(r))
	var onward string
	if err == nil {
		onward, err = s.core.SignOnAddress(r.Context(), what.Organization, broker.SignOnKeys(keys))
	}
	if err != nil {
		s.tell(w, r, f, err)
		return
	}
	s.begin(w, cookie)
	w.Header().Set("Refresh", "0; url="+onward)
	s.show(w, http.StatusOK, "leaving", leaving{f, onward})
}

// signOnBack is where the provider sends the browser back to. What began in this very
// browser ends in it, once: an address that somebody else made opens nothing.
func (s *surface) signOnBack(w http.ResponseWriter, r *http.Request) {
	if s.unsafe(w, r) {
		return
	}
	f := s.stranger("Sign in")
	if r.Method != http.MethodGet { // a browser's look ahead must not use it up
		s.tell(w, r, f, claviger.Errorf(claviger.KindUnreadable, "invalid_callback", "This address is opened by a browser."))
		return
	}
	what, keys, err := s.people.EndSignOn(r.Context(), s.begun(w, r))
	organization := claviger.OrganizationID(r.PathValue("organization"))
	if err == nil && what.Organization != organization {
		err = claviger.Errorf(claviger.KindUnreadable, "invalid_callback", "This is the answer of another organization's provider. Start again.")
	}
	var who claviger.Identity
	if err == nil {
		who, err = s.core.SignOnIdentity(r.Context(), organization, broker.SignOnKeys(keys), r.Method, r.URL.RawQuery, wire.From(r))
	}
	if err != nil {
		s.tell(w, r, f, err)
		return
	}
	var in authn.SignedIn
	if what.Link == "" {
		in, err = s.people.SignInByProvider(r.Context(), who, s.visit(r))
	} else {
		in, err = s.link(r, what.Link, who)
	}
	if err != nil {
		s.tell(w, r, f, err)
		return
	}
	s.seat(w, in)
	s.remember(w, organization)
	goTo(w, within(what.Next))
}

// link adds an identity to the person who is signed in, if it was they who began.
func (s *surface) link(r *http.Request, began claviger.UserID, who claviger.Identity) (authn.SignedIn, error) {
	in, err := s.people.AuthenticateSession(r.Context(), s.cookie(r), wire.From(r))
	if err == nil && in.User.ID != began {
		err = claviger.Errorf(claviger.KindConflict, "signed_in_otherwise", "Somebody else is signed in by now. Start again.")
	}
	if err != nil {
		return authn.SignedIn{}, err
	}
	return s.people.LinkProvider(r.Context(), in, who, s.visit(r))
}

func (s *surface) unlinkSignOn(w http.ResponseWriter, r *http.Request, in *seat) {
	out, err := s.people.UnlinkProvider(r.Context(), in.Seated, s.visit(r))
	s.renewed(w, r, in, out, err, "unlinked")
}
