package console

import (
	"net/http"
	"strings"
	"time"

	"claviger"
	"claviger/internal/broker"
)

// home is the page that says what needs attention.
type home struct {
	frame
	Needs  []need
	Empty  bool   // nothing was set up yet
	Origin string // of this server
	Factor bool
}

// soon is how long before something ends the page says so.
const soon = 14 * 24 * time.Hour

// maxNeeds bounds how many connections the page names; the list has the others.
const maxNeeds = 20

// need is one thing to look after, the worst first.
type need struct {
	Tone, What, Why, Path, Do string
}

func (s *surface) home(w http.ResponseWriter, r *http.Request, in *seat) {
	page := home{frame: in.frame.titled("home", "Home"), Factor: in.Factor, Origin: s.origin}
	var list []claviger.System
	var err error
	if in.Caller.May(claviger.SystemsRead) {
		list, _, err = s.core.Systems(r.Context(), in.Caller, broker.Page{Limit: pageSize})
	}
	if err != nil {
		s.tell(w, r, in.frame, err)
		return
	}
	for i := range list {
		if err := s.systemNeeds(r, in, &list[i], &page); err != nil {
			s.tell(w, r, in.frame, err)
			return
		}
	}
	err = s.connectionNeeds(r, in, &page)
	if err == nil {
		err = s.endings(r, in, &page)
	}
	if err != nil {
		s.tell(w, r, in.frame, err)
		return
	}
	page.Empty = len(list) == 0 && in.Caller.May(claviger.SystemsWrite)
	if in.Password && !in.Factor {
		page.Needs = append(page.Needs, need{
			"calm", "Your sign-in asks for a password alone", "A second factor keeps a stolen password from being enough.", "/console/account", "Add an authenticator app",
		})
	}
	s.show(w, http.StatusOK, "home", page)
}

// systemNeeds adds what a system's slots need.
func (s *surface) systemNeeds(r *http.Request, in *seat, x *claviger.System, page *home) error {
	slots, err := s.core.SystemSlots(r.Context(), in.Caller, x.Key)
	if err != nil {
		return err
	}
	path := systemPath(x.Key) + "?tab=authentication"
	for i := range slots {
		c := card(&slots[i])
		name := x.DisplayName + ", slot " + c.Key
		switch {
		case c.Missing > 0:
			page.Needs = append(page.Needs, need{"bad", name + " waits for its secrets", "Nothing can use it before each of them has a value.", path, "Set them"})
		case c.Waits:
			page.Needs = append(page.Needs, need{"bad", name + " waits for somebody to sign in", "Its secrets are set; the system asks a person which account to use.", path, "Connect an account"})
		case c.Health == claviger.HealthUnhealthy:
			why := "Its last check failed."
			if c.Connection != nil && c.Connection.LastError != nil {
				why = c.Connection.LastError.Message
			}
			page.Needs = append(page.Needs, need{"bad", name + " does not work", why, path, "Look at it"})
		}
	}
	return nil
}

// endings adds what ends soon and does not renew itself.
func (s *surface) endings(r *http.Request, in *seat, page *home) error {
	list, err := s.core.Expirations(r.Context(), in.Caller, broker.ConnectionFilter{})
	if err != nil {
		return err
	}
	shown := 0
	for _, x := range list {
		if x.Renews || x.At.Sub(s.now()) > soon || shown == maxNeeds {
			continue
		}
		shown++
		page.Needs = append(page.Needs, need{
			"calm", x.Connection.Name + " is about to end", "Its " + ending(x.Kind) + " ends on " + when(x.At).Text + ".", connectionPath(string(x.Connection.ID)), "Look at it",
		})
	}
	return nil
}

// ending answers what of a connection ends.
func ending(kind string) string {
	if kind == broker.ExpiresIdle {
		return "refresh token, if nothing uses it,"
	}
	return strings.ToLower(spell(kind))
}

// connectionNeeds adds the connections of no slot that do not work.
func (s *surface) connectionNeeds(r *http.Request, in *seat, page *home) error {
	for _, f := range []broker.ConnectionFilter{{Status: claviger.StatusReauthorize}, {Health: claviger.HealthUnhealthy, Status: claviger.StatusActive}} {
		list, _, err := s.core.Connections(r.Context(), in.Caller, f, broker.Page{Limit: maxNeeds})
		if err != nil {
			return err
		}
		for i := range list {
			x := &list[i]
			if x.Slot != "" {
				continue
			}
			why := "Its last check failed."
			if x.LastError != nil {
				why = x.LastError.Message
			}
			page.Needs = append(page.Needs, need{"bad", x.Name + " does not work", why, connectionPath(string(x.ID)), "Look at it"})
		}
	}
	return nil
}
