package claviger

import "time"

// LoginID names a login of the command line, not its codes: login_...
type LoginID string

// PrefixLogin is the prefix of logins.
const PrefixLogin = "login"

// LoginStatus is where a login stands.
type LoginStatus string

// The states: a person approves or denies what is pending; what is approved is
// redeemed once.
const (
	LoginPending  LoginStatus = "pending"
	LoginApproved LoginStatus = "approved"
	LoginDenied   LoginStatus = "denied"
	LoginRedeemed LoginStatus = "redeemed"
)

// Login is a command line that asks a person for an API key of its own: by a code that
// the person types (RFC 8628), or by a browser on the same machine (RFC 8252), whose
// answer is good only with the proof of RFC 7636.
type Login struct {
	ID        LoginID
	Status    LoginStatus
	CodeHash  []byte // SHA-256 of what the command line redeems
	UserHash  []byte // SHA-256 of what the person types; empty if a browser carried the answer
	Challenge string // S256 of the proof; empty with UserHash
	Host      string // the machine's own name, as it told: untrusted
	Address   string // where it asked from
	// Key is what it will get, fixed by the approval: without hash and hint.
	Key       APIKey
	Interval  time.Duration // between two questions of the command line
	PolledAt  time.Time
	ExpiresAt time.Time
	CreatedAt time.Time
}
