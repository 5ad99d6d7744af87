package gate

import (
	"context"
	"crypto/hmac"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"claviger"
	"claviger/internal/store"
)

// Finding is one place where the ledger is not what was written.
type Finding struct {
	Problem  string           // edited, missing, truncated, stream, checkpoint, anchor
	Stream   string           // where
	Sequence int64            // the first sequence concerned, or 0
	Entry    claviger.EntryID // the entry, or the last intact one before a gap
	Detail   string           // a sentence for a person
}

// Report is the result of [Verify].
type Report struct {
	Streams     int
	Entries     int64
	Checkpoints int64
	Findings    []Finding // empty: the ledger is intact; at most maxFindings
}

// Intact reports whether nothing was found.
func (r *Report) Intact() bool { return len(r.Findings) == 0 }

// maxFindings bounds a report: a ledger that is broken in more places is broken.
const maxFindings = 100

// Verification says what to verify.
type Verification struct {
	Store  *store.DB
	Chain  Chain
	Anchor io.ReadSeeker // nil: without the anchor file; read line by line, once for each database
	// From and To, when not zero, report on entries of that time only; the chain is
	// walked whole, since a cut outside shows inside.
	From, To time.Time
}

// Verify walks every stream of every region and compares it with its MACs, its head,
// the checkpoints and the anchor. It answers an error only if it could not read.
func Verify(ctx context.Context, v Verification) (*Report, error) {
	r := &Report{}
	for _, region := range v.Store.Places() {
		w := walker{v: v, report: r, region: region, heads: map[string]streamHead{}, ends: map[string]store.Head{}}
		if err := w.walk(ctx); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// walker verifies one database.
type walker struct {
	v      Verification
	report *Report
	region claviger.RegionID
	heads  map[string]streamHead // the newest head of each stream that a signature vouches for
	ends   map[string]store.Head // where each stream really ends
}

func (w *walker) walk(ctx context.Context) error {
	if err := w.checkpoints(ctx); err != nil {
		return err
	}
	anchored, err := w.anchored()
	if err != nil {
		return fmt.Errorf("reading the anchor: %w", err)
	}
	for id, h := range anchored {
		if h.Sequence > w.heads[id].Sequence {
			w.heads[id] = h
		}
	}
	streams, err := w.v.Store.Streams(ctx, w.region)
	if err != nil {
		return err
	}
	for i := range streams {
		if err := w.stream(ctx, &streams[i]); err != nil {
			return err
		}
	}
	for id, h := range w.heads {
		if _, ok := w.ends[id]; !ok {
			w.found(Finding{Problem: "stream", Stream: id, Sequence: 1, Detail: fmt.Sprintf("the whole stream of %d entries, which a signed checkpoint names, is gone", h.Sequence)})
		}
	}
	return nil
}

// anchored answers the heads that the anchor vouches for, and reports its faults.
func (w *walker) anchored() (map[string]streamHead, error) {
	if w.v.Anchor == nil {
		return nil, nil
	}
	if _, err := w.v.Anchor.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	heads, faults, err := readAnchor(w.v.Anchor, w.v.Chain, w.region)
	for _, f := range faults {
		w.found(f)
	}
	return heads, err
}

// checkpoints verifies the signed chain of checkpoints and gathers the heads it vouches for.
func (w *walker) checkpoints(ctx context.Context) error {
	var last store.Checkpoint
	return w.v.Store.WalkCheckpoints(ctx, w.region, 1, func(c store.Checkpoint) error {
		w.report.Checkpoints++
		var body checkpointBody
		switch {
		case json.Unmarshal(c.Body, &body) != nil || !w.v.Chain.Verify(append([]byte{labelCheckpoint, 1}, c.Body...), c.MAC):
			w.found(Finding{Problem: "checkpoint", Sequence: c.Sequence, Detail: "the checkpoint carries no valid signature"})
		case c.Sequence != last.Sequence+1 || !hmac.Equal(body.Previous, last.MAC):
			w.found(Finding{Problem: "checkpoint", Sequence: c.Sequence, Detail: fmt.Sprintf("checkpoint %d does not follow checkpoint %d: one between is gone", c.Sequence, last.Sequence)})
		}
		for _, h := range body.Heads {
			if h.Sequence >= w.heads[h.Stream].Sequence {
				w.heads[h.Stream] = h
			}
		}
		last = c
		return nil
	})
}

// stream walks one stream from its first entry to its head.
func (w *walker) stream(ctx context.Context, s *store.Stream) error {
	w.report.Streams++
	end := store.Head{MAC: genesis(w.v.Chain, s.ID)}
	var before claviger.EntryID
	var buf []byte
	vouched := w.heads[s.ID]
	err := w.v.Store.WalkStream(ctx, w.region, s.ID, 1, func(e claviger.Entry) error {
		w.report.Entries++
		if e.Sequence != end.Sequence+1 {
			w.found(Finding{
				Problem: "missing", Stream: s.ID, Sequence: end.Sequence + 1, Entry: before,
				Detail: fmt.Sprintf("entries %d to %d are gone (after %s, before %s)", end.Sequence+1, e.Sequence-1, nameOf(before), e.ID),
			})
		} else if buf = appendEntry(buf[:0], &e); !hmac.Equal(w.v.Chain.Link(end.MAC, buf), e.MAC) && w.within(e.Time) {
			w.found(Finding{
				Problem: "edited", Stream: s.ID, Sequence: e.Sequence, Entry: e.ID,
				Detail: fmt.Sprintf("entry %s (%d) is not as it was written", e.ID, e.Sequence),
			})
		}
		if e.Sequence == vouched.Sequence && !hmac.Equal(e.MAC, vouched.MAC) {
			w.found(Finding{Problem: "checkpoint", Stream: s.ID, Sequence: e.Sequence, Entry: e.ID, Detail: fmt.Sprintf("entry %s is not the one that a signed checkpoint names", e.ID)})
		}
		end = store.Head{Sequence: e.Sequence, MAC: e.MAC}
		before = e.ID
		return nil
	})
	if err != nil {
		return err
	}
	w.ends[s.ID] = end
	w.head(s, end, before, vouched)
	return nil
}

// head compares where a stream ends with where it should.
func (w *walker) head(s *store.Stream, end store.Head, last claviger.EntryID, vouched streamHead) {
	should := max(s.Head.Sequence, vouched.Sequence)
	switch {
	case !hmac.Equal(w.v.Chain.Link(nil, appendHead(nil, s.ID, s.Head.Sequence, s.Head.MAC)), s.HeadMAC):
		w.found(Finding{Problem: "stream", Stream: s.ID, Sequence: s.Head.Sequence, Entry: last, Detail: "the head of the stream is not as it was written"})
	case end.Sequence < should:
		w.found(Finding{
			Problem: "truncated", Stream: s.ID, Sequence: end.Sequence + 1, Entry: last,
			Detail: fmt.Sprintf("entries %d to %d at the end are gone (after %s)", end.Sequence+1, should, nameOf(last)),
		})
	case end.Sequence > s.Head.Sequence || !hmac.Equal(end.MAC, s.Head.MAC):
		w.found(Finding{Problem: "stream", Stream: s.ID, Sequence: end.Sequence, Entry: last, Detail: fmt.Sprintf("entry %s stands where the stream's head does not name it", nameOf(last))})
	}
}

func (w *walker) within(t time.Time) bool {
	return (w.v.From.IsZero() || !t.Before(w.v.From)) && (w.v.To.IsZero() || t.Before(w.v.To))
}

func (w *walker) found(f Finding) {
	if len(w.report.Findings) < maxFindings {
		w.report.Findings = append(w.report.Findings, f)
	}
}

func nameOf(id claviger.EntryID) string {
	if id == "" {
		return "the beginning"
	}
	return string(id)
}
