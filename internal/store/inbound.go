package store

import (
	"cmp"
	"context"
	"slices"
	"time"

	"claviger"
)

const (
	inboundColumns = "organization, id, workspace, system, data_source, connection, slot, replay_key, delivery, type, content_type, size, batch, status, attempts, code, received_at, processed_at"
	inboundWidth   = 20 // with the body and delivery_first
)

// sealedInbound is an event's facts and its body's ciphertext.
type sealedInbound struct {
	claviger.InboundEvent
	body claviger.Sealed
}

func scanInbound(r row) (claviger.InboundEvent, error) { return scanInboundFacts(r) }

func scanWholeInbound(r row) (sealedInbound, error) {
	var body []byte
	e, err := scanInboundFacts(r, &body)
	return sealedInbound{e, body}, err
}

func scanInboundFacts(r row, more ...any) (claviger.InboundEvent, error) {
	var e claviger.InboundEvent
	var received, processed int64
	err := r.Scan(append([]any{
		&e.Organization, &e.ID, &e.Workspace, &e.System, &e.DataSource, &e.Connection, &e.Slot, &e.ReplayKey, &e.Delivery, &e.Type,
		&e.ContentType, &e.Size, &e.Batch, &e.Status, &e.Attempts, &e.Code, &received, &processed,
	}, more...)...)
	e.ReceivedAt, e.ProcessedAt = fromMillis(received), fromMillis(processed)
	return e, err
}

// NewInbound is a delivery to be kept.
type NewInbound struct {
	claviger.InboundEvent
	Body claviger.Sealed
}

// KeptInbound says what came of a [NewInbound].
type KeptInbound struct {
	ID     claviger.InboundID // its own, or that of the delivery it is a copy of
	Copy   bool               // nothing was kept: it is here already
	Reused bool               // another delivery has the same id of the vendor's
}

// AddInbound keeps deliveries that slots have verified, and answers for each, in order,
// what came of it. It takes no scope: the address that a vendor used has decided.
func (tx *Tx) AddInbound(ctx context.Context, batch []NewInbound) ([]KeptInbound, error) {
	out := make([]KeptInbound, len(batch))
	left := make([]int, len(batch))
	for i := range left {
		left[i] = i
	}
	left, err := tx.insertInbound(ctx, batch, out, left, false)
	if err != nil {
		return nil, err
	}
	// What neither of the unique indexes let in has a delivery, or its vendor's id, that is
	// here already.
	if left, err = tx.insertInbound(ctx, batch, out, left, true); err != nil {
		return nil, err
	}
	for _, i := range left {
		e := &batch[i]
		id, err := one(ctx, tx.q, scanOne[claviger.InboundID], "SELECT id FROM inbound_events WHERE connection = $1 AND replay_key = $2", string(e.Connection), e.ReplayKey)
		if err != nil {
			return nil, err
		}
		out[i] = KeptInbound{ID: id, Copy: true}
	}
	return out, nil
}

// insertInbound inserts the deliveries of a batch at the places given, and answers those
// that conflict. A vendor's id that is said to be reused conflicts with no other.
func (tx *Tx) insertInbound(ctx context.Context, batch []NewInbound, out []KeptInbound, at []int, reused bool) (left []int, err error) {
	for len(at) > 0 {
		n := chunk(len(at))
		args := make([]any, 0, n*inboundWidth)
		for _, i := range at[:n] {
			args = appendInbound(args, &batch[i], !reused && batch[i].Delivery != "")
		}
		ids, err := many(ctx, tx.q, scanOne[claviger.InboundID], tx.home.insert("INSERT INTO inbound_events ("+inboundColumns+", body, delivery_first)",
			n, inboundWidth, " ON CONFLICT DO NOTHING RETURNING id"), args...)
		if err != nil {
			return nil, err
		}
		for _, i := range at[:n] {
			if id := batch[i].ID; slices.Contains(ids, id) {
				out[i] = KeptInbound{ID: id, Reused: reused}
			} else {
				left = append(left, i)
			}
		}
		at = at[n:]
	}
	return left, nil
}

func appendInbound(args []any, e *NewInbound, first bool) []any {
	return append(args, string(e.Organization), string(e.ID), string(e.Workspace), e.System, e.DataSource, string(e.Connection), e.Slot,
		filled(e.ReplayKey), e.Delivery, e.Type, e.ContentType, int64(e.Size), e.Batch, string(e.Status), int64(e.Attempts), e.Code,
		millis(e.ReceivedAt), millis(e.ProcessedAt), filled(e.Body), bit(first))
}

// OpenInbound answers up to limit deliveries of a batch that are still to be acted upon,
// by id, without their bodies. It takes no scope: it is for the job that acts.
func (db *DB) OpenInbound(ctx context.Context, place claviger.RegionID, batch string, limit int) ([]claviger.InboundEvent, error) {
	d, err := db.place(place)
	if err != nil {
		return nil, err
	}
	ctx, cancel := bounded(ctx, readDeadline)
	defer cancel()
	all, err := many(ctx, d.reader(), scanInbound, "SELECT "+inboundColumns+" FROM inbound_events WHERE batch = $1 AND status = 'received' ORDER BY id LIMIT $2", batch, int64(limit))
	for i := range all {
		all[i].Region = place
	}
	return all, err
}

// InboundAt answers a delivery in a place with its body. It takes no scope, like
// OpenInbound.
func (db *DB) InboundAt(ctx context.Context, place claviger.RegionID, organization claviger.OrganizationID, id claviger.InboundID) (claviger.InboundEvent, claviger.Sealed, error) {
	d, err := db.place(place)
	if err != nil {
		return claviger.InboundEvent{}, nil, err
	}
	ctx, cancel := bounded(ctx, readDeadline)
	defer cancel()
	e, err := one(ctx, d.reader(), scanWholeInbound, "SELECT "+inboundColumns+", body FROM inbound_events WHERE organization = $1 AND id = $2", string(organization), string(id))
	e.Region = place
	return e.InboundEvent, e.body, err
}

// SettleInbound stores what came of an attempt to act, if nobody has stored one since the
// event was read, in this state and with this many attempts; else it is [ErrNotFound].
// It takes no scope, like OpenInbound.
func (tx *Tx) SettleInbound(ctx context.Context, e claviger.InboundEvent, was claviger.InboundStatus, attempts int) error {
	return mustTouch(ctx, tx.q, ErrNotFound, `UPDATE inbound_events SET status = $1, attempts = $2, code = $3, processed_at = $4
		WHERE organization = $5 AND id = $6 AND status = $7 AND attempts = $8`,
		string(e.Status), int64(e.Attempts), e.Code, millis(e.ProcessedAt), string(e.Organization), string(e.ID), string(was), int64(attempts))
}

// PassInbound marks the deliveries of a batch, up to an id, as acted upon: nothing had to
// be done for them. It takes no scope, like OpenInbound.
func (tx *Tx) PassInbound(ctx context.Context, batch string, last claviger.InboundID, at time.Time) error {
	_, err := tx.exec(ctx, `UPDATE inbound_events SET status = 'processed', attempts = attempts + 1, code = '', processed_at = $1
		WHERE batch = $2 AND status = 'received' AND id <= $3`, millis(at), batch, string(last))
	return err
}

// InboundFilter narrows a list of deliveries; an empty member asks for nothing.
type InboundFilter struct {
	System, DataSource string
	Status             claviger.InboundStatus
}

// InboundEvents lists deliveries in all places, without bodies, newest first.
func (db *DB) InboundEvents(ctx context.Context, s claviger.Scope, f InboundFilter, p Page) ([]claviger.InboundEvent, error) {
	w, err := scoped(s, "workspace")
	if err != nil {
		return nil, err
	}
	w.equal("system", f.System)
	w.equal("data_source", f.DataSource)
	w.equal("status", string(f.Status))
	p.tail(w, "id")
	newest := func(a, b claviger.InboundEvent) int { return cmp.Compare(b.ID, a.ID) }
	return merged(ctx, db.databases(), p.limit(), newest, func(ctx context.Context, q querier) ([]claviger.InboundEvent, error) {
		return many(ctx, q, scanInbound, "SELECT "+inboundColumns+" FROM inbound_events WHERE "+w.text.String(), w.args...)
	})
}

// InboundEvent answers one delivery with its body's ciphertext and its Region.
func (db *DB) InboundEvent(ctx context.Context, s claviger.Scope, id claviger.InboundID) (claviger.InboundEvent, claviger.Sealed, error) {
	w, err := scoped(s, "workspace")
	if err != nil {
		return claviger.InboundEvent{}, nil, err
	}
	w.and("id = ?", string(id))
	e, err := inPlaces(ctx, db, func(ctx context.Context, d *database, place claviger.RegionID) (sealedInbound, error) {
		found, err := one(ctx, d.reader(), scanWholeInbound, "SELECT "+inboundColumns+", body FROM inbound_events WHERE "+w.text.String(), w.args...)
		found.Region = place
		return found, err
	})
	return e.InboundEvent, e.body, err
}

// ReplayInbound has a delivery acted upon once more, under a batch of its own. One that
// still is to be is a conflict on "status".
func (tx *Tx) ReplayInbound(ctx context.Context, s claviger.Scope, id claviger.InboundID, batch string) (claviger.InboundEvent, error) {
	w, err := scoped(s, "workspace")
	if err != nil {
		return claviger.InboundEvent{}, err
	}
	w.and("id = ?", string(id))
	e, err := one(ctx, tx.q, scanInbound, "SELECT "+inboundColumns+" FROM inbound_events WHERE "+w.text.String()+tx.home.lock, w.args...)
	if err != nil {
		return e, err
	}
	if e.Status == claviger.InboundReceived {
		return e, &Conflict{Field: "status"}
	}
	e.Status, e.Attempts, e.Code, e.Batch = claviger.InboundReceived, 0, "", batch
	_, err = tx.exec(ctx, "UPDATE inbound_events SET status = $1, attempts = 0, code = '', batch = $2 WHERE organization = $3 AND id = $4",
		string(e.Status), batch, string(e.Organization), string(id))
	return e, err
}

// maxParkedSystems bounds what one sweep looks at.
const maxParkedSystems = 100

// ParkedInbound answers, of each system with parked deliveries in a place, the oldest of
// them. It takes no scope: a sweep asks.
func (db *DB) ParkedInbound(ctx context.Context, place claviger.RegionID) ([]claviger.InboundEvent, error) {
	d, err := db.place(place)
	if err != nil {
		return nil, err
	}
	ctx, cancel := bounded(ctx, readDeadline)
	defer cancel()
	all, err := many(ctx, d.reader(), scanInbound, "SELECT "+inboundColumns+` FROM inbound_events WHERE (organization, id) IN
		(SELECT organization, MIN(id) FROM inbound_events WHERE status = 'parked' GROUP BY organization, system LIMIT $1)`, int64(maxParkedSystems))
	for i := range all {
		all[i].Region = place
	}
	return all, err
}

// UnparkInbound lets the parked deliveries of a system be acted upon, as one batch, and
// answers how many there are. It takes no scope: it follows what has just been possible.
func (tx *Tx) UnparkInbound(ctx context.Context, organization claviger.OrganizationID, system, batch string) (int64, error) {
	return tx.exec(ctx, "UPDATE inbound_events SET status = 'received', attempts = 0, code = '', batch = $1 WHERE organization = $2 AND system = $3 AND status = 'parked'",
		batch, string(organization), system)
}

// PurgeInbound forgets what was received before a time, in all places, a batch at a time.
// It takes no scope.
func (db *DB) PurgeInbound(ctx context.Context, before time.Time) error {
	for _, place := range db.Places() {
		for {
			purged := int64(0)
			err := db.InTx(ctx, place, func(tx *Tx) (err error) {
				purged, err = tx.exec(ctx, `DELETE FROM inbound_events WHERE (organization, id) IN
					(SELECT organization, id FROM inbound_events WHERE received_at < $1 LIMIT $2)`, millis(before), int64(purgeBatch))
				return err
			})
			if err != nil {
				return err
			}
			if purged == 0 {
				break
			}
		}
	}
	return nil
}
