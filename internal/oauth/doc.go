// Package oauth speaks to authorization servers: it makes authorization requests,
// reads their callbacks, asks for tokens by every grant, refreshes, revokes and
// introspects them, and checks id tokens. It keeps nothing: each function takes what
// it needs and answers values, and who stores them is not its business.
//
// What is sent once stays sent once. A code and a rotating refresh token die with
// their first use, so every sending function answers an [Attempt] that says whether
// the vendor can have seen the request, with the raw answer still unread: the caller
// journals [Raw] before [Parse] looks at it, and a crash in between loses nothing.
// No request is repeated here, with one exception that the vendor itself orders
// (RFC 9449, section 8: a nonce for a proof; the request was refused, not used).
//
// Trust boundary: the authorization server's answers, its metadata and the browser's
// callback are hostile. Requests go to the addresses of the connector's document and
// nowhere else, through egress; redirects are not followed; bodies are capped, read by
// their declared form, never as HTML, and no error or class ever carries a word that
// the vendor made up. Tokens with bytes that could end a header are refused.
package oauth
