package console

import (
	"net/http"

	"claviger"
	"claviger/internal/broker"
)

// home is the page that says what needs attention.
type home struct {
	frame
	Needs  []need
	Empty  bool   // nothing was set up yet
	Origin string // of this server
	Counts counts
	Factor bool
}

// need is one thing to look after, the worst first.
type need struct {
	Tone, What, Why, Path, Do string
}

type counts struct{ Systems, Connections, Unhealthy int }

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
	page.Counts.Systems = len(list)
	for i := range list {
		if err := s.systemNeeds(r, in, &list[i], &page); err != nil {
			s.tell(w, r, in.frame, err)
			return
		}
	}
	page.Empty = len(list) == 0
	if !in.Factor {
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
