package claviger

// ReportID names the report of a revocation of many connections: rev_...
type ReportID string

// PrefixRevocation is the prefix of such reports.
const PrefixRevocation = "rev"

// The kinds of token in a [Revocation].
const (
	TokenCredential = "credential" // a key or password, as a whole
	TokenAccess     = "access"
	TokenRefresh    = "refresh"
)

// The verdicts of a [Revocation]. A failed one goes on with ": " and why.
const (
	VerdictPending      = "pending" // the vendor has not confirmed it yet
	VerdictRevoked      = "revoked"
	VerdictNotSupported = "not_supported" // the vendor has no way to revoke it
	VerdictFailed       = "failed"
)
