package store

import (
	"cmp"
	"context"
	"strings"
	"time"

	"claviger"
)

const (
	inboundColumns = "organization, id, workspace, system, data_source, connection, slot, replay_key, delivery, type, content_type, size, batch, status, attempts, code, received_at, processed_at"
	inboundWidth   = 19 // with the body
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
	fresh := make(map[claviger.InboundID]bool, len(batch))
	for rest := batch; len(rest) > 0; {
		n := chunk(len(rest))
		ids, err := tx.insertInbound(ctx, rest[:n])
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			fresh[id] = true
		}
		rest = rest[n:]
	}
	for i := range batch {
		e := &batch[i]
		if fresh[e.ID] {
			out[i].ID = e.ID
			continue
		}
		id, err := one(ctx, tx.q, scanOne[claviger.InboundID], "SELECT id FROM inbound_events WHERE connection = $1 AND replay_key = $2", string(e.Connection), e.ReplayKey)
		if err != nil {
			return nil, err
		}
		out[i] = KeptInbound{ID: id, Copy: true}
	}
	return out, tx.markReused(ctx, batch, out)
}

func (tx *Tx) insertInbound(ctx context.Context, part []NewInbound) ([]claviger.InboundID, error) {
	args := make([]any, 0, len(part)*inboundWidth)
	for i := range part {
		e := &part[i]
		args = append(args, string(e.Organization), string(e.ID), string(e.Workspace), e.System, e.DataSource, string(e.Connection), e.Slot,
			filled(e.ReplayKey), e.Delivery, e.Type, e.ContentType, int64(e.Size), e.Batch, string(e.Status), int64(e.Attempts), e.Code,
			millis(e.ReceivedAt), millis(e.ProcessedAt), filled(e.Body))
	}
	return many(ctx, tx.q, scanOne[claviger.InboundID], tx.home.insert("INSERT INTO inbound_events ("+inboundColumns+", body)",
		len(part), inboundWidth, " ON CONFLICT (connection, replay_key) DO NOTHING RETURNING id"), args...)
}

// markReused finds the deliveries whose vendor's id another one has too.
func (tx *Tx) markReused(ctx context.Context, batch []NewInbound, out []KeptInbound) error {
	named := map[claviger.ConnectionID]map[string][]int{}
	for i := range batch {
		e := &batch[i]
		if e.Delivery == "" || out[i].Copy {
			continue
		}
		if named[e.Connection] == nil {
			named[e.Connection] = map[string][]int{}
		}
		named[e.Connection][e.Delivery] = append(named[e.Connection][e.Delivery], i)
	}
	for connection, deliveries := range named {
		ids := make([]string, 0, len(deliveries))
		for id := range deliveries {
			ids = append(ids, id)
		}
		for len(ids) > 0 {
			n := chunk(len(ids))
			found, err := tx.named(ctx, connection, ids[:n])
			if err != nil {
				return err
			}
			for _, f := range found {
				for _, i := range deliveries[f.delivery] {
					out[i].Reused = out[i].ID != f.first || out[i].ID != f.last
				}
			}
			ids = ids[n:]
		}
	}
	return nil
}

// namedDelivery is the first and the last event that have a vendor's delivery id.
type namedDelivery struct {
	delivery    string
	first, last claviger.InboundID
}

func (tx *Tx) named(ctx context.Context, connection claviger.ConnectionID, deliveries []string) ([]namedDelivery, error) {
	w := &where{}
	w.and("connection = ? AND delivery <> ''", string(connection)) // as the index says it
	args := make([]any, len(deliveries))
	for i, d := range deliveries {
		args[i] = d
	}
	w.and("delivery IN (?"+strings.Repeat(", ?", len(args)-1)+")", args...)
	return many(ctx, tx.q, func(r row) (f namedDelivery, err error) {
		err = r.Scan(&f.delivery, &f.first, &f.last)
		return f, err
	}, "SELECT delivery, MIN(id), MAX(id) FROM inbound_events WHERE "+w.text.String()+" GROUP BY delivery", w.args...)
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
