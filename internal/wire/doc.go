// Package wire is the HTTP under every surface: it decodes and encodes, sets
// limits, gives each request an id, turns errors into one table of answers, and
// keeps the register of routes.
//
// A surface makes one [API] and mounts its operations with [Handle], which turns
// func(ctx, caller, in) (out, error) into a route; streaming routes use
// [HandleRaw]. Every route, raw ones included, is listed by [API.Routes], with the
// verb it is about and the kinds of token that may reach it, so that an
// authorization matrix can be made from the router itself.
//
// Trust boundary: everything that arrives here is hostile. [Edge.Front] stands
// before the router and refuses what could be read in two ways (targets, paths,
// doubled credentials); bodies are strict JSON under a cap; an error answer is made
// from *claviger.Error.Message alone and never repeats a submitted value. Who the
// caller is, the [Authenticator] says; wire only carries the answer to the handler
// as an argument.
package wire
