// Package store keeps everything that claviger remembers, in SQLite or in
// PostgreSQL, and is the only package that speaks SQL.
//
// [DB] is concrete. Both engines read the same hand-written statements with $n
// parameters; what differs is one small dialect value. Reads are methods of DB,
// changes are methods of [Tx], so that a change, its ledger entry and the notice
// to other nodes ([Feed]) commit together or not at all.
//
// Trust boundary: every method that touches a tenant's rows takes a
// [claviger.Scope] and adds it to its conditions; the zero Scope is refused with
// [ErrNoScope], and what belongs to somebody else is [ErrNotFound] exactly like
// what does not exist. The exceptions are few and say so: the lookups by which
// authentication finds a tenant in the first place (APIKeyByHash,
// ApplicationByClientID, TokenByID, UserByID, OrganizationByID), the plumbing of
// ledger, key rotation, usage and instance facts, and the instance's list of
// organizations. Whether a caller may is decided above, never here.
//
// A scope bound to a workspace reaches that workspace's rows. Of what belongs to
// the organization as a whole it can read connectors and secrets' metadata, which
// its connections refer to, and nothing else; it changes nothing of it.
//
// What belongs to a workspace (connections, their usage and their ledger) lives in
// the workspace's region, which may be a database of its own. Ciphertext passes
// through unopened: no key ever comes here.
package store
