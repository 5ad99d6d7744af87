// Package native is the surface /v1: claviger's own REST interface, in camelCase
// JSON, described by its OpenAPI document at /openapi.json.
//
// It is thin by construction. routes.go is the one list that mounts every handler;
// the handlers beside it are a few lines each: they turn a shape of package api into
// an input of the core, call one operation, and turn its answer back (wire.go). All
// rules - who may, what is valid, what is written down - are the core's, so that no
// other surface can forget them.
//
// proxy.go is the one handler that is no operation in this sense: it streams.
//
// Trust boundary: package wire has verified the token, admitted its kind and checked
// the input's form before a handler runs. Nothing here holds a stored credential: an
// answer's credentials are keys with a mark in the place of every value, because the
// core's own type has no values to give.
package native
