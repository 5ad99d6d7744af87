// Package events sends what happened to the organization's own endpoints, as Standard
// Webhooks (https://www.standardwebhooks.com): a POST of {type, timestamp, data} with
// the headers webhook-id, webhook-timestamp and webhook-signature.
//
// [Events.Emit] writes, in the transaction of the change, one delivery for each
// endpoint that wants the event and one job for each delivery. The job sends it, again
// and again for a day if it must. An event keeps its id over all attempts and replays,
// which is how a receiver tells a repetition: delivery is at least once, and once in
// effect.
//
// Trust boundary: an endpoint is a tenant's, so its address passes the tenant's egress
// policy at every attempt, redirects are not followed, and nothing of what it answers
// is kept but the status. Signing secrets are sealed, opened for one signature and
// shown to nobody after they were made. An endpoint whose owner is gone is disabled
// before the next event would leave.
package events
