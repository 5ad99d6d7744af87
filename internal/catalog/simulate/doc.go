// Package simulate makes a vendor out of a connector's own document: an HTTP handler
// that wants the credential where the document puts it, answers what the document
// reads, says "expired" and "too many" in the vendor's own way, and plays the
// authorization server of each oauth2 method. It also makes up what a person would
// bring: settings, credentials and inputs that fit their formats.
//
// A run against it proves that a document is complete and says one thing: that every
// call can be built, that what is sent is what was declared, that what comes back is
// found. It proves nothing about the real vendor.
//
// The simulation dials nobody and keeps its state in memory. Its credentials have the
// vendors' forms and open nothing. It distrusts nothing: it is no server for others.
package simulate
