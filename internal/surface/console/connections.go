package console

import (
	"net/http"
	"net/url"

	"claviger"
	"claviger/internal/broker"
	"claviger/internal/surface/pagekit"
)

// connections is the list of connections, narrowed to what a person looks for.
type connections struct {
	frame
	Connections []connectionRow
	Search      string
	Health      claviger.Health
	Healths     []claviger.Health
	Narrowed    bool
	Next        string // address of the rest
}

type connectionRow struct {
	pagekit.Tile
	claviger.Connection
}

func (s *surface) connections(w http.ResponseWriter, r *http.Request, in *seat) {
	q := r.URL.Query()
	page := connections{
		frame: in.frame.titled("connections", "Connections"), Search: q.Get("search"), Health: claviger.Health(q.Get("health")),
		Healths: []claviger.Health{claviger.HealthHealthy, claviger.HealthUnhealthy, claviger.HealthUnknown},
	}
	page.Narrowed = page.Search != "" || page.Health != ""
	list, more, err := s.core.Connections(r.Context(), in.Caller, broker.ConnectionFilter{Search: page.Search, Health: page.Health}, broker.Page{After: q.Get("after"), Limit: pageSize})
	if err != nil {
		s.tell(w, r, in.frame, err)
		return
	}
	for i := range list {
		page.Connections = append(page.Connections, connectionRow{pagekit.TileOf(list[i].Connector, list[i].Connector), list[i]})
	}
	if more {
		q.Set("after", string(list[len(list)-1].ID))
		q.Del("done")
		page.Next = "/console/connections?" + q.Encode()
	}
	s.show(w, http.StatusOK, "connections", page)
}

// connection is the page of one connection.
type connection struct {
	frame
	connectionRow
	System   string // address of the card of the slot that it realises
	MayTest  bool
	Waits    bool // a person is to connect an account
	MayStop  bool
	MayStart bool
}

func (s *surface) connection(w http.ResponseWriter, r *http.Request, in *seat) {
	x, err := s.core.Connection(r.Context(), in.Caller, claviger.ConnectionID(r.PathValue("id")))
	if err != nil {
		s.tell(w, r, in.frame, err)
		return
	}
	page := connection{frame: in.frame.titled("connections", x.Name), connectionRow: connectionRow{pagekit.TileOf(x.Connector, x.Connector), x}}
	if x.Slot != "" {
		page.System = systemPath(x.Connector) + "?tab=authentication#slot-" + url.PathEscape(x.Slot)
	}
	ended := x.Status == claviger.StatusRevoked
	page.Waits = waits(&x) && in.Caller.May(claviger.ConnectionsUpdate)
	page.MayTest = in.Caller.May(claviger.ConnectionsTest) && x.Status != claviger.StatusPending && x.Status != claviger.StatusDisabled && !ended
	page.MayStop = in.Caller.May(claviger.ConnectionsDisable) && x.Status != claviger.StatusDisabled && !ended
	page.MayStart = in.Caller.May(claviger.ConnectionsEnable) && x.Status == claviger.StatusDisabled
	s.show(w, http.StatusOK, "connection", page)
}

func connectionPath(id string) string { return "/console/connections/" + url.PathEscape(id) }

// testConnection tries a connection; its health is what the try found.
func (s *surface) testConnection(w http.ResponseWriter, r *http.Request, in *seat) {
	report, err := s.core.TestConnection(r.Context(), in.Caller, claviger.ConnectionID(r.PathValue("id")))
	done := "tested"
	if report.Status != "passed" {
		done = "test-fault"
	}
	s.changed(w, r, in, err, done)
}

func (s *surface) disable(w http.ResponseWriter, r *http.Request, in *seat) {
	_, err := s.core.DisableConnection(r.Context(), in.Caller, claviger.ConnectionID(r.PathValue("id")))
	s.changed(w, r, in, err, "disabled")
}

func (s *surface) enable(w http.ResponseWriter, r *http.Request, in *seat) {
	_, err := s.core.EnableConnection(r.Context(), in.Caller, claviger.ConnectionID(r.PathValue("id")))
	s.changed(w, r, in, err, "enabled")
}

func (s *surface) changed(w http.ResponseWriter, r *http.Request, in *seat, err error, done string) {
	if err != nil {
		s.tell(w, r, in.frame, err)
		return
	}
	goTo(w, connectionPath(r.PathValue("id"))+"?done="+done)
}
