// Package inject puts a credential on a request, at the places that an auth method
// declares and nowhere else.
//
// It is pure: it opens no connection, reads no clock, makes no randomness and keeps nothing. The request
// that comes in is never changed; the answer is a copy that shares only the body.
// What an injection sets replaces whatever stood there, so that neither a caller
// nor a connector's default header can put a second value beside the credential,
// and applying a method twice gives the same request as applying it once.
//
// The trust boundary: a credential value comes from a person and may hold any byte.
// A value that would end a header line, start a second cookie or shift the border
// between user and password is refused here, with an error that names the field and
// never shows the value. Text is never spliced into a body: a body is parsed and
// written anew, or refused.
package inject
