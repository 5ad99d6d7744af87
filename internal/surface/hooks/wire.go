package hooks

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"

	"claviger"
	"claviger/internal/broker"
)

// address reads what stands behind /webhooks/.
func address(path string) (broker.Inbound, bool) {
	parts := strings.Split(path, "/")
	var in broker.Inbound
	if strings.HasPrefix(parts[0], claviger.PrefixHook+"_") {
		in.Hook, parts = claviger.HookID(parts[0]), parts[1:]
	}
	if len(parts) < 1 || len(parts) > 2 || parts[0] == "" || len(path) > 256 {
		return in, false
	}
	in.System = parts[0]
	if len(parts) == 2 {
		in.DataSource = parts[1]
	}
	return in, len(parts) == 1 || in.DataSource != ""
}

// accepted is the answer to a delivery.
type accepted struct {
	ID string `json:"id"`
}

func write(w http.ResponseWriter, out broker.Received) {
	status := http.StatusAccepted
	if out.Copy {
		status = http.StatusOK
	}
	if a := out.Answer; a != nil {
		for name, value := range a.Header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(a.Status)
		_, _ = w.Write(a.Body)
		return
	}
	body, _ := json.Marshal(accepted{string(out.ID)}) // a text always encodes
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

// bodies bounds the memory of all bodies that are under way. A body takes what has
// really arrived of it, so that a connection that only promises holds nothing. Those of
// one address may take as much as they leave to others, so that one that sends slowly and
// on many connections holds half, and there always is some for the vendors.
type bodies struct {
	longest int64
	mu      sync.Mutex
	left    int64
	held    map[netip.Addr]int64
}

// piece is how much a body grows by at least.
const piece = 16 << 10

func (b *bodies) take(who netip.Addr, n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held[who]+n > b.left {
		return false
	}
	b.left -= n
	b.held[who] += n
	return true
}

func (b *bodies) give(who netip.Addr, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left += n
	if b.held[who] -= n; b.held[who] <= 0 {
		delete(b.held, who)
	}
}

// read answers the whole body as it arrived from an address. Call release when it is of
// no use any more, also after an error.
func (b *bodies) read(ctx context.Context, r *http.Request, who netip.Addr) (body []byte, release func(), err error) {
	held := int64(0)
	release = func() { b.give(who, held) }
	if r.ContentLength > b.longest {
		return nil, release, tooLarge(b.longest)
	}
	for {
		if len(body) == cap(body) {
			n := max(piece, int64(cap(body)))
			if r.ContentLength > 0 && held == 0 {
				n = min(r.ContentLength+1, piece) // one more, so that the end is seen without growing
			}
			n = min(n, b.longest+1-held)
			if n <= 0 {
				return nil, release, tooLarge(b.longest)
			}
			if !b.take(who, n) {
				return nil, release, busy()
			}
			held += n
			body = append(make([]byte, 0, held), body...)
		}
		n, err := r.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case errors.Is(err, io.EOF) && int64(len(body)) <= b.longest:
			return body, release, nil
		case err != nil:
			return nil, release, unread(err, b.longest)
		case ctx.Err() != nil:
			return nil, release, unread(os.ErrDeadlineExceeded, b.longest)
		}
	}
}
