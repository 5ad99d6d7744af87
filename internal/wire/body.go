package wire

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"claviger"
)

const (
	defaultMaxBody = 1 << 20
	// bodyIdle is how long a client may take over the next piece of a body.
	bodyIdle = 15 * time.Second
)

// readBody reads the whole body of a huma operation under its cap, checks its media
// type and its form, and hands it on in memory. Methods without a body keep nothing
// of one that was sent.
func (x *exchange) readBody(w http.ResponseWriter, r *http.Request) error {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		r.Body, r.ContentLength = http.NoBody, 0
		return nil
	}
	limit := x.route.MaxBody
	if limit <= 0 {
		limit = defaultMaxBody
	}
	if r.ContentLength > limit {
		return tooLarge(limit)
	}
	body, err := io.ReadAll(limitBody(w, r, limit))
	if err != nil {
		return bodyError(err, limit)
	}
	if len(body) > 0 {
		isJSON, err := x.checkType(r)
		if err != nil {
			return err
		}
		if isJSON {
			if err := checkJSON(body, maxNodes*int(max(1, limit/defaultMaxBody))); err != nil {
				return err
			}
		}
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return x.takeKey(r, body)
}

func tooLarge(limit int64) error {
	return claviger.Errorf(claviger.KindTooLarge, "too_large", "The body is larger than %d bytes.", limit)
}

// bodyError says why a body could not be read.
func bodyError(err error, limit int64) error {
	var max *http.MaxBytesError
	switch {
	case errors.As(err, &max):
		return tooLarge(limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return claviger.Errorf(claviger.KindUnreadable, "body_timeout", "The body did not arrive in time.").With(err)
	default:
		return claviger.Errorf(claviger.KindUnreadable, "unreadable", "The body cannot be read.").With(err)
	}
}

// checkType reports whether the body says that it is JSON. No type at all is taken
// for the first that the route accepts.
func (x *exchange) checkType(r *http.Request) (isJSON bool, err error) {
	types := x.route.BodyTypes
	if len(types) == 0 {
		types = []string{"application/json"}
	}
	ct := r.Header.Get("Content-Type")
	if ct == "" {
		return types[0] == "application/json", nil
	}
	media, params, err := mime.ParseMediaType(ct)
	if err != nil || len(r.Header.Values("Content-Type")) > 1 || !slices.Contains(types, media) {
		return false, unsupportedMedia(types)
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return false, unsupportedMedia(types)
	}
	return media == "application/json", nil
}

// limitBody caps a body and gives each read of it a deadline. A negative limit
// means no cap.
func limitBody(w http.ResponseWriter, r *http.Request, limit int64) io.ReadCloser {
	if r.Body == nil || r.Body == http.NoBody {
		return http.NoBody
	}
	body := r.Body
	if limit == 0 {
		limit = defaultMaxBody
	}
	if limit > 0 {
		body = http.MaxBytesReader(w, body, limit)
	}
	return &patientBody{ReadCloser: body, control: http.NewResponseController(w)}
}

// patientBody moves the connection's read deadline before every read, so that a
// slow body may take as long as it likes while it moves, and no longer.
type patientBody struct {
	io.ReadCloser
	control *http.ResponseController
}

// Read implements io.Reader.
func (b *patientBody) Read(p []byte) (int, error) {
	// A writer without deadlines (a test's recorder, HTTP over something else) is as
	// patient as its server.
	armed := b.control.SetReadDeadline(time.Now().Add(bodyIdle)) == nil
	n, err := b.ReadCloser.Read(p)
	if armed && err != nil {
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// Close also lifts the deadline, which must not outlive the body of a long answer.
func (b *patientBody) Close() error {
	_ = b.control.SetReadDeadline(time.Time{})
	return b.ReadCloser.Close()
}

// requestHash binds an idempotency key to what was asked, by a keyed hash.
func requestHash(key claviger.Secret, r *http.Request, body []byte) []byte {
	var h hash.Hash
	key.Use(func(b []byte) { h = hmac.New(sha256.New, b) })
	for _, part := range []string{"request", r.Method, r.URL.EscapedPath(), r.URL.RawQuery} {
		_ = binary.Write(h, binary.BigEndian, uint32(len(part)))
		_, _ = io.WriteString(h, part)
	}
	_, _ = h.Write(body)
	return h.Sum(nil)
}
