package hookverify_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger"
	"claviger/connectors"
	"claviger/internal/hookverify"
)

var loadSet = sync.OnceValues(func() (*hookverify.Set, error) { return hookverify.Load(connectors.Webhooks, "webhooks") })

// builtin answers the built-in schemes.
func builtin(t testing.TB) *hookverify.Set {
	t.Helper()
	set, err := loadSet()
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// scheme answers a built-in scheme with its settings.
func scheme(t testing.TB, key string, settings map[string]string) *hookverify.Scheme {
	t.Helper()
	s, ok := builtin(t).Scheme(key)
	if !ok {
		t.Fatalf("no scheme %s", key)
	}
	s, err := s.With(settings)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustKey(t testing.TB, s *hookverify.Scheme, id, secret string) hookverify.Key {
	t.Helper()
	k, err := s.NewKey(id, claviger.NewSecretString(secret))
	if err != nil {
		t.Fatalf("%s: %v", s.Key, err)
	}
	return k
}

// stamped is the time in all vectors.
func stamped() time.Time { return time.Unix(1700000000, 0) }

// vector is a delivery whose signature was computed elsewhere.
type vector struct {
	Scheme    string            `json:"scheme"`
	Secret    string            `json:"secret"`
	Method    string            `json:"method"`
	URL       string            `json:"url"`
	Headers   map[string]string `json:"headers"`
	Body      string            `json:"body"`
	Form      map[string]string `json:"form"`
	Signed    string            `json:"signed"`
	Signature string            `json:"signature"`
	Carrier   string            `json:"carrier"`
}

func vectors(t testing.TB) []vector {
	t.Helper()
	data, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var out []vector
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// request makes the delivery of a vector; the carrier stands where the scheme's document
// says, which the test repeats in its own words for those that are in no header.
func (v vector) request(t testing.TB) *hookverify.Request {
	t.Helper()
	req := &hookverify.Request{Method: v.Method, URL: v.URL, Header: http.Header{}, Body: []byte(v.Body)}
	for name, value := range v.Headers {
		req.Header.Set(name, value)
	}
	if v.Form != nil {
		form := url.Values{}
		for name, value := range v.Form {
			form.Set(name, value)
		}
		req.Body = []byte(form.Encode())
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	switch v.Scheme {
	case "pandadoc":
		req.URL += "?signature=" + v.Carrier
	case "dropbox-sign":
		req.Body = []byte(strings.Replace(v.Body, `"event_type"`, `"event_hash":"`+v.Carrier+`","event_type"`, 1))
	case "lever":
		req.Body = []byte(strings.Replace(v.Body, `{`, `{"signature":"`+v.Carrier+`",`, 1))
	case "mailgun":
		req.Body = []byte(strings.Replace(v.Body, `"token"`, `"signature":"`+v.Carrier+`","token"`, 1))
	case "box":
		req.Header.Set("BOX-SIGNATURE-VERSION", "1")
		req.Header.Set("BOX-SIGNATURE-ALGORITHM", "HmacSHA256")
		req.Header.Set("BOX-SIGNATURE-PRIMARY", v.Carrier)
	default:
		req.Header.Set(signatureHeaders[v.Scheme], v.Carrier)
	}
	return req
}

// clone answers a copy that shares nothing.
func clone(req *hookverify.Request) *hookverify.Request {
	out := *req
	out.Header, out.Body = req.Header.Clone(), slices.Clone(req.Body)
	return &out
}

// code answers the fine code of a refusal; empty for none.
func code(err error) string {
	if err == nil {
		return ""
	}
	return claviger.AsError(err).FineCode()
}

func newKey(s *hookverify.Scheme, secret string) (hookverify.Key, error) {
	return s.NewKey("k", claviger.NewSecretString(secret))
}
