package oauthserver

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
)

// Style is how a vendor writes its answers.
type Style string

// The styles. The zero Style is RFC 6749's own.
const (
	GitHub     Style = "github"     // form-encoded, failures too, and those with status 200
	Slack      Style = "slack"      // JSON with ok; the token below authed_user; failures with status 200
	Salesforce Style = "salesforce" // JSON as text, failures form-encoded as text
)

// Fault spoils one answer. A field that is zero spoils nothing.
type Fault struct {
	Skip    bool            // the request has no effect; otherwise it has, and only its answer is spoilt
	Reached chan<- struct{} // is sent to when the request has arrived
	Hold    <-chan struct{} // wait for it, or for the caller to leave, before answering
	Stall   int             // write so many bytes of the answer, all but so many if negative, before Reached and Hold; then break it
	Reset   bool            // break the connection without an answer
	Cut     int             // break it after so many bytes of the answer's body
	Status  int             // answer with this status
	Header  http.Header     // with these fields
	Body    string          // and with this body instead
	Bomb    bool            // answer without an end, compressed
	Gzip    bool            // compress the answer, whether asked for or not
	BadCRC  bool            // with a wrong checksum
	Echo    bool            // answer 400 with everything that was sent
	Change  map[string]any  // replace members of the answer; nil takes one away
}

// Next spoils the coming requests, the first fault the first one, to any endpoint but
// the browser's.
func (s *Server) Next(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, faults...)
}

// Always spoils every answer for which no Next is waiting; nil ends it.
func (s *Server) Always(fault *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.always = fault
}

func (s *Server) nextFault() Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.faults) > 0 {
		f := s.faults[0]
		s.faults = s.faults[1:]
		return f
	}
	if s.always != nil {
		return *s.always
	}
	return Fault{}
}

// answered makes a handler of an endpoint: its effect under the lock, then its answer,
// in the vendor's style and as spoilt as the test wants it.
func (s *Server) answered(endpoint func(*http.Request) (map[string]any, *failure)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		fault := s.nextFault()
		answer := page{status: http.StatusOK, contentType: "application/json"}
		if !fault.Skip {
			s.mu.Lock()
			if s.policy.DPoP {
				w.Header().Set("DPoP-Nonce", s.nonceText())
			}
			members, failed := endpoint(r)
			s.mu.Unlock()
			if failed == nil {
				maps.Copy(members, fault.Change)
				maps.DeleteFunc(members, func(_ string, v any) bool { return v == nil })
			}
			answer = s.write(r, members, failed)
			if failed != nil && failed.challenge != "" {
				w.Header().Set("WWW-Authenticate", failed.challenge)
			}
		}
		if fault.Stall != 0 {
			stall(w, fault, answer)
			return
		}
		if fault.Reached != nil {
			fault.Reached <- struct{}{}
		}
		if fault.Hold != nil {
			select {
			case <-fault.Hold:
			case <-r.Context().Done():
				return
			}
		}
		s.spoil(w, r, fault, answer)
	}
}

// page is an answer to be written.
type page struct {
	status      int
	contentType string
	body        []byte
}

// write renders an answer in the vendor's style.
func (s *Server) write(r *http.Request, members map[string]any, failed *failure) page {
	asJSON := func(status int, v any) page {
		b, _ := json.Marshal(v)
		return page{status, "application/json;charset=UTF-8", b}
	}
	asForm := func(status int, contentType string, members map[string]any) page {
		form := url.Values{}
		for name, v := range members {
			form.Set(name, fmt.Sprint(v))
		}
		return page{status, contentType, []byte(form.Encode())}
	}
	if r.URL.Path != "/token" {
		if failed != nil {
			return asJSON(failed.status, map[string]any{"error": failed.word})
		}
		if members == nil {
			return page{status: http.StatusOK}
		}
		return asJSON(http.StatusOK, members)
	}
	if failed != nil {
		members = map[string]any{"error": failed.word, "error_description": "the vendor's own words"}
	}
	switch s.policy.Style {
	case GitHub:
		return asForm(http.StatusOK, "application/x-www-form-urlencoded; charset=utf-8", members)
	case Slack:
		if failed != nil {
			return asJSON(http.StatusOK, map[string]any{"ok": false, "error": failed.word})
		}
		return asJSON(http.StatusOK, map[string]any{"ok": true, "authed_user": members})
	case Salesforce:
		if failed != nil {
			return asForm(failed.status, "text/plain", map[string]any{"error": failed.word})
		}
		p := asJSON(http.StatusOK, members)
		p.contentType = "text/plain"
		return p
	}
	if failed != nil {
		return asJSON(failed.status, members)
	}
	return asJSON(http.StatusOK, members)
}

// spoil writes the answer, or what the fault makes of it.
func (s *Server) spoil(w http.ResponseWriter, r *http.Request, fault Fault, answer page) {
	if fault.Reset {
		reset(w)
		return
	}
	if fault.Echo {
		received := s.Received(r.URL.Path)
		last := received[len(received)-1]
		b, _ := json.Marshal(map[string]string{
			"error": last.Body, "error_description": last.Body + last.Header.Get("Authorization"), "error_uri": last.Body,
		})
		answer = page{http.StatusBadRequest, "application/json", b}
	}
	if fault.Body != "" {
		answer.body = []byte(fault.Body)
	}
	if fault.Status != 0 {
		answer.status = fault.Status
	}
	header := w.Header()
	if answer.contentType != "" {
		header.Set("Content-Type", answer.contentType)
	}
	for name, values := range fault.Header {
		header[name] = values
	}
	if fault.Bomb {
		header.Set("Content-Encoding", "gzip")
		answer.body = bomb()
	}
	if fault.Gzip || fault.BadCRC {
		header.Set("Content-Encoding", "gzip")
		answer.body = compressed(answer.body)
		if fault.BadCRC {
			answer.body[len(answer.body)-8] ^= 0xff
		}
	}
	header.Set("Content-Length", strconv.Itoa(len(answer.body)))
	w.WriteHeader(answer.status)
	if fault.Cut > 0 {
		_, _ = w.Write(answer.body[:min(fault.Cut, len(answer.body)-1)])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(answer.body)
}

// reset breaks a connection at once: with a reset and not with an orderly end, where
// TCP allows it.
// stall writes a part of the answer, its head included, and no more.
func stall(w http.ResponseWriter, fault Fault, answer page) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer func() { _ = conn.Close() }()
	text := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", answer.contentType, len(answer.body), answer.body)
	part := fault.Stall
	if part < 0 {
		part += len(text)
	}
	_, _ = conn.Write(text[:part])
	fault.Reached <- struct{}{}
	<-fault.Hold
}

func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if inner, ok := conn.(interface{ NetConn() net.Conn }); ok {
		if tcp, ok := inner.NetConn().(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
			_ = tcp.Close()
			return
		}
	}
	_ = conn.Close()
}

func compressed(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b)
	_ = z.Close()
	return out.Bytes()
}

// bomb answers a few kilobytes that inflate to 64 MiB.
func bomb() []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	zeros := make([]byte, 1<<20)
	for range 64 {
		_, _ = z.Write(zeros)
	}
	_ = z.Close()
	return out.Bytes()
}
