package store

import (
	"context"
	"slices"

	"claviger"
)

// Places answers one region for each distinct database: "" for control's, and for
// every other the first of the regions in it. They are what [DB.InTx] takes.
func (db *DB) Places() []claviger.RegionID {
	places := []claviger.RegionID{""}
	for _, d := range db.distinct {
		if d != db.control {
			places = append(places, d.region)
		}
	}
	return places
}

// PlaceOf answers the place, one of [DB.Places], of what belongs to a workspace; an
// empty workspace stands for the organization's own matters, which control keeps. With
// one database it asks nothing. It takes no scope: it says where to write, and what may
// be written has been decided.
func (db *DB) PlaceOf(ctx context.Context, organization claviger.OrganizationID, workspace claviger.WorkspaceID) (claviger.RegionID, error) {
	if workspace == "" || !slices.ContainsFunc(db.distinct, func(d *database) bool { return d != db.control }) {
		return "", nil
	}
	region, err := fromControl(ctx, db, scanOne[string],
		"SELECT region FROM workspaces WHERE organization = $1 AND id = $2", string(organization), string(workspace))
	if err != nil {
		return "", err
	}
	d, err := db.place(claviger.RegionID(region))
	if err != nil || d == db.control {
		return "", err
	}
	return d.region, nil
}

// maxMoved bounds the streams of one checkpoint; the next one takes the rest.
const maxMoved = 1000

// MovedStreams answers the streams that grew since the last checkpoint that named them,
// the longest unnamed first.
func (tx *Tx) MovedStreams(ctx context.Context) ([]Stream, error) {
	return many(ctx, tx.q, scanStream,
		"SELECT "+streamColumns+" FROM streams WHERE sequence > checkpointed ORDER BY updated_at, id LIMIT $1", int64(maxMoved))
}

// MarkCheckpointed notes that a checkpoint names these streams' heads.
func (tx *Tx) MarkCheckpointed(ctx context.Context, streams []Stream) error {
	for i := range streams {
		if _, err := tx.exec(ctx, "UPDATE streams SET checkpointed = $1 WHERE id = $2", streams[i].Head.Sequence, streams[i].ID); err != nil {
			return err
		}
	}
	return nil
}
