package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"claviger"
)

// MaxEndpoints bounds an organization's event endpoints: every change of a connection
// writes one delivery for each.
const MaxEndpoints = 20

// EndpointSecrets are the ciphertexts of an endpoint's signing secrets.
type EndpointSecrets struct {
	Current  claviger.Sealed // of the endpoint's Version
	Previous claviger.Sealed // of the version before; nil if there is none
}

const endpointColumns = "organization, id, url, events, owner, disabled, version, previous_until, created_at, updated_at, sealed, previous"

type endpointRow struct {
	claviger.EventEndpoint
	EndpointSecrets
}

func scanEndpoint(r row) (endpointRow, error) {
	var e endpointRow
	var events string
	var until, created, updated int64
	var sealed, previous []byte
	err := r.Scan(&e.Organization, &e.ID, &e.URL, &events, &e.Owner, &e.Disabled, &e.Version, &until, &created, &updated, &sealed, &previous)
	e.PreviousUntil, e.CreatedAt, e.UpdatedAt = fromMillis(until), fromMillis(created), fromMillis(updated)
	e.Current, e.Previous = sealed, previous
	return e, errors.Join(err, undocument(events, &e.Events))
}

// EventEndpoint answers one endpoint of the organization.
func (db *DB) EventEndpoint(ctx context.Context, s claviger.Scope, id claviger.EndpointID) (claviger.EventEndpoint, error) {
	w, err := wide(s)
	if err != nil {
		return claviger.EventEndpoint{}, err
	}
	w.and("id = ?", string(id))
	e, err := fromControl(ctx, db, scanEndpoint, "SELECT "+endpointColumns+" FROM event_endpoints WHERE "+w.text.String(), w.args...)
	return e.EventEndpoint, err
}

// EventEndpoints lists the organization's endpoints, newest first.
func (db *DB) EventEndpoints(ctx context.Context, s claviger.Scope, p Page) ([]claviger.EventEndpoint, error) {
	w, err := wide(s)
	if err != nil {
		return nil, err
	}
	p.tail(w, "id")
	all, err := listControl(ctx, db, scanEndpoint, "SELECT "+endpointColumns+" FROM event_endpoints WHERE "+w.text.String(), w.args...)
	return endpoints(all), err
}

func endpoints(rows []endpointRow) []claviger.EventEndpoint {
	out := make([]claviger.EventEndpoint, len(rows))
	for i, e := range rows {
		out[i] = e.EventEndpoint
	}
	return out
}

// CreateEventEndpoint keeps an endpoint with the ciphertext of its first secret. One
// beyond MaxEndpoints is a conflict on "eventEndpoints".
func (tx *Tx) CreateEventEndpoint(ctx context.Context, s claviger.Scope, e claviger.EventEndpoint, sealed claviger.Sealed) error {
	if err := covers(s, e.Organization, ""); err != nil {
		return err
	}
	// The organization's row orders those that count at the same time.
	if _, err := one(ctx, tx.q, scanOne[string], "SELECT id FROM organizations WHERE id = $1"+tx.home.lock, string(e.Organization)); err != nil {
		return err
	}
	n, err := one(ctx, tx.q, scanOne[int64], "SELECT COUNT(*) FROM event_endpoints WHERE organization = $1", string(e.Organization))
	if err != nil {
		return err
	}
	if n >= MaxEndpoints {
		return &Conflict{Field: "eventEndpoints"}
	}
	_, err = tx.exec(ctx, "INSERT INTO event_endpoints ("+endpointColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
		string(e.Organization), string(e.ID), e.URL, document(texts(e.Events)), e.Owner, e.Disabled, e.Version,
		millis(e.PreviousUntil), millis(e.CreatedAt), millis(e.UpdatedAt), []byte(sealed), nil)
	return err
}

func texts[T ~string](in []T) []string {
	out := make([]string, len(in))
	for i, v := range in {
		out[i] = string(v)
	}
	return out
}

// DeleteEventEndpoint removes an endpoint and its secrets. What is on its way to it is
// canceled when its turn comes.
func (tx *Tx) DeleteEventEndpoint(ctx context.Context, s claviger.Scope, id claviger.EndpointID) error {
	if err := organizationWide(s); err != nil {
		return err
	}
	return mustTouch(ctx, tx.q, ErrNotFound, "DELETE FROM event_endpoints WHERE organization = $1 AND id = $2", string(s.Organization()), string(id))
}

// RotateEventEndpoint puts a new secret, sealed for the endpoint's next version, in the
// place of the present one, which stays valid until a time. seal is told the endpoint as
// it will be.
func (tx *Tx) RotateEventEndpoint(ctx context.Context, s claviger.Scope, id claviger.EndpointID, until time.Time, seal func(claviger.EventEndpoint) (claviger.Sealed, error)) (claviger.EventEndpoint, error) {
	w, err := wide(s)
	if err != nil {
		return claviger.EventEndpoint{}, err
	}
	w.and("id = ?", string(id))
	old, err := one(ctx, tx.q, scanEndpoint, "SELECT "+endpointColumns+" FROM event_endpoints WHERE "+w.text.String()+tx.home.lock, w.args...)
	if err != nil {
		return claviger.EventEndpoint{}, err
	}
	next := old.EventEndpoint
	next.Version++
	next.PreviousUntil, next.UpdatedAt = until, tx.db.now()
	sealed, err := seal(next)
	if err != nil {
		return next, err
	}
	_, err = tx.exec(ctx, `UPDATE event_endpoints SET version = $1, sealed = $2, previous = $3, previous_until = $4, updated_at = $5
		WHERE organization = $6 AND id = $7`, next.Version, []byte(sealed), []byte(old.Current), millis(until), millis(next.UpdatedAt),
		string(next.Organization), string(id))
	return next, err
}

// Subscribed answers the working endpoints of an organization that want a type of
// event. It takes no scope: what happened has been decided, and who is told of it is
// the organization's own list.
func (tx *Tx) Subscribed(ctx context.Context, organization claviger.OrganizationID, t claviger.EventType) ([]claviger.EndpointID, error) {
	return subscribed(ctx, tx.in(tx.db.control), organization, t)
}

// AnySubscribed reports whether a working endpoint wants a type of event.
func (db *DB) AnySubscribed(ctx context.Context, s claviger.Scope, t claviger.EventType) (bool, error) {
	if s.Organization() == "" {
		return false, ErrNoScope
	}
	ctx, cancel := bounded(ctx, readDeadline)
	defer cancel()
	ids, err := subscribed(ctx, db.control.reader(), s.Organization(), t)
	return len(ids) > 0, err
}

func subscribed(ctx context.Context, q querier, organization claviger.OrganizationID, t claviger.EventType) ([]claviger.EndpointID, error) {
	all, err := many(ctx, q, scanEndpoint,
		"SELECT "+endpointColumns+" FROM event_endpoints WHERE organization = $1 AND disabled = '' ORDER BY id LIMIT $2", string(organization), int64(MaxEndpoints))
	var out []claviger.EndpointID
	for _, e := range all {
		if slices.Contains(e.Events, t) {
			out = append(out, e.ID)
		}
	}
	return out, err
}

// EndpointToCall answers an endpoint with its ciphertexts, and whether whoever made it
// still has the right to: a person who is gone or disabled, a revoked key or a deleted
// application has not. It takes no scope: a delivery asks, which the organization's own
// change made.
func (db *DB) EndpointToCall(ctx context.Context, organization claviger.OrganizationID, id claviger.EndpointID) (claviger.EventEndpoint, EndpointSecrets, bool, error) {
	e, err := fromControl(ctx, db, scanEndpoint,
		"SELECT "+endpointColumns+" FROM event_endpoints WHERE organization = $1 AND id = $2", string(organization), string(id))
	if err != nil {
		return claviger.EventEndpoint{}, EndpointSecrets{}, false, err
	}
	living, err := fromControl(ctx, db, scanOne[int64], `SELECT
		(SELECT COUNT(*) FROM users WHERE organization = $1 AND id = $2 AND disabled = 0) +
		(SELECT COUNT(*) FROM applications WHERE organization = $1 AND (id = $2 OR client_id = $2)) +
		(SELECT COUNT(*) FROM api_keys WHERE organization = $1 AND id = $2 AND revoked_at = 0)`, string(organization), e.Owner)
	return e.EventEndpoint, e.EndpointSecrets, living > 0, err
}

// DisableEventEndpoint stops an endpoint for a reason. It takes no scope, like
// EndpointToCall. One that is disabled already keeps its reason.
func (tx *Tx) DisableEventEndpoint(ctx context.Context, organization claviger.OrganizationID, id claviger.EndpointID, why string) error {
	_, err := tx.exec(ctx, "UPDATE event_endpoints SET disabled = $1, updated_at = $2 WHERE organization = $3 AND id = $4 AND disabled = ''",
		why, millis(tx.db.now()), string(organization), string(id))
	return err
}
