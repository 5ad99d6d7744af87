package console

import (
	"net/http"

	"claviger"
	"claviger/internal/broker"
)

// cli is the page by which a person lets a command line in.
type cli struct {
	frame
	Code    string // that the person types
	Asked   *claviger.Login
	Host    string // what the machine calls itself
	Grant   broker.LoginGrant
	Onward  string // where the browser goes with the answer
	Allowed bool
}

// cliPage asks for the code that a command line shows. An address may carry it: the person
// still sees whose it is before anything is decided.
func (s *surface) cliPage(w http.ResponseWriter, r *http.Request, in *seat) {
	s.show(w, http.StatusOK, "cli", cli{frame: in.frame.titled("account", "Let a command line in"), Code: r.URL.Query().Get("code")})
}

// decideCLI shows whose code was typed, and then takes the decision.
func (s *surface) decideCLI(w http.ResponseWriter, r *http.Request, in *seat) {
	page := cli{frame: in.frame.titled("account", "Let a command line in"), Code: in.form.Get("code")}
	decision := in.form.Get("decision")
	var login claviger.Login
	var err error
	if decision == "" {
		login, err = s.core.LoginAsked(r.Context(), in.Caller, page.Code)
	} else {
		login, err = s.core.ApproveCLI(r.Context(), in.Caller, page.Code, decision == "allow")
	}
	if claviger.IsKind(err, claviger.KindNotFound) {
		err = claviger.Invalid("code", "unknown_code", "No command line waits for this code. Codes are good for ten minutes.")
	}
	if err != nil {
		s.again(w, r, &page.frame, err, func(status int) { s.show(w, status, "cli", page) })
		return
	}
	page.Asked, page.Host, page.Allowed = &login, login.Host, login.Status == claviger.LoginApproved
	if decision == "" {
		s.show(w, http.StatusOK, "cli-asked", page)
		return
	}
	s.show(w, http.StatusOK, "cli-decided", page)
}

// grantOf reads what a command line asks for in its address, and in the form made of it.
func grantOf(get func(string) string) broker.LoginGrant {
	return broker.LoginGrant{Host: get("host"), Challenge: get("code_challenge"), ReturnTo: get("redirect_uri"), State: get("state")}
}

// authorizeCLI asks whether the command line that opened this browser may come in.
func (s *surface) authorizeCLI(w http.ResponseWriter, r *http.Request, in *seat) {
	q := r.URL.Query()
	if q.Get("code_challenge_method") != "S256" {
		s.tell(w, r, in.frame, claviger.Invalid("code_challenge_method", "invalid_format", "This address is not one that claviger login opens. Run it again."))
		return
	}
	page := cli{frame: in.frame.titled("account", "Let a command line in"), Grant: grantOf(q.Get)}
	page.Host = page.Grant.Host
	s.show(w, http.StatusOK, "cli-authorize", page)
}

// grantCLI sends the browser back to the command line with the person's answer. A form's
// answer may lead nowhere but to this server, so a page of its own leads there.
func (s *surface) grantCLI(w http.ResponseWriter, r *http.Request, in *seat) {
	page := cli{frame: in.frame.titled("account", "Let a command line in"), Grant: grantOf(in.form.Get), Allowed: in.form.Get("decision") == "allow"}
	page.Host = page.Grant.Host
	var err error
	if page.Allowed {
		page.Onward, err = s.core.GrantCLI(r.Context(), in.Caller, page.Grant)
	} else {
		page.Onward, err = s.core.RefuseCLI(r.Context(), in.Caller, page.Grant)
	}
	if err != nil {
		s.tell(w, r, in.frame, err)
		return
	}
	w.Header().Set("Refresh", "0; url="+page.Onward)
	s.show(w, http.StatusOK, "cli-decided", page)
}
