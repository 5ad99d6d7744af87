package console

import (
	"net/http"
	"net/url"

	"claviger"
	"claviger/internal/broker"
	"claviger/internal/surface/pagekit"
)

// waits reports whether a connection is of no use before a person has signed in at the
// vendor.
func waits(x *claviger.Connection) bool {
	return x.Status == claviger.StatusPending || x.Status == claviger.StatusReauthorize
}

// connect sends this browser to connect an account; it comes back to connectedPage.
func (s *surface) connect(w http.ResponseWriter, r *http.Request, in *seat) {
	id := r.PathValue("id")
	made, err := s.core.CreateConnectSession(r.Context(), in.Caller, broker.NewConnectSession{
		Connection: claviger.ConnectionID(id), User: claviger.EndUser{ID: in.User.Email, Name: in.User.Name, Email: in.User.Email},
		ReturnURL: s.origin + broker.ConnectedPath + url.PathEscape(id), Delivery: claviger.DeliverRedirect, Console: in.Session.ID,
	})
	if err != nil {
		s.tell(w, r, in.frame, err)
		return
	}
	goTo(w, pageOf(made))
}

// connected is the page to which a person comes back from the vendor.
type connected struct {
	frame
	Action, Session, Code string
}

// connectedPage finishes what this very session and browser began and took to the vendor
// and back. Of everybody else it asks for the last word and changes nothing: an address
// that somebody else made must not connect their account.
func (s *surface) connectedPage(w http.ResponseWriter, r *http.Request, in *seat) {
	q := r.URL.Query()
	conn, ok, err := s.core.FinishReturned(r.Context(), in.Caller, broker.Returned{
		Session: claviger.ConnectSessionID(q.Get("sessionId")), Code: q.Get("finishCode"),
		Console: in.Session.ID, Cookie: s.cookies.Get(r, pagekit.BrowserCookie),
	})
	if err != nil {
		s.tell(w, r, in.frame, err)
		return
	}
	if ok {
		goTo(w, connectionPath(string(conn.ID))+"?done=connected")
		return
	}
	s.show(w, http.StatusOK, "connected", connected{
		frame: in.frame.titled("connections", "Almost done"), Action: broker.ConnectedPath + url.PathEscape(r.PathValue("id")), Session: q.Get("sessionId"), Code: q.Get("finishCode"),
	})
}

// connected finishes what this person began.
func (s *surface) connected(w http.ResponseWriter, r *http.Request, in *seat) {
	conn, err := s.core.FinishConnect(r.Context(), in.Caller, broker.Finish{Session: claviger.ConnectSessionID(in.form.Get("session")), Code: in.form.Get("code")})
	if err != nil {
		s.tell(w, r, in.frame, err)
		return
	}
	goTo(w, connectionPath(string(conn.ID))+"?done=connected")
}
