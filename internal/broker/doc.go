// Package broker is the core: every operation of claviger, whichever surface asked
// for it, in one form, func(ctx, caller, in) (out, error).
//
// Each use of a credential takes one path, in [Broker.use]: the gate admits the
// caller and writes it down, the catalogue makes the request, the vault opens the
// credential for the ticket that the gate made, inject puts it on the request,
// egress sends it, and the ticket records how it ended. Nothing calls upward and no
// surface has a way round: the package may hold an *http.Request to send, never a
// ResponseWriter, and it makes no callers.
//
// Trust boundary: callers and their input are hostile until the gate has admitted
// them and the catalogue has checked them; vendors' answers are hostile always.
package broker
