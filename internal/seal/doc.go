// Package seal encrypts what claviger stores, and nothing else: it does no I/O,
// keeps no state of its own and never decides who may read.
//
// The envelope has three layers. The master key ([KEK]) wraps one [Keyset] for
// each organization; a keyset's primary key seals values with AES-256-GCM; every
// sealed value is bound to its place by its associated data, so that a ciphertext
// moved to another row, organization, revision or destination does not open.
// Destroying a wrapped keyset therefore shreds all that its organization stored,
// and a copy of the database without the master key reveals nothing.
//
// [Chain] and [Derive] turn one secret into the separate keys of the ledger and of
// cursors. This is the only package that touches ciphers.
//
// Trust boundary: every byte that comes from the database is hostile. Whatever is
// wrong with it - moved, cut, altered, made under another key - the answer is the
// one error [ErrOpen], which tells an attacker nothing about the cause.
package seal
