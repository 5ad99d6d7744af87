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
	// Proof is how the person proved who they are: "link", "password", "password+totp",
	// "password+recovery", "passkey" or "single-sign-on".
	Proof     string
	Address   string // where they signed in from
	Agent     string // what the browser calls itself: untrusted
	CreatedAt time.Time
	SeenAt    time.Time // to the minute
	ExpiresAt time.Time // at the latest
}

// The proofs that are asked about elsewhere than where they are written.
const (
	ProofPasskey      = "passkey"
	ProofSingleSignOn = "single-sign-on"
)

// SignIn is how a person proves who they are. A person without one cannot sign in.
type SignIn struct {
	Organization OrganizationID
	User         UserID
	Password     string   // Argon2id, in the PHC form; empty for none
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

// PasskeyID names a passkey: pk_...
type PasskeyID string

// PrefixPasskey is the prefix of passkeys.
const PrefixPasskey = "pk"

// Passkey is a credential of WebAuthn by which a person signs in without a password. The
// authenticator verifies the person itself, so it counts as both factors.
type Passkey struct {
	ID             PasskeyID
	Organization   OrganizationID
	User           UserID
	Name           string // by which the person knows it
	CredentialHash []byte // SHA-256 of the credential's id
	Credential     []byte // the public key and what the authenticator said of itself, as JSON; nothing secret
	// Cloned says that its counter went back: two authenticators hold the same key, so
	// neither lets anybody in.
	Cloned     bool
	CreatedAt  time.Time
	LastUsedAt time.Time // zero: never
}

// Ceremony is what a browser has begun and must end itself, once and soon: signing in with
// a passkey, adding one, or single sign-on.
type Ceremony struct {
	Hash      []byte // SHA-256 of the cookie of the browser that began
	Kind      string
	Body      string // a JSON document, without secrets
	ExpiresAt time.Time
}

// SingleSignOn is the OpenID provider by which an organization's people sign in.
type SingleSignOn struct {
	Organization   OrganizationID
	Issuer         string // https, exactly as the provider's metadata name it
	ClientID       string
	HasSecret      bool     // a client without one is public, and proves itself by PKCE alone
	AllowedDomains []string // of e-mail addresses, lower case; empty: any
	// DefaultRole is given to people whom nobody invited; empty: they stay outside.
	DefaultRole Role
	Version     int64 // grows with every change; bound into the ciphertext
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// Identity is who an OpenID provider says a person is, verified. Issuer and Subject are
// who they are; an e-mail address may pass to somebody else.
type Identity struct {
	Organization OrganizationID
	Issuer       string
	Subject      string
	Name         string
	Email        string // empty unless the provider verified it
}
