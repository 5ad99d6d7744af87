package store

import (
	"context"
	"errors"

	"claviger"
)

const keysetColumns = "organization, wrapped, version, updated_at, seals, master"

func scanKeyset(r row) (claviger.Keyset, error) {
	var k claviger.Keyset
	var updated int64
	err := r.Scan(&k.Organization, &k.Wrapped, &k.Version, &updated, &k.Seals, &k.Master)
	k.UpdatedAt = fromMillis(updated)
	return k, err
}

// Keyset answers the wrapped keyset of an organization, or the instance's for "".
// Keysets take no scope: they are worthless without the master key, and only the
// vault asks for them.
func (db *DB) Keyset(ctx context.Context, organization claviger.OrganizationID) (claviger.Keyset, error) {
	return fromControl(ctx, db, scanKeyset, "SELECT "+keysetColumns+" FROM keysets WHERE organization = $1", string(organization))
}

// Keysets lists up to limit (at most 1000) keysets above an organization's id, by
// id, without the instance's.
func (db *DB) Keysets(ctx context.Context, after claviger.OrganizationID, limit int) ([]claviger.Keyset, error) {
	return listControl(ctx, db, scanKeyset, "SELECT "+keysetColumns+" FROM keysets WHERE organization > $1 ORDER BY organization LIMIT $2",
		string(after), int64(min(max(limit, 1), 1000)))
}

// PutKeyset keeps a wrapped keyset as version expect+1. expect 0 means that there
// is none yet: another is a conflict on "organization". A version other than expect is
// [ErrStale]. What it has sealed is counted from nothing.
func (tx *Tx) PutKeyset(ctx context.Context, k claviger.Keyset, expect int64) error {
	var err error
	if expect == 0 {
		_, err = tx.exec(ctx, "INSERT INTO keysets ("+keysetColumns+") VALUES ($1, $2, 1, $3, 0, $4)",
			string(k.Organization), filled(k.Wrapped), millis(tx.db.now()), k.Master)
	} else {
		err = mustTouch(ctx, tx.q, ErrStale, "UPDATE keysets SET wrapped = $1, version = $2, updated_at = $3, seals = 0, master = $4 WHERE organization = $5 AND version = $6",
			filled(k.Wrapped), expect+1, millis(tx.db.now()), k.Master, string(k.Organization), expect)
	}
	if err != nil {
		return err
	}
	return tx.AddChange(ctx, changeKeyset, string(k.Organization))
}

// maxMasters bounds the master keys that keysets are wrapped under at one time.
const maxMasters = 100

// Masters lists the ids of the master keys that keysets are wrapped under, at most 100,
// the empty one too if some keyset's is not noted. It costs the same however many keysets
// there are.
func (db *DB) Masters(ctx context.Context) ([]string, error) {
	var ids []string
	next := "SELECT master FROM keysets WHERE master >= $1 ORDER BY master LIMIT 1"
	for after := ""; len(ids) < maxMasters; {
		id, err := fromControl(ctx, db, scanOne[string], next, after)
		if errors.Is(err, ErrNotFound) {
			break
		}
		if err != nil {
			return nil, err
		}
		ids, after = append(ids, id), id
		next = "SELECT master FROM keysets WHERE master > $1 ORDER BY master LIMIT 1"
	}
	return ids, nil
}

// KeysetsApart lists up to limit (at most 1000) keysets that are wrapped under another
// master key than the one of this id, the instance's too.
func (db *DB) KeysetsApart(ctx context.Context, master string, limit int) ([]claviger.Keyset, error) {
	return listControl(ctx, db, scanKeyset, "SELECT "+keysetColumns+" FROM keysets WHERE master < $1 OR master > $1 LIMIT $2",
		master, int64(min(max(limit, 1), 1000)))
}

// Rewrap keeps the same keyset wrapped under another master key, whose id k has. It does
// nothing if the row is no longer of k's Version or no longer wrapped under the master key
// of the id was. Nobody need be told: what is in memory of it stays right.
func (tx *Tx) Rewrap(ctx context.Context, k claviger.Keyset, was string) error {
	_, err := tx.exec(ctx, "UPDATE keysets SET wrapped = $1, master = $2 WHERE organization = $3 AND version = $4 AND master = $5",
		filled(k.Wrapped), k.Master, string(k.Organization), k.Version, was)
	return err
}

// AddSeals counts values that an organization's primary key has sealed, and answers how
// many there are of all nodes. Values of the key before, counted late, make it a few too
// many. [ErrNotFound] if there is no keyset any more.
func (tx *Tx) AddSeals(ctx context.Context, organization claviger.OrganizationID, sealed int64) (int64, error) {
	return one(ctx, tx.q, scanOne[int64], "UPDATE keysets SET seals = seals + $1 WHERE organization = $2 RETURNING seals", sealed, string(organization))
}

// Fact answers a small named blob of the instance, for example its deployment id.
// Facts take no scope: no tenant has any.
func (db *DB) Fact(ctx context.Context, name string) ([]byte, error) {
	return fromControl(ctx, db, scanOne[[]byte], "SELECT value FROM facts WHERE name = $1", name)
}

// PutFact keeps a named blob. With mustBeNew one that is there already is a
// conflict on "name", so that of several nodes that start together one decides.
func (tx *Tx) PutFact(ctx context.Context, name string, value []byte, mustBeNew bool) error {
	const insert = "INSERT INTO facts (name, value) VALUES ($1, $2) ON CONFLICT (name)"
	if !mustBeNew {
		_, err := tx.exec(ctx, insert+" DO UPDATE SET value = excluded.value", name, filled(value))
		return err
	}
	return mustTouch(ctx, tx.q, &Conflict{Field: "name"}, insert+" DO NOTHING", name, filled(value))
}
