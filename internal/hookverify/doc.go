// Package hookverify decides whether a webhook delivery comes from the vendor that it
// names. Vendors' schemes are data: documents in connectors/webhooks, which this package
// compiles strictly and which a new vendor extends without code.
//
// It is pure: it opens no connection, reads no clock and keeps nothing. Public keys that
// a vendor publishes are named by [Scheme.KeyRef]; fetching them is the caller's.
//
// The trust boundary: every byte of a [Request] comes from a stranger until [Verify]
// answers without an error. The exact body is verified first; nothing of it is parsed
// before that, unless the vendor puts the signature or a handshake into it, and then
// strictly. A [Key]
// is made only from a value that is long enough and no placeholder, so that a signature
// under an empty secret cannot be computed. What cannot be verified is refused.
package hookverify
