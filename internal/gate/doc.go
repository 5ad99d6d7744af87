// Package gate decides whether a caller may do something now, and writes the
// decision down. It is the one place where "another tenant's" becomes "does not
// exist", and the only place where Tickets are made.
//
// A [Ticket] is proof that a use was authorised and recorded: its fields are
// unexported, the vault demands one before it opens anything and takes the
// ciphertext's binding from it. "Recorded before decrypted" is thereby checked by
// the compiler.
//
// The ledger fails closed. A management change and its entry commit in one
// transaction. The use of a credential is first written as "allowed": durable
// before anything is sent in strict mode, many calls sharing one flush, or within
// one window (50 ms) in relaxed mode; how it ended follows as a second entry, which in
// relaxed mode takes the place of the first if that is not written yet. When entries
// cannot be written, nothing is admitted.
//
// Each process writes streams of its own, so that nodes never wait for one another.
// An entry's MAC is a keyed hash over its predecessor's and its own content, under
// a key that the database does not hold; the head of each stream is authenticated in
// the same transaction; signed checkpoints bind the heads of all streams and are
// copied to an anchor file outside the database. [Verify] finds what was edited,
// deleted, inserted or cut off.
package gate
