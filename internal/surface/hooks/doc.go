// Package hooks is the surface that vendors send their webhooks to:
//
//	POST /webhooks/{systemKey}[/{dataSource}]            of the first organization
//	POST /webhooks/{whk_...}/{systemKey}[/{dataSource}]  of any
//	GET  the same, for vendors that ask before they deliver
//
// A delivery is answered 202 {"id"} once it is durable, a copy of one 200 with the id of
// the first. What no slot of the system can vouch for is a 401 that never says why; an
// address that leads nowhere is the 404 of every path that there is not.
//
// Trust boundary: everybody can reach this surface, and nothing that arrives is believed
// before the core has verified the exact bytes. Until then a body is memory: it is capped
// while it arrives, all of them together too, never inflated, never parsed, and has to
// arrive in time.
package hooks
