// Package vault is the only place with live plaintext: it seals credentials under
// their organization's keyset and opens them for the holder of a Ticket.
//
// Every method that reveals takes a *gate.Ticket, which only the gate makes, so that
// "authorised and recorded before decrypted" is a fact the compiler checks. The
// binding that a ciphertext is opened under comes from the ticket's own resource and
// the row's facts: one that was moved to another row, revision or destination does
// not open.
//
// Keys: the master key wraps one rotating keyset per organization and one of the
// instance's own. Keysets are opened once and kept in memory; credentials are opened
// for each call and never kept.
package vault
