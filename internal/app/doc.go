// Package app puts the rooms together: it reads the settings, opens the master key,
// the database, the ledger and the core, mounts the surfaces and runs the listeners.
// It is imported by the command and by tests alone, and holds no rules of its own.
//
// The order of opening is the order of trust: nothing is decrypted before the master
// key is proven on the instance's keyset, nothing is admitted before the ledger can be
// written, nothing listens before all of that.
package app
