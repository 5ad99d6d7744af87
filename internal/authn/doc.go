// Package authn turns the token on a request into a claviger.Caller, and mints
// tokens. It alone calls claviger.Authenticated: no other package can say who
// somebody is or widen a reach.
//
// There are two families. API keys are opaque: 256 random bits and a checksum,
// found by their SHA-256, checked against the database and the rights of the person
// behind them. Operator and scoped tokens are short-lived JWTs (RFC 7519), signed
// with Ed25519 under keys of our own table: the algorithm, the key and the audience
// are fixed by the kind of token and never chosen by what the token says. Behind
// each is a row, found by "jti", so that one can be revoked before it expires; the
// row, not the token, says what its holder may do.
//
// A verdict is remembered for five seconds and dropped at once by
// [Authority.Evict]; refusals are never remembered.
//
// Trust boundary: every byte of a token is hostile until its hash or its signature
// has been checked. Nothing is fetched, opened or looked up because a token's header
// asks for it. Who is refused learns only that.
package authn
