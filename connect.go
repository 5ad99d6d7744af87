package claviger

import "time"

type (
	// ConnectSessionID names a connect session, not its token: cs_...
	ConnectSessionID string
	// FlowID names one attempt to connect: flow_...
	FlowID string
)

// The prefixes of what connecting makes.
const (
	PrefixConnectSession = "cs"
	PrefixFlow           = "flow"
)

// CallerConnect is a browser within a connect flow: it proved a session's token, or
// holds the address of a flow. It acts for the flow alone.
const CallerConnect CallerKind = "connect"

// EndUser is the person that an application connects something for, as that
// application knows them. The texts are the application's own.
type EndUser struct{ ID, Email, Name string }

// ConnectStatus is where a connect session or flow stands.
type ConnectStatus string

// The states. An open one waits for the person, one that was started for the vendor;
// completed, failed and expired are final.
const (
	ConnectOpen       ConnectStatus = "open"
	ConnectStarted    ConnectStatus = "started"    // of a flow: the browser was sent to the vendor
	ConnectExchanging ConnectStatus = "exchanging" // of a flow: its state was used, its code is being redeemed
	ConnectAnswered   ConnectStatus = "answered"   // of a flow: the vendor's answer is kept, sealed, and until ExpiresAt somebody's to act upon
	ConnectAwaiting   ConnectStatus = "awaiting_finish"
	ConnectCompleted  ConnectStatus = "completed"
	ConnectFailed     ConnectStatus = "failed"
	ConnectExpired    ConnectStatus = "expired"
)

// Final reports whether nothing can follow.
func (s ConnectStatus) Final() bool {
	return s == ConnectCompleted || s == ConnectFailed || s == ConnectExpired
}

// Delivery is how the finish code reaches the application that began.
type Delivery string

// The deliveries. Whichever it is, the code travels through the browser of the person
// who connected, so that the application can see whether that is the one who asked.
const (
	DeliverRedirect Delivery = "redirect" // to the return address, as finishCode
	DeliverPopup    Delivery = "popup"    // by postMessage to the return address's origin
	DeliverCode     Delivery = "code"     // shown as 8 characters, to be typed
)

// ConnectSession is an application's request that one of its users connect something.
type ConnectSession struct {
	ID           ConnectSessionID
	Organization OrganizationID
	Workspace    WorkspaceID
	TokenHash    []byte // SHA-256 of the token in the page's address
	Initiator    string // the OwnerID of the caller that made it, who alone may finish
	// Console is the console's session in which the person began, if one did: what comes
	// back there needs no further word.
	Console    SessionID
	User       EndUser
	Connectors []string // keys of those that may be connected
	Settings   map[string]string
	Tags       map[string]string
	ReturnURL  string // on the organization's list, or http on the loopback; may be empty
	Delivery   Delivery
	// Connection is the one to connect again, or the one that came of it.
	Connection         ConnectionID
	Reconnect          bool
	AllowAccountChange bool // a reconnect may lead to another account of the vendor
	Attempts           int  // what the page has sent
	Status             ConnectStatus
	Fault              *Fault
	Version            int64
	CreatedAt          time.Time
	ExpiresAt          time.Time
}

// ConnectFlow is one attempt to connect: from a person's choice to the application's
// word that it was the right person. It holds tokens, sealed, only while it waits for
// that word.
type ConnectFlow struct {
	ID           FlowID
	Organization OrganizationID
	Workspace    WorkspaceID
	Session      ConnectSessionID // empty if the connection was begun by the API
	Initiator    string
	// Draft is the connection as it will be when the flow completes. A row of its id
	// exists already if Existing.
	Draft              Connection
	Existing           bool
	Reconnect          bool // the row has had credentials before
	AllowAccountChange bool
	Status             ConnectStatus
	StateHash          []byte // SHA-256 of the state, also after its use
	BrowserHash        []byte // SHA-256 of the cookie of the browser that went to the vendor
	RedirectURI        string // as it was sent
	Scopes             []string
	Nonce              string
	Starts             int    // how often a browser was sent to the vendor
	FinishHash         []byte // SHA-256 of flow id and finish code
	FinishTries        int
	Delivery           Delivery
	ReturnURL          string
	Revision           int64    // grows with each sealing; bound into the ciphertext
	Issued             Issue    // of the tokens that wait
	Device             *Pairing // of a flow without a browser of ours; nil for any other
	Fault              *Fault
	Said               string // a vendor's own words for its refusal: plain, bounded, untrusted
	// Revoking is what became of the tokens of a flow that was given up; nil: it had none.
	// While a verdict is pending they are kept, and ExpiresAt is when the flow is looked at.
	Revoking  *FlowRevocation
	Version   int64
	CreatedAt time.Time
	ExpiresAt time.Time
}

// FlowRevocation is how far the revocation of a given-up flow's tokens has come.
type FlowRevocation struct {
	Tokens           []Revocation // the verdict on each
	Attempts         int
	Reason           string    // why the last attempt failed, in claviger's words
	NextAt, GiveUpAt time.Time // no attempt before the one, none after the other
}

// Pairing is a device flow under way (RFC 8628): a person types UserCode at the vendor,
// or opens the complete address, and the vendor is asked now and then whether that has
// happened.
type Pairing struct {
	UserCode                string
	VerificationURI         string
	VerificationURIComplete string        // has the code in it; empty if the vendor makes none
	Interval                time.Duration // the least time between two questions
	NextAt                  time.Time     // of the next one
}

// Verb is what completing the flow does to its connection.
func (f *ConnectFlow) Verb() Verb {
	if f.Reconnect {
		return ConnectionsUpdate
	}
	return ConnectionsCreate
}

// Issue is what is known of tokens beside their values.
type Issue struct {
	IssuedAt, ExpiresAt, RefreshExpiresAt time.Time
	KeepAt                                time.Time // when to refresh although nobody uses them; zero for never
}

// Binding answers where the flow's ciphertext belongs.
func (f *ConnectFlow) Binding() Binding {
	return Binding{Purpose: "connect-flow", Organization: f.Organization, ID: string(f.ID), Revision: f.Revision, Destination: f.Draft.Destination}
}

// Resource answers the flow as the object of a verb. It is one of the connection that
// it will make or renew.
func (f *ConnectFlow) Resource() Resource {
	return Resource{
		Type: "connect_flow", ID: string(f.ID), Organization: f.Organization, Workspace: f.Workspace,
		Connection: f.Draft.ID, Connector: f.Draft.Connector, Usage: f.Draft.Usage,
	}
}

// Resource answers the session as the object of a verb.
func (s *ConnectSession) Resource() Resource {
	return Resource{
		Type: "connect_session", ID: string(s.ID), Organization: s.Organization, Workspace: s.Workspace, Connection: s.Connection,
	}
}
