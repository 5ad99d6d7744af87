package console

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"claviger"
	"claviger/internal/broker"
	"claviger/internal/surface/pagekit"
)

// pageSize is how many rows a list shows at once.
const pageSize = 50

// shownDeliveries is how many of a webhook's deliveries a card shows.
const shownDeliveries = 5

// systems is the list of connected systems.
type systems struct {
	frame
	Systems []systemRow
	Next    string // address of the rest
}

type systemRow struct {
	pagekit.Tile
	claviger.System
	Path            string
	Slots           int
	Healthy, Failed int
	Missing         int // secrets without a value
}

func (s *surface) systems(w http.ResponseWriter, r *http.Request, in *seat) {
	page := systems{frame: in.frame.titled("systems", "Systems")}
	list, more, err := s.core.Systems(r.Context(), in.Caller, broker.Page{After: r.URL.Query().Get("after"), Limit: pageSize})
	if err != nil {
		s.tell(w, r, in.frame, err)
		return
	}
	for _, x := range list {
		row, err := s.systemRow(r, in, x)
		if err != nil {
			s.tell(w, r, in.frame, err)
			return
		}
		page.Systems = append(page.Systems, row)
	}
	if more {
		page.Next = "/console/systems?" + url.Values{"after": {list[len(list)-1].Key}}.Encode()
	}
	s.show(w, http.StatusOK, "systems", page)
}

func systemPath(key string) string { return "/console/systems/" + url.PathEscape(key) }

func (s *surface) systemRow(r *http.Request, in *seat, x claviger.System) (systemRow, error) {
	row := systemRow{Tile: pagekit.TileOf(x.Key, x.DisplayName), System: x, Path: systemPath(x.Key)}
	slots, err := s.core.SystemSlots(r.Context(), in.Caller, x.Key)
	row.Slots = len(slots)
	for i := range slots {
		switch c := card(&slots[i]); {
		case c.Missing > 0:
			row.Missing += c.Missing
		case c.Health == claviger.HealthHealthy:
			row.Healthy++
		case c.Health == claviger.HealthUnhealthy:
			row.Failed++
		}
	}
	return row, err
}

// system is the page of one system.
type system struct {
	frame
	pagekit.Tile
	claviger.System
	Path    string
	Tab     string // overview or authentication
	Slots   []slot
	Sources []source
	Webhook string
}

// source is one of the system's data sources, as its manifest says.
type source struct {
	Key         string `json:"key"`
	DisplayName string `json:"displayName"`
	Entity      string `json:"entityType"`
}

// slot is the card of one slot.
type slot struct {
	frame
	claviger.Slot
	Path       string // of the system
	Health     claviger.Health
	Connection *claviger.Connection
	Secrets    []secret
	Missing    int // secrets without a value
	Webhook    string
	Waits      bool                    // a person is to connect an account
	Deliveries []claviger.InboundEvent // the newest, of a webhook slot
	Wrong      string                  // what was wrong with the form
}

// secret is what a card shows of a value: whether there is one, and since when.
type secret struct {
	broker.SlotSecret
	ID, Label string
	Wrong     string
}

// card answers what a page shows of a slot.
func card(x *broker.SlotState) slot {
	out := slot{Slot: x.Slot, Health: claviger.HealthUnknown, Connection: x.Connection, Webhook: x.WebhookURL}
	if x.Connection != nil {
		out.Health, out.Waits = x.Connection.Health, waits(x.Connection)
	}
	for _, one := range x.Secrets {
		if !one.HasValue {
			out.Missing++
		}
		out.Secrets = append(out.Secrets, secret{SlotSecret: one, ID: "slot-" + x.Slot.Key + "-" + one.Name, Label: spell(one.Name)})
	}
	return out
}

// spell answers the name of a manifest's field, clientSecret, as people read it.
func spell(name string) string {
	var b strings.Builder
	for i, r := range name {
		switch {
		case r >= 'A' && r <= 'Z':
			b.WriteByte(' ')
			b.WriteRune(r + 'a' - 'A')
		case i == 0 && r >= 'a' && r <= 'z':
			b.WriteRune(r + 'A' - 'a')
		default:
			b.WriteRune(r)
		}
	}
	text := strings.NewReplacer("Api ", "API ", " url", " URL").Replace(b.String())
	if strings.HasSuffix(text, " id") {
		text = strings.TrimSuffix(text, "id") + "ID"
	}
	return text
}

func (s *surface) system(w http.ResponseWriter, r *http.Request, in *seat) {
	s.showSystem(w, r, in, http.StatusOK, nil)
}

// showSystem shows a system, with what is wrong with the form of a slot.
func (s *surface) showSystem(w http.ResponseWriter, r *http.Request, in *seat, status int, wrong *claviger.Error) {
	key := r.PathValue("key")
	shown, err := s.core.System(r.Context(), in.Caller, key, 0)
	if err != nil {
		s.tell(w, r, in.frame, err)
		return
	}
	slots, err := s.core.SystemSlots(r.Context(), in.Caller, key)
	if err != nil {
		s.tell(w, r, in.frame, err)
		return
	}
	page := system{
		frame: in.frame.titled("systems", shown.System.DisplayName), Tile: pagekit.TileOf(key, shown.System.DisplayName),
		System: shown.System, Path: systemPath(key), Tab: "overview", Webhook: s.core.WebhookURL(&shown.System),
	}
	if r.URL.Query().Get("tab") == "authentication" || r.Method == http.MethodPost {
		page.Tab = "authentication"
	}
	for i := range slots {
		c := card(&slots[i])
		c.frame, c.Path = in.frame, page.Path
		if c.Webhook != "" && in.Caller.May(claviger.EventsRead) {
			c.Deliveries, _, err = s.core.InboundEvents(r.Context(), in.Caller, broker.InboundFilter{System: key}, broker.Page{Limit: shownDeliveries})
			if err != nil {
				s.tell(w, r, in.frame, err)
				return
			}
		}
		if wrong != nil && c.Key == r.PathValue("slot") {
			c.blame(wrong)
		}
		page.Slots = append(page.Slots, c)
	}
	for _, raw := range shown.DataSources {
		var one source
		if json.Unmarshal(raw, &one) == nil { // it was checked when it was uploaded
			page.Sources = append(page.Sources, one)
		}
	}
	s.show(w, status, "system", page)
}

// blame puts an error beside the field that it names, else on the card.
func (c *slot) blame(e *claviger.Error) {
	for i := range c.Secrets {
		if name := c.Secrets[i].Name; e.Param == "values."+name {
			c.Secrets[i].Wrong = e.Message
			return
		}
	}
	c.Wrong = e.Message
}

// valueInput begins the names of a card's inputs; a field's name follows.
const valueInput = "value."

// give stores what a card's form has and tries the slot. What is left empty stays as it is.
func (s *surface) give(w http.ResponseWriter, r *http.Request, in *seat) {
	values := claviger.Credentials{}
	for name, given := range in.form {
		if field, ok := strings.CutPrefix(name, valueInput); ok && len(given) == 1 && given[0] != "" {
			values[field] = claviger.NewSecretString(given[0])
		}
	}
	if len(values) == 0 {
		in.frame.Faulty = true
		s.showSystem(w, r, in, http.StatusUnprocessableEntity, claviger.Errorf(claviger.KindInvalid, "required", "Enter at least one value. What you leave empty stays as it is."))
		return
	}
	report, err := s.core.GiveSlot(r.Context(), in.Caller, r.PathValue("key"), r.PathValue("slot"), values)
	s.tried(w, r, in, report, err)
}

func (s *surface) testSlot(w http.ResponseWriter, r *http.Request, in *seat) {
	report, err := s.core.TestSlot(r.Context(), in.Caller, r.PathValue("key"), r.PathValue("slot"))
	s.tried(w, r, in, report, err)
}

// tried leads back to the card, whose health is what the try found.
func (s *surface) tried(w http.ResponseWriter, r *http.Request, in *seat, report broker.SlotReport, err error) {
	if e, own := refused(err); own {
		in.frame.Faulty = true
		s.showSystem(w, r, in, pagekit.Status(e.Kind), e)
		return
	}
	if err != nil {
		s.tell(w, r, in.frame, err)
		return
	}
	done := report.Status
	switch report.Code {
	case "secret_missing":
		done = "saved"
	case "connection_pending":
		done = "waits"
	}
	goTo(w, systemPath(r.PathValue("key"))+"?"+url.Values{"tab": {"authentication"}, "done": {done}}.Encode()+"#slot-"+url.PathEscape(r.PathValue("slot")))
}
