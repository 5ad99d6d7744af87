// Package claviger is the vocabulary of the credential broker: the nouns, the
// identifiers, the state transitions and the errors that every other package
// speaks in.
//
// It imports only the standard library, holds no SQL and no JSON tags, and does
// nothing on its own. One file per noun; the comment on each type is its
// contract. Everything above it (see ARCHITECTURE.md) may import it; it imports
// nothing of the project.
//
// Two types carry a law rather than data: [Secret], which cannot be printed, and
// [Scope], which only authentication may make.
package claviger
