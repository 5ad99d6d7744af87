package gate

import (
	"sync/atomic"
	"time"

	"claviger"
)

// Ticket is proof that a caller was admitted and that it is written down. Only the
// gate makes one; the zero Ticket proves nothing and every method of the vault
// refuses it.
type Ticket struct {
	gate     *Gate
	caller   claviger.Caller
	resource claviger.Resource
	entry    claviger.Entry
	also     []claviger.Entry
	began    time.Time
	begun    place // where "allowed" waits, in relaxed mode
	ended    atomic.Bool
}

// Ending says how an admitted call ended.
type Ending struct {
	Err        error // nil: succeeded
	StatusCode int   // the vendor's, or 0
	Host       string
	Action     string // replaces what the ticket was made with, where only the end knows it
	Note       string // a code for what deserves notice although it succeeded
}

// Valid reports whether the gate made the ticket and it has not ended.
func (t *Ticket) Valid() bool { return t != nil && t.gate != nil && !t.ended.Load() }

// Caller answers who was admitted.
func (t *Ticket) Caller() claviger.Caller { return t.caller }

// Resource answers what the caller was admitted to.
func (t *Ticket) Resource() claviger.Resource { return t.resource }

// Covers reports whether the ticket admits to this connection, so that one made for
// another cannot open it.
func (t *Ticket) Covers(organization claviger.OrganizationID, id claviger.ConnectionID) bool {
	return t.Valid() && t.resource.Organization == organization && t.resource.Connection == id
}

// Secrets answers the organization whose stored kv:// secrets the ticket admits to: it
// was made for a secret itself, or for a connection that may refer to some.
func (t *Ticket) Secrets() (organization claviger.OrganizationID, ok bool) {
	if !t.Valid() || t.resource.Type != "secret" && t.resource.Connection == "" {
		return "", false
	}
	return t.resource.Organization, true
}

// Keyset answers the organization whose encryption keys the ticket admits to.
func (t *Ticket) Keyset() (organization claviger.OrganizationID, ok bool) {
	if !t.Valid() || t.resource.Type != "keyset" {
		return "", false
	}
	return t.resource.Organization, true
}

// Name sets the facts that are known only inside a change, such as the id of what it
// created, before the entry is written.
func (t *Ticket) Name(r claviger.Resource) {
	t.resource = r
	t.entry.ResourceType, t.entry.ResourceID = r.Type, r.ID
	t.entry.Connection, t.entry.Connector, t.entry.Usage = r.Connection, r.Connector, r.Usage
}

// Also records that a change does the same to r: one more entry, in the change's own
// transaction. It is for changes of many things at once, each of which has its own
// history. The Ticket that it answers is for r alone and, like the change's own, serves
// within the change.
func (t *Ticket) Also(r claviger.Resource) *Ticket {
	e := t.gate.entry(t.caller, t.entry.Verb, r, t.began)
	e.Outcome = claviger.OutcomeSucceeded
	t.also = append(t.also, e)
	return &Ticket{gate: t.gate, caller: t.caller, resource: r, entry: e, began: t.began}
}

// Done records how the call ended; the first call counts, later ones do nothing. It
// never fails towards the caller: the entry stays queued until it can be written,
// and while it cannot the gate admits nobody else.
func (t *Ticket) Done(e Ending) {
	if t == nil || t.gate == nil || t.ended.Swap(true) {
		return
	}
	now := t.gate.now()
	t.entry.ID = t.gate.entryID(now)
	t.entry.Time = now
	t.entry.Duration = now.Sub(t.began)
	t.entry.StatusCode = e.StatusCode
	if e.Host != "" {
		t.entry.Host = e.Host
	}
	if e.Action != "" {
		t.entry.Action = e.Action
	}
	t.entry.Outcome, t.entry.Code = claviger.OutcomeSucceeded, e.Note
	if e.Err != nil {
		t.entry.Outcome = claviger.OutcomeFailed
		t.entry.Code = claviger.AsError(e.Err).FineCode()
	}
	t.gate.calls.finish(&t.entry, t.begun)
}
