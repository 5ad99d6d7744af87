// Package egress is the only way out: it makes every outgoing connection of
// claviger, and holds the pure rules of what may cross - headers, paths, queries,
// redirects and echoes of a secret.
//
// A request leaves through [Client.Do] together with the [Destination] that its
// credential is bound to. Do checks scheme, host and port against it, resolves the
// name itself, vets every answer, and dials only what it vetted; the socket's own
// address is checked once more before it connects. Only globally routable unicast
// addresses pass. Opening others is a setting of the instance ([Config]), and there
// is no field in any type that a tenant fills which could do it.
//
// Trust boundary: the caller's request, the connector's document, DNS and the
// vendor are all hostile. Refusals for policy are one error without an address, so
// that nobody can map a network with them; redirects are never followed; nothing of
// an answer is interpreted beyond HTTP framing, and no body is inflated.
package egress
