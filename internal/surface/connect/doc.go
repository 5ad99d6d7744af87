// Package connect is the surface for the browsers of people who connect something: the
// page of a connect session, the departure to a vendor and the way back. It is the one
// surface that holds a cookie, so it has a router and defences of its own: forms are
// taken from its own pages only, nothing may frame it, no script runs but its own file,
// nothing is stored or told to the next page, and the cookie binds a flow to a browser
// and says nothing else.
//
// It follows RFC 6749, section 4.1, as a client, RFC 9700 for what a client has to
// watch, and RFC 8252 for programs that wait on the loopback.
//
// Trust boundary: everything that comes in is a stranger's. What a person enters goes to
// the core as claviger.Secret and is never shown again; what applications and vendors
// say is shown as escaped text; addresses that a browser is sent to are computed or
// looked up by the core, never taken from a request.
package connect
