package egress

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"

	"claviger"
)

// Mark replaces a secret that a vendor echoed.
const Mark = "***REDACTED***"

// Scrubber finds a call's secrets in what a vendor answers: raw, and in the
// encodings that servers echo them in (URL, JSON, HTML, base64 at any alignment,
// hex). Secrets under 6 bytes are not searched for, nor are transformed echoes
// (hashed, reversed, encrypted, compressed, of mixed encodings).
//
// It holds what it searches for in clear: make one for a call and let it go. It may
// be used by several goroutines. The search skips ahead by up to 15 bytes at a time
// (Wu and Manber, 1994), so its cost hardly grows with the number of forms.
type Scrubber struct {
	forms   [][]byte // longest first
	longest int
	window  int         // bytes of every form that the table knows
	shift   [1024]uint8 // by hash of two bytes: how far the window may move
}

// maxWindow caps the window, and with it the work to fill the table.
const maxWindow = 16

// NewScrubber makes a Scrubber of the given secrets.
func NewScrubber(secrets ...claviger.Secret) *Scrubber {
	s := &Scrubber{forms: make([][]byte, 0, 12*len(secrets)), window: maxWindow}
	for _, secret := range secrets {
		secret.Use(func(b []byte) { s.forms = appendForms(s.forms, b) })
	}
	slices.SortFunc(s.forms, func(a, b []byte) int { return len(b) - len(a) })
	if len(s.forms) == 0 {
		return s
	}
	s.longest = len(s.forms[0])
	s.window = min(maxWindow, len(s.forms[len(s.forms)-1]))
	s.shift[0] = uint8(s.window - 1)
	for filled := 1; filled < len(s.shift); filled *= 2 {
		copy(s.shift[filled:], s.shift[:filled]) // in ten steps, not a thousand
	}
	for _, f := range s.forms {
		for i := 1; i < s.window; i++ {
			h := blockHash(f[i-1], f[i])
			s.shift[h] = min(s.shift[h], uint8(s.window-1-i))
		}
	}
	return s
}

func blockHash(a, b byte) uint32 { return (uint32(a) | uint32(b)<<8) * 0x9E3779B1 >> 22 }

// Format keeps the forms out of every print.
func (s *Scrubber) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, claviger.Redacted) }

// find answers the first secret in text at or after from: the longest form that
// starts there. start is -1 if there is none.
func find[T string | []byte](s *Scrubber, text T, from int) (start, end int) {
	if len(s.forms) == 0 {
		return -1, -1
	}
	for i := from + s.window - 1; i < len(text); {
		if step := s.shift[blockHash(text[i-1], text[i])]; step > 0 {
			i += int(step)
			continue
		}
		at := i - s.window + 1
		if n := begins(s, text[at:]); n > 0 {
			return at, at + n
		}
		i++
	}
	return -1, -1
}

// begins answers the length of the longest form that text begins with, or 0.
func begins[T string | []byte](s *Scrubber, text T) int {
	for _, f := range s.forms {
		if len(text) >= len(f) && text[0] == f[0] && string(text[:len(f)]) == string(f) {
			return len(f)
		}
	}
	return 0
}

// laneFloor is the length from which a text is searched in lanes.
const laneFloor = 1024

// clean reports whether a text has no secret in it. Each step of a search waits for the
// table that the step before led to; a long text is searched at four places at once, so
// that the waits overlap. What a window may skip does not depend on where the search
// began: the lanes look at the same windows as one search would.
func (s *Scrubber) clean(text []byte) bool {
	if len(s.forms) == 0 {
		return true
	}
	first := s.window - 1 // ends the first window
	lane := (len(text) - first) / 4
	if len(text) < laneFloor || lane < 1 {
		start, _ := find(s, text, 0)
		return start < 0
	}
	a, b, c, d := first, first+lane, first+2*lane, first+3*lane
	endA, endB, endC, endD := b, c, d, len(text)
	for a < endA && b < endB && c < endC && d < endD {
		stepA := int(s.shift[blockHash(text[a-1], text[a])])
		stepB := int(s.shift[blockHash(text[b-1], text[b])])
		stepC := int(s.shift[blockHash(text[c-1], text[c])])
		stepD := int(s.shift[blockHash(text[d-1], text[d])])
		if stepA == 0 || stepB == 0 || stepC == 0 || stepD == 0 {
			for _, lane := range [...]struct {
				end  int
				step *int
			}{{a, &stepA}, {b, &stepB}, {c, &stepC}, {d, &stepD}} {
				if *lane.step > 0 {
					continue
				}
				if begins(s, text[lane.end-first:]) > 0 {
					return false
				}
				*lane.step = 1
			}
		}
		a, b, c, d = a+stepA, b+stepB, c+stepC, d+stepD
	}
	return s.cleanLane(text, a, endA) && s.cleanLane(text, b, endB) && s.cleanLane(text, c, endC) && s.cleanLane(text, d, endD)
}

// cleanLane reports whether no secret begins in the windows that end at i and before end.
func (s *Scrubber) cleanLane(text []byte, i, end int) bool {
	for i < end {
		step := int(s.shift[blockHash(text[i-1], text[i])])
		if step == 0 {
			if begins(s, text[i-s.window+1:]) > 0 {
				return false
			}
			step = 1
		}
		i += step
	}
	return true
}

// Header replaces secrets in a header's or trailer's values by [Mark], in place, and
// answers how many it found.
func (s *Scrubber) Header(h http.Header) (hits int) {
	for _, values := range h {
		for i, value := range values {
			if start, _ := find(s, value, 0); start < 0 {
				continue
			}
			clean, n := s.Bytes([]byte(value))
			values[i] = string(clean)
			hits += n
		}
	}
	return hits
}

// Bytes answers b with its secrets replaced by [Mark], and how many there were; b
// itself if none.
func (s *Scrubber) Bytes(b []byte) ([]byte, int) {
	if s.clean(b) {
		return b, 0
	}
	start, end := find(s, b, 0)
	out := make([]byte, 0, len(b)+len(Mark))
	hits, last := 0, 0
	for ; start >= 0; start, end = find(s, b, end) {
		out = append(append(out, b[last:start]...), Mark...)
		last = end
		hits++
	}
	return append(out, b[last:]...), hits
}

// mask overwrites secrets by marks of the same length and answers how many.
func (s *Scrubber) mask(b []byte) (hits int) {
	if s.clean(b) {
		return 0
	}
	for start, end := find(s, b, 0); start >= 0; start, end = find(s, b, end) {
		for i := start + copy(b[start:end], Mark); i < end; i++ {
			b[i] = '*'
		}
		hits++
	}
	return hits
}

// partial answers the length of the longest end of b that begins a form: what may
// be a secret whose rest has not come yet.
func (s *Scrubber) partial(b []byte) int {
	for at := max(0, len(b)-s.longest+1); at < len(b); at++ {
		rest := b[at:]
		for _, f := range s.forms {
			if f[0] == rest[0] && len(f) > len(rest) && bytes.HasPrefix(f, rest) {
				return len(rest)
			}
		}
	}
	return 0
}

// Reader answers r without the secrets. Each is overwritten by as many bytes -
// [Mark], cut or drawn out with asterisks - so that Content-Length and byte ranges
// stay true.
//
// What has been read is answered at once, but for an end that begins a secret;
// event streams are not delayed.
func (s *Scrubber) Reader(r io.Reader) *ScrubReader {
	return &ScrubReader{scrubber: s, source: r}
}

// ScrubReader is a stream without its secrets. It is for one goroutine.
type ScrubReader struct {
	scrubber *Scrubber
	source   io.Reader
	held     []byte // begins a secret, perhaps
	ready    []byte // clean, read and not yet asked for
	space    []byte // for callers with little room
	err      error
	hits     int
}

// Hits answers how many secrets were overwritten so far.
func (r *ScrubReader) Hits() int { return r.hits }

// maxEmptyReads is how often a source may answer nothing in a row.
const maxEmptyReads = 100

// Read implements io.Reader. It works in p itself if that has room for two of the
// longest forms: no copy is made and nothing allocated.
func (r *ScrubReader) Read(p []byte) (int, error) {
	if len(r.ready) > 0 {
		n := copy(p, r.ready)
		r.ready = r.ready[n:]
		return n, nil
	}
	if len(p) == 0 || r.err != nil {
		return 0, r.err
	}
	if len(r.scrubber.forms) == 0 {
		return r.source.Read(p)
	}
	room := p
	if need := 2 * r.scrubber.longest; len(room) < need {
		if r.space == nil {
			r.space = make([]byte, need)
		}
		room = r.space
	}
	for empty := 0; empty < maxEmptyReads; {
		clean, n := r.fill(room)
		if len(clean) > 0 {
			if len(room) == len(p) && &room[0] == &p[0] {
				return len(clean), nil
			}
			n := copy(p, clean)
			r.ready = clean[n:]
			return n, nil
		}
		if r.err != nil {
			return 0, r.err
		}
		if n == 0 {
			empty++
		}
	}
	r.err = io.ErrNoProgress
	return 0, r.err
}

// fill reads once into room, after what was held back, and answers what is clean and
// how many bytes came.
func (r *ScrubReader) fill(room []byte) (clean []byte, read int) {
	n := copy(room, r.held)
	m, err := r.source.Read(room[n:])
	r.err = err
	data := room[:n+m]
	r.hits += r.scrubber.mask(data)
	keep := 0
	if err == nil {
		keep = r.scrubber.partial(data)
	}
	r.held = append(r.held[:0], data[len(data)-keep:]...)
	return data[:len(data)-keep], m
}
