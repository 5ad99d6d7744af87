package claviger

import (
	"net/netip"
	"time"
)

// CallerKind is the kind of token, or of cause, behind a request.
type CallerKind string

// The kinds of caller.
const (
	CallerOperator CallerKind = "operator" // short-lived JWT minted from an application's client id and secret
	CallerScoped   CallerKind = "scoped"   // short-lived JWT for one workspace
	CallerWidget   CallerKind = "widget"   // short-lived JWT for one workspace and one origin
	CallerAPIKey   CallerKind = "api_key"  // clv_key_...
	CallerSession  CallerKind = "session"  // browser session of the console
	CallerSystem   CallerKind = "system"   // claviger itself: jobs and set-up
	CallerNobody   CallerKind = "nobody"   // a request whose token was refused; only the ledger sees it
)

// Caller is who asks. Package authn makes callers, and nobody else: a caller is
// passed as an argument to every operation of the core, never fished from a
// context.
type Caller struct {
	Kind        CallerKind
	ID          string // of the key (key_...), application (app_...), token or user
	Scope       Scope
	Permissions Permissions
	User        UserID // the person behind an API key or a session; empty for others
	// InstanceAdmin: the first organization's owner and application, who may
	// create organizations.
	InstanceAdmin bool
	Role          Role      // of the person behind it; empty for tokens that carry their own permissions
	Token         TokenID   // "jti" of a short-lived token
	ExpiresAt     time.Time // zero if the token does not expire
	From          Request   // where this call came from
}

// Request is where a call came from, for the ledger and for rate limits.
type Request struct {
	ID      string     // request id, in the answer's Claviger-Request-Id too
	Address netip.Addr // the peer, or the client behind a trusted proxy
}

// OwnerID answers the id that owns what this caller creates: the person, else the
// application or token subject.
func (c Caller) OwnerID() string {
	if c.User != "" {
		return string(c.User)
	}
	return c.ID
}

// May reports whether the caller holds the permission. Whether the resource is in
// its scope is the gate's other question.
func (c Caller) May(v Verb) bool { return c.Permissions.Has(v) }
