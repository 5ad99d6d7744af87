// Package embedded is the surface for products that embed claviger for their own
// customers: prefix /api/v1, snake_case, UUIDs, and the paths, shapes and error
// bodies that clients of the public embedded API send and expect.
//
// It follows the token part of that API: operator tokens from client credentials,
// scoped tokens for one workspace, what a scoped token says of itself, and the key
// set that verifies both. Workspaces, templates, sources and the widget are not on
// this surface yet.
//
// Trust boundary: the client secret arrives here in a body and goes to authn as a
// claviger.Secret; what is minted is shown once, to the caller that asked.
package embedded
