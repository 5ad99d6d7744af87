package store

import (
	"context"
	"fmt"

	"claviger"
)

// SealedColumn is a column of ciphertexts of an organization, beside those of
// connections and secrets, which have methods of their own.
type SealedColumn struct {
	Table, Column string
	// Purpose is what the ciphertexts are bound to beside their row: [claviger.Binding].
	Purpose string

	regional bool
	// The expressions that name a row (a text, unique in the organization), and that its
	// ciphertext is bound to; t is the row. flow stands for what is in a flow's document.
	key, id, revision, destination, flow string
}

// destinationOf is the destination of the connection that a row is about.
const destinationOf = "(SELECT c.destination FROM connections c WHERE c.organization = t.organization AND c.id = t.connection)"

// SealedColumns lists all columns of ciphertexts that belong to organizations, but those
// of connections and secrets. What is not among them is not sealed anew when keys rotate.
func SealedColumns() []SealedColumn {
	return []SealedColumn{
		{Table: "oauth_clients", Column: "sealed", Purpose: "oauth-client", key: "t.connector || '/' || t.auth_method", id: "t.connector || '/' || t.auth_method", revision: "t.version", destination: "t.destination", flow: "''"},
		{Table: "event_endpoints", Column: "sealed", Purpose: "event-endpoint", key: "t.id", id: "t.id", revision: "t.version", destination: "''", flow: "''"},
		{Table: "event_endpoints", Column: "previous", Purpose: "event-endpoint", key: "t.id", id: "t.id", revision: "t.version - 1", destination: "''", flow: "''"},
		{Table: "grants", Column: "answer", Purpose: "grant-answer", regional: true, key: "t.connection", id: "t.connection", revision: "t.sent_revision", destination: destinationOf, flow: "''"},
		{Table: "revocations", Column: "sealed", Purpose: "revocation", regional: true, key: "t.connection || '/' || t.revision", id: "t.connection", revision: "t.revision", destination: destinationOf, flow: "''"},
		{Table: "single_sign_on", Column: "sealed", Purpose: "single-sign-on", key: "t.organization", id: "t.organization", revision: "t.version", destination: "''", flow: "''"},
		{Table: "trust_keys", Column: "sealed", Purpose: "trust-key", key: "t.organization", id: "t.organization", revision: "0", destination: "''", flow: "''"},
		{Table: "secret_previous", Column: "sealed", Purpose: "secret", key: "t.path", id: "t.path", revision: "t.version", destination: "''", flow: "''"},
		{Table: "inbound_events", Column: "body", Purpose: "inbound-event", regional: true, key: "t.id", id: "t.id", revision: "0", destination: "''", flow: "''"},
		{Table: "connect_flows", Column: "sealed", Purpose: "connect-flow", regional: true, key: "t.id", id: "t.id", revision: "0", destination: "''", flow: "t.body"},
	}
}

// Ciphertext is one value of a [SealedColumn].
type Ciphertext struct {
	Sealed  claviger.Sealed
	Binding claviger.Binding
	Place   claviger.RegionID // one of [DB.Places]

	column SealedColumn
	key    string
}

// Ciphertexts answers up to limit (at most 1000) ciphertexts of an organization in a
// column and a place, by key above after, and the key to go on from; "" after the last.
// It takes no scope: it is for the rotation of keys.
func (db *DB) Ciphertexts(ctx context.Context, organization claviger.OrganizationID, c SealedColumn, place claviger.RegionID, after string, limit int) ([]Ciphertext, string, error) {
	d, err := db.place(place)
	if err != nil || !c.regional && d != db.control {
		return nil, "", err
	}
	ctx, cancel := bounded(ctx, readDeadline)
	defer cancel()
	limit = min(max(limit, 1), 1000)
	all, err := many(ctx, d.reader(), func(r row) (Ciphertext, error) {
		x := Ciphertext{Place: place, column: c, Binding: claviger.Binding{Purpose: c.Purpose, Organization: organization}}
		var sealed []byte
		var flow string
		var in claviger.ConnectFlow
		if err := r.Scan(&x.key, &x.Binding.ID, &x.Binding.Revision, &x.Binding.Destination, &flow, &sealed); err != nil {
			return x, err
		}
		x.Sealed = sealed
		if flow == "" {
			return x, nil
		}
		err := undocument(flow, &in)
		x.Binding.Revision, x.Binding.Destination = in.Revision, in.Draft.Destination
		return x, err
	}, fmt.Sprintf(`SELECT %[1]s, %[2]s, %[3]s, COALESCE(%[4]s, ''), %[5]s, t.%[6]s FROM %[7]s t
		WHERE t.organization = $1 AND %[1]s > $2 AND t.%[6]s IS NOT NULL AND LENGTH(t.%[6]s) > 0 ORDER BY %[1]s LIMIT $3`,
		c.key, c.id, c.revision, c.destination, c.flow, c.Column, c.Table), string(organization), after, int64(limit))
	if err != nil || len(all) < limit {
		return all, "", err
	}
	return all, all[len(all)-1].key, nil
}

// Reseal puts the same value under another key in a ciphertext's place. [ErrStale] if
// that has changed, or is gone: whoever changed it sealed it under the newest key.
func (tx *Tx) Reseal(ctx context.Context, old Ciphertext, fresh claviger.Sealed) error {
	c := old.column
	return mustTouch(ctx, tx.q, ErrStale, "UPDATE "+c.Table+" AS t SET "+c.Column+" = $1 WHERE t.organization = $2 AND "+c.key+" = $3 AND t."+c.Column+" = $4",
		[]byte(fresh), string(old.Binding.Organization), old.key, []byte(old.Sealed))
}
