// Package console is the surface for people who set up and run integrations: server-rendered
// pages with small enhancements, which work without a script, by keyboard alone and on a
// window of 360 pixels. It follows WCAG 2.2, level AA.
//
// A person signs in with a password and, if they chose one, a second factor; the first
// owner by a link that the first start printed. The cookie is the session's and holds
// nothing but a random value; forms carry a token that is made from it; other sites can
// lead a person here in a window and do nothing else; nothing may frame a page.
//
// Every action is an operation of the broker, or of authentication for what concerns the
// person's own sign-in. Secrets are taken and never shown: no page has a value, a length
// or a piece of one.
//
// Trust boundary: everything that comes in is a stranger's until the session's cookie and
// the form's token have been checked; what vendors and manifests say is shown as escaped
// text.
package console
