package hooks

import (
	"context"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"claviger"
)

// slowly is a body that tells when all but its last byte has been read, and ends when it
// is let.
type slowly struct {
	io.Reader
	waits chan<- struct{}
	end   <-chan struct{}
}

// Read implements io.Reader.
func (s *slowly) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if n > 0 || err == nil {
		return n, nil
	}
	s.waits <- struct{}{}
	<-s.end
	return 0, err
}

func TestAbuse_159_SlowBodiesOfOneAddressLeaveRoomForOthers(t *testing.T) {
	const longest, room = 1 << 20, 64 << 20
	b := &bodies{longest: longest, left: room, held: map[netip.Addr]int64{}}
	slow, other, third := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::1")
	waits, end := make(chan struct{}), make(chan struct{})
	results := make(chan error, 1000)
	read := func(who netip.Addr, body io.Reader, announced int64) {
		_, release, err := b.read(context.Background(), &http.Request{Body: io.NopCloser(body), ContentLength: announced}, who)
		release()
		results <- err
	}
	flood := func(who netip.Addr) (held int) {
		for {
			go read(who, &slowly{strings.NewReader(strings.Repeat("x", longest-1)), waits, end}, longest)
			select {
			case <-waits:
				held++
			case err := <-results:
				if e := claviger.AsError(err); e.Kind != claviger.KindRateLimited || e.RetryAfter <= 0 {
					t.Fatalf("a body too many: %v", err)
				}
				return held
			}
		}
	}
	first := flood(slow)
	if first < 20 || first > 32 {
		t.Errorf("one address holds %d bodies of 1 MiB in 64 MiB", first)
	}
	read(other, strings.NewReader(strings.Repeat("y", longest)), longest)
	if err := <-results; err != nil {
		t.Errorf("another address in the meantime: %v", err)
	}
	second := flood(other)
	if second < 10 || second > 16 {
		t.Errorf("a second address holds %d", second)
	}
	read(third, strings.NewReader("{}"), 2)
	if err := <-results; err != nil {
		t.Errorf("a third one: %v", err)
	}
	close(end)
	for range first + second {
		if err := <-results; err != nil {
			t.Errorf("a body that came in the end: %v", err)
		}
	}
	if b.left != room || len(b.held) != 0 {
		t.Errorf("%d of %d bytes are free, %d addresses hold some", b.left, room, len(b.held))
	}
}
