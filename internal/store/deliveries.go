package store

import (
	"cmp"
	"context"
	"time"

	"claviger"
)

const deliveryColumns = "organization, id, workspace, endpoint, event, type, body, status, attempts, status_code, code, since, next_at, last_at, created_at"

func scanDelivery(r row) (claviger.EventDelivery, error) {
	var d claviger.EventDelivery
	var since, next, last, created int64
	err := r.Scan(&d.Organization, &d.ID, &d.Workspace, &d.Endpoint, &d.Event, &d.Type, &d.Body, &d.Status, &d.Attempts, &d.StatusCode,
		&d.Code, &since, &next, &last, &created)
	d.Since, d.NextAt, d.LastAt, d.CreatedAt = fromMillis(since), fromMillis(next), fromMillis(last), fromMillis(created)
	return d, err
}

// AddEventDelivery keeps an event that is on its way. It takes no scope, like
// Subscribed: the caller's change has been decided.
func (tx *Tx) AddEventDelivery(ctx context.Context, d claviger.EventDelivery) error {
	_, err := tx.exec(ctx, "INSERT INTO event_deliveries ("+deliveryColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
		string(d.Organization), string(d.ID), string(d.Workspace), string(d.Endpoint), string(d.Event), string(d.Type), filled(d.Body),
		string(d.Status), int64(d.Attempts), int64(d.StatusCode), d.Code, millis(d.Since), millis(d.NextAt), millis(d.LastAt), millis(d.CreatedAt))
	return err
}

// DeliveryToSend answers a delivery in a place for the job that sends it, which is why
// it takes no scope.
func (db *DB) DeliveryToSend(ctx context.Context, place claviger.RegionID, organization claviger.OrganizationID, id claviger.DeliveryID) (claviger.EventDelivery, error) {
	at, err := db.place(place)
	if err != nil {
		return claviger.EventDelivery{}, err
	}
	ctx, cancel := bounded(ctx, readDeadline)
	defer cancel()
	d, err := one(ctx, at.reader(), scanDelivery, "SELECT "+deliveryColumns+" FROM event_deliveries WHERE organization = $1 AND id = $2", string(organization), string(id))
	d.Region = place
	return d, err
}

// SaveEventDelivery stores how an attempt ended, if nobody has stored one since the
// delivery was read, when it had this many attempts; else it is [ErrNotFound]. It takes
// no scope, like DeliveryToSend.
func (tx *Tx) SaveEventDelivery(ctx context.Context, d claviger.EventDelivery, attempts int) error {
	return mustTouch(ctx, tx.q, ErrNotFound, `UPDATE event_deliveries SET status = $1, attempts = $2, status_code = $3, code = $4, next_at = $5, last_at = $6
		WHERE organization = $7 AND id = $8 AND attempts = $9 AND status = 'pending'`,
		string(d.Status), int64(d.Attempts), int64(d.StatusCode), d.Code, millis(d.NextAt), millis(d.LastAt),
		string(d.Organization), string(d.ID), int64(attempts))
}

// EventDelivery answers one delivery to an endpoint, with its Region.
func (db *DB) EventDelivery(ctx context.Context, s claviger.Scope, endpoint claviger.EndpointID, id claviger.DeliveryID) (claviger.EventDelivery, error) {
	w, err := wide(s)
	if err != nil {
		return claviger.EventDelivery{}, err
	}
	w.and("endpoint = ? AND id = ?", string(endpoint), string(id))
	return inPlaces(ctx, db, func(ctx context.Context, d *database, place claviger.RegionID) (claviger.EventDelivery, error) {
		found, err := one(ctx, d.reader(), scanDelivery, "SELECT "+deliveryColumns+" FROM event_deliveries WHERE "+w.text.String(), w.args...)
		found.Region = place
		return found, err
	})
}

// inPlaces is inRegions with control's database, which keeps what belongs to no
// workspace.
func inPlaces[T any](ctx context.Context, db *DB, read func(context.Context, *database, claviger.RegionID) (T, error)) (T, error) {
	ctx, cancel := bounded(ctx, readDeadline)
	defer cancel()
	var v T
	err := ErrNotFound
	for _, place := range db.Places() {
		d, _ := db.place(place)
		if v, err = read(ctx, d, place); err != ErrNotFound { //nolint:errorlint // translate answers it as it is
			return v, err
		}
	}
	return v, err
}

// EventDeliveries lists an endpoint's deliveries in all places, newest first.
func (db *DB) EventDeliveries(ctx context.Context, s claviger.Scope, endpoint claviger.EndpointID, p Page) ([]claviger.EventDelivery, error) {
	w, err := wide(s)
	if err != nil {
		return nil, err
	}
	w.and("endpoint = ?", string(endpoint))
	p.tail(w, "id")
	newest := func(a, b claviger.EventDelivery) int { return cmp.Compare(b.ID, a.ID) }
	return merged(ctx, db.databases(), p.limit(), newest, func(ctx context.Context, q querier) ([]claviger.EventDelivery, error) {
		return many(ctx, q, scanDelivery, "SELECT "+deliveryColumns+" FROM event_deliveries WHERE "+w.text.String(), w.args...)
	})
}

// ReplayEventDelivery makes a delivery pending again, as from a time. One that is
// pending already is a conflict on "status".
func (tx *Tx) ReplayEventDelivery(ctx context.Context, s claviger.Scope, endpoint claviger.EndpointID, id claviger.DeliveryID, since time.Time) (claviger.EventDelivery, error) {
	w, err := wide(s)
	if err != nil {
		return claviger.EventDelivery{}, err
	}
	w.and("endpoint = ? AND id = ?", string(endpoint), string(id))
	d, err := one(ctx, tx.q, scanDelivery, "SELECT "+deliveryColumns+" FROM event_deliveries WHERE "+w.text.String()+tx.home.lock, w.args...)
	if err != nil {
		return d, err
	}
	if d.Status == claviger.DeliveryPending {
		return d, &Conflict{Field: "status"}
	}
	d.Status, d.Since, d.NextAt = claviger.DeliveryPending, since, since
	_, err = tx.exec(ctx, "UPDATE event_deliveries SET status = $1, since = $2, next_at = $2 WHERE organization = $3 AND id = $4",
		string(d.Status), millis(since), string(d.Organization), string(id))
	return d, err
}

// PurgeEventDeliveries forgets what was made before a time and is not pending, in all
// places, a batch at a time; it answers how many, and is called again while that is not
// zero. It takes no scope.
func (db *DB) PurgeEventDeliveries(ctx context.Context, before time.Time) (purged int64, err error) {
	for _, place := range db.Places() {
		err := db.InTx(ctx, place, func(tx *Tx) error {
			n, err := tx.exec(ctx, `DELETE FROM event_deliveries WHERE (organization, id) IN
				(SELECT organization, id FROM event_deliveries WHERE created_at < $1 AND status <> 'pending' LIMIT $2)`, millis(before), int64(purgeBatch))
			purged += n
			return err
		})
		if err != nil {
			return purged, err
		}
	}
	return purged, nil
}
