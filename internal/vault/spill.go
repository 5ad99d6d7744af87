package vault

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"claviger"
	"claviger/internal/oauth"
	"claviger/internal/seal"
)

// spill is the folder where vendors' answers wait while the database takes no writes: a
// file for each, on the disk before anything is tried again, so that a process that dies
// meanwhile loses no token. What a file holds is sealed and bound to its connection and
// the revision whose token was sent, or to its connect flow; whether it still counts is
// decided by the lease and the revision, or by where the flow stands, as for an answer in
// memory.
type spill struct {
	folder string
	mu     sync.Mutex
	files  map[string]string // names, by id of a connection or flow
}

// spilled is a file of the folder, as JSON. Nothing but Sealed is trusted: with another
// connection, flow or revision that does not open.
type spilled struct {
	Format       int                     `json:"format"`
	Organization claviger.OrganizationID `json:"organization"`
	Connection   claviger.ConnectionID   `json:"connection,omitempty"`
	Flow         claviger.FlowID         `json:"flow,omitempty"` // in place of Connection
	Revision     int64                   `json:"revision"`
	Sealed       claviger.Sealed         `json:"sealed"`
}

func (x *spilled) id() string { return cmp.Or(string(x.Flow), string(x.Connection)) }

const (
	spillFormat = 1
	// The names of files: whole ones, those being written, and those that cannot be used
	// and are kept for a person to look at.
	spillWhole, spillPart, spillAside = ".answer", ".part", ".unusable"
	// maxSpilled bounds a file: an answer of 1 MiB in base64, sealed, in base64.
	maxSpilled = 4 << 20
	// maxReplayed bounds the answers that are taken up at a time.
	maxReplayed = 100
	// A file of this size is given up when the disk is full, for answers to have room.
	reserveName, reserveSize = "reserve", 1 << 20
)

// openSpill makes the folder and finds what an earlier process left in it.
func openSpill(folder string) (*spill, error) {
	s := &spill{folder: folder, files: map[string]string{}}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("vault: the spill folder: %w", err)
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("vault: the spill folder: %w", err)
	}
	for _, e := range entries {
		switch filepath.Ext(e.Name()) {
		case spillPart: // its process died while writing; the vendor's answer went with it
			err = errors.Join(err, os.Remove(s.path(e.Name())))
		case spillWhole:
			id, _, _ := strings.Cut(e.Name(), ".")
			s.files[id] = e.Name()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("vault: the spill folder: %w", err)
	}
	return s, s.refill()
}

func (s *spill) path(name string) string { return filepath.Join(s.folder, name) }

// refill makes the reserve if there is none.
func (s *spill) refill() error {
	err := s.write(reserveName, make([]byte, reserveSize))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// write makes a file that is on the disk when it answers, for its owner alone.
func (s *spill) write(name string, content []byte) error {
	f, err := os.OpenFile(s.path(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		_ = os.Remove(s.path(name))
	}
	return err
}

// put keeps an answer, in the place of another to the same token.
func (s *spill) put(x spilled) error {
	x.Format = spillFormat
	content, err := json.Marshal(x)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name := fmt.Sprintf("%s.%d", x.id(), x.Revision)
	_ = os.Remove(s.path(name + spillPart)) // of an attempt that failed
	err = s.write(name+spillPart, content)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		_ = os.Remove(s.path(reserveName))
		err = s.write(name+spillPart, content)
	}
	if err == nil {
		err = os.Rename(s.path(name+spillPart), s.path(name+spillWhole))
	}
	if err != nil {
		return err
	}
	s.files[x.id()] = name + spillWhole
	return s.settle()
}

// settle makes the folder's own entries durable.
func (s *spill) settle() error {
	d, err := os.Open(s.folder)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// of answers the answer that waits for a connection or flow. A file that is damaged is set aside.
func (s *spill) of(id string) (*spilled, error) {
	s.mu.Lock()
	name, ok := s.files[id]
	s.mu.Unlock()
	if !ok {
		return nil, nil
	}
	x, err := s.read(name)
	if err == nil && x.id() != id {
		err = errors.New("vault: a spilled answer has another one's name")
	}
	if err != nil {
		return nil, errors.Join(err, s.leave(id, spillAside))
	}
	return x, nil
}

func (s *spill) read(name string) (*spilled, error) {
	f, err := os.Open(s.path(name))
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	content, err := io.ReadAll(io.LimitReader(f, maxSpilled+1))
	if err != nil {
		return nil, err
	}
	x := &spilled{}
	if err := json.Unmarshal(content, x); err != nil || len(content) > maxSpilled || x.Format != spillFormat {
		return nil, errors.New("vault: a spilled answer is not readable")
	}
	return x, nil
}

// leave forgets an answer: its file is removed, or renamed to end in aside.
func (s *spill) leave(id, aside string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	name, ok := s.files[id]
	if !ok {
		return nil
	}
	delete(s.files, id)
	var err error
	if aside != "" {
		err = os.Rename(s.path(name), s.path(name+aside))
	} else {
		err = os.Remove(s.path(name))
	}
	return errors.Join(err, s.settle(), s.refill())
}

// waiting answers the ids of the kind that an answer waits for, all for an empty prefix.
func (s *spill) waiting(prefix string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Sorted(maps.Keys(s.files))
	return slices.DeleteFunc(all, func(id string) bool { return !strings.HasPrefix(id, prefix) })
}

// Replay takes up the vendors' answers that could not be stored, those of an earlier
// process too, and does not wait for the end. The background calls it again and again.
func (v *Vault) Replay(ctx context.Context) {
	if v.keep == nil || v.keep.spill == nil {
		return
	}
	all := v.keep.spill.waiting(claviger.PrefixConnection + "_")
	for _, id := range all[:min(len(all), maxReplayed)] {
		x, err := v.keep.spill.of(id)
		if err == nil && x != nil {
			_, err = v.join(ctx, &claviger.Connection{Organization: x.Organization, ID: x.Connection}, want{tended: true})
		}
		if err != nil {
			v.keep.Log.Error("a spilled answer cannot be taken up", "connection", id, "error", err)
		}
	}
}

// answered reports whether the flight holds a vendor's answer that is not stored.
func (f *flight) answered() bool { return f.answer != nil || f.spilled != nil }

// recall finds the answer that an earlier flight, or process, could not store.
func (f *flight) recall() {
	k := f.vault.keep
	if k.spill == nil {
		return
	}
	x, err := k.spill.of(string(f.id))
	if err != nil {
		k.Log.Error("a spilled answer is damaged and was set aside", "connection", string(f.id), "error", err)
	}
	if x != nil {
		f.spilled, f.answerTo = x, x.Revision
	}
}

// save puts the answer on the disk, once. It is what a crash may come after.
func (h *holding) save(sealed claviger.Sealed) {
	k := h.vault.keep
	if k.spill == nil || h.spilled != nil {
		return
	}
	x := spilled{Organization: h.row.conn.Organization, Connection: h.id, Revision: h.answerTo, Sealed: sealed}
	if err := k.spill.put(x); err != nil {
		k.Log.Error("a vendor's answer is in memory alone: neither the database nor the spill folder takes it", "connection", string(h.id), "error", err)
		return
	}
	h.spilled = &x
	k.Log.Warn("a vendor's answer waits in the spill folder", "connection", string(h.id))
}

// forget ends the wait of an answer that is stored, or that counts no more.
func (f *flight) forget() {
	f.answer = nil
	f.unspill("")
}

func (f *flight) unspill(aside string) {
	if f.spilled == nil {
		return
	}
	f.spilled = nil
	if err := f.vault.keep.spill.leave(string(f.id), aside); err != nil {
		f.vault.keep.Log.Error("a spilled answer could not be removed", "connection", string(f.id), "error", err)
	}
}

// unseal opens the answer that recall found. Its ticket is the refresh's that it ends.
func (h *holding) unseal(ctx context.Context) error {
	b := answerBinding(&h.row.conn)
	b.Revision = h.answerTo
	k, err := h.vault.opening(ctx, h.row.conn.Organization, h.spilled.Sealed)
	if err != nil {
		return err
	}
	plain, err := k.Open(b, h.spilled.Sealed)
	if err == nil {
		var raw oauth.Raw
		raw, err = oauth.FromJournal(claviger.NewSecret(plain))
		clear(plain)
		h.answer = &raw
	}
	if err != nil {
		h.answer = nil
		h.vault.keep.Log.Error("a spilled answer is not the one that belongs here, and was set aside", "connection", string(h.id))
		h.unspill(spillAside)
		return unreadable(err)
	}
	return nil
}

// eachSpilled tells of every answer of an organization in this process's folder.
func (v *Vault) eachSpilled(organization claviger.OrganizationID, f func(spilled) error) error {
	if v.keep == nil || v.keep.spill == nil {
		return nil
	}
	for _, id := range v.keep.spill.waiting("") {
		x, err := v.keep.spill.of(id)
		if err != nil || x == nil || x.Organization != organization {
			continue // gone, damaged or another's; whoever takes it up says so
		}
		if err := f(*x); err != nil {
			return err
		}
	}
	return nil
}

// keyed is the keyset that an answer is sealed under: that of before the request, so that
// sealing needs no database.
func (h *holding) keyed(ctx context.Context) (*seal.Keyset, error) {
	if h.party != nil && h.party.keys != nil {
		return h.party.keys, nil
	}
	return h.vault.keyset(ctx, h.row.conn.Organization)
}
