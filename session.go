package claviger

import "time"

// SessionID names a browser's session: ses_...
type SessionID string

// PrefixSession is the prefix of sessions.
const PrefixSession = "ses"

// SessionStage is how far a person has proven who they are.
type SessionStage string

// The stages: half is a password whose second factor is owed, which opens nothing but the
// page that asks for it.
const (
	SessionHalf   SessionStage = "half"
	SessionProven SessionStage = "proven"
)

// Session is a browser in which a person signed in to the console.
type Session struct {
	ID           SessionID
	Organization OrganizationID
	User         UserID
	Stage        SessionStage
	TokenHash    []byte // SHA-256 of the cookie
	Proof        string // how the person proved who they are: "link", "password", "password+totp", "password+recovery"
	Address      string // where they signed in from
	Agent        string // what the browser calls itself: untrusted
	CreatedAt    time.Time
	SeenAt       time.Time // to the minute
	ExpiresAt    time.Time // at the latest
}

// SignIn is how a person proves who they are. A person without one cannot sign in.
type SignIn struct {
	Organization OrganizationID
	User         UserID
	Password     string   // Argon2id, in the PHC form
	Factor       []byte   // the sealed secret of the second factor (RFC 6238); empty for none
	Step         int64    // the newest time step whose code was taken: none counts twice
	Recovery     [][]byte // SHA-256 of the recovery codes that are left
	UpdatedAt    time.Time
}

// SetupLink lets a person choose how they sign in, once.
type SetupLink struct {
	Hash         []byte // SHA-256 of the token in its address
	Organization OrganizationID
	User         UserID
	ExpiresAt    time.Time
}
