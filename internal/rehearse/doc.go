// Package rehearse runs connectors against vendors that are made from their own
// documents (package simulate): every auth method with the right credential and with
// wrong ones, the test, the permission check, every action, every way to say expired
// and too many, and for oauth2 the whole life of a grant: consent, exchange, what is
// discovered after it, call, expiry, refresh, revocation.
//
// Requests are built, credentialled and read by the product's own packages and leave by
// egress, over TLS, to one loopback server that stands for all hosts. Nothing reaches a
// real vendor. What passes proves that a document is complete and says one thing; it
// proves nothing about the vendor.
package rehearse
