package gate

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"claviger"
	"claviger/internal/failpoint"
	"claviger/internal/store"
)

// checkpointEvery is the longest time between two checkpoints while entries arrive. It
// bounds what an attacker who holds both the database and old heads could cut off
// unseen.
const checkpointEvery = 10 * time.Second

// Anchor keeps a copy of each signed checkpoint outside the database.
type Anchor interface {
	// Append stores one line durably before it returns.
	Append(line []byte) error
}

// FileAnchor is an append-only file of checkpoints, one JSON document to a line.
type FileAnchor struct{ Path string }

// Append adds a line and flushes it to disk.
func (a FileAnchor) Append(line []byte) error {
	f, err := os.OpenFile(a.Path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(append(line, '\n')); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

// checkpointBody is the signed content of a checkpoint: the heads that moved since the
// one before, whose signature it carries on. The heads of all streams at a checkpoint
// are therefore those of it and its predecessors, the newest counting.
type checkpointBody struct {
	Region   claviger.RegionID `json:"region,omitempty"`
	Sequence int64             `json:"sequence"`
	Time     int64             `json:"time"` // unix milliseconds
	Previous []byte            `json:"previous,omitempty"`
	Heads    []streamHead      `json:"heads"`
}

type streamHead struct {
	Stream   string `json:"stream"`
	Sequence int64  `json:"sequence"`
	MAC      []byte `json:"mac"`
}

// Checkpoint writes a signed checkpoint for each region in which a stream moved since
// the last one.
func (g *Gate) Checkpoint(ctx context.Context) error {
	for _, region := range g.db.Places() {
		if err := g.checkpoint(ctx, region); err != nil {
			return err
		}
	}
	return nil
}

func (g *Gate) checkpoint(ctx context.Context, region claviger.RegionID) error {
	var line []byte
	err := g.db.InTx(ctx, region, func(tx *store.Tx) error {
		line = nil
		last, err := tx.LastCheckpoint(ctx)
		if err != nil {
			return err
		}
		moved, err := tx.MovedStreams(ctx)
		if err != nil || len(moved) == 0 {
			return err
		}
		body := checkpointBody{Region: region, Sequence: last.Sequence + 1, Time: g.now().UnixMilli(), Previous: last.MAC}
		for _, s := range moved {
			body.Heads = append(body.Heads, streamHead{s.ID, s.Head.Sequence, s.Head.MAC})
		}
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		signature := g.chain.Sign(append([]byte{labelCheckpoint, 1}, text...))
		line = anchorLine(text, signature)
		if err := tx.AddCheckpoint(ctx, store.Checkpoint{Sequence: body.Sequence, Time: time.UnixMilli(body.Time), Body: text, MAC: signature}); err != nil {
			return err
		}
		failpoint.Hit("checkpoint.inside")
		return tx.MarkCheckpointed(ctx, moved)
	})
	failpoint.Hit("checkpoint.committed")
	if err != nil || line == nil || g.anchor == nil {
		return err
	}
	return g.anchor.Append(line)
}

// checkpoints writes one as time goes by, until the gate closes.
func (g *Gate) checkpoints() {
	defer close(g.done)
	tick := time.NewTicker(checkpointEvery)
	defer tick.Stop()
	for {
		select {
		case <-g.stop:
			return
		case <-tick.C:
			ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
			if err := g.Checkpoint(ctx); err != nil {
				g.log.Warn("a checkpoint of the ledger could not be written", "error", err)
			}
			cancel()
		}
	}
}

func anchorLine(body, signature []byte) []byte {
	return fmt.Appendf(nil, `{"checkpoint":%s,"signature":%q}`, body, base64.StdEncoding.EncodeToString(signature))
}

// readAnchor answers the newest signed head of each stream of a region that the anchor
// file knows. A last line that a crash cut short is passed over.
func readAnchor(r io.Reader, chain Chain, region claviger.RegionID) (heads map[string]streamHead, faults []Finding, err error) {
	heads = map[string]streamHead{}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), 64<<20)
	for n := 1; lines.Scan(); n++ {
		var doc struct {
			Checkpoint json.RawMessage `json:"checkpoint"`
			Signature  []byte          `json:"signature"`
		}
		var body checkpointBody
		if json.Unmarshal(lines.Bytes(), &doc) != nil || json.Unmarshal(doc.Checkpoint, &body) != nil {
			continue
		}
		text := bytes.TrimSpace(doc.Checkpoint)
		if !chain.Verify(append([]byte{labelCheckpoint, 1}, text...), doc.Signature) {
			faults = append(faults, Finding{Problem: "anchor", Detail: fmt.Sprintf("line %d of the anchor file carries no valid signature", n)})
			continue
		}
		if body.Region != region {
			continue
		}
		for _, h := range body.Heads {
			if h.Sequence >= heads[h.Stream].Sequence {
				heads[h.Stream] = h
			}
		}
	}
	return heads, faults, lines.Err()
}
