package hookverify

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Sample makes a delivery as its sender would who knows the key, so that a slot can be
// tried without the vendor: [Verify] takes it now. It fails with [CodeNotVerifiable] where
// only the vendor can sign, or signs what cannot be made up.
func Sample(s *Scheme, key Key, address string, now time.Time) (*Request, error) {
	cannot := refuse(CodeNotVerifiable, "Only the vendor can sign deliveries of %s.", s.Name)
	if !key.usable(s) || s.from.source != "header" && s.from.source != "query" {
		return nil, cannot
	}
	req := &Request{Method: http.MethodPost, URL: address, Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(`{"type":"claviger.test"}`)}
	s.dress(req, now)
	value, ok := s.signature(req, key, now)
	if !ok {
		return nil, cannot
	}
	put(req, s.from, value)
	if _, err := Verify(s, []Key{key}, req, now); err != nil {
		return nil, cannot.With(err)
	}
	return req, nil
}

// dress gives a request what the scheme wants in its headers beside the signature.
func (s *Scheme) dress(req *Request, now time.Time) {
	for _, p := range s.signed {
		if p.ref.source == "header" {
			put(req, p.ref, "claviger-test")
		}
	}
	for i, x := range s.doc.Require {
		if x.Equals != "" {
			put(req, s.requirements[i], x.Equals)
		}
	}
	if s.bodyHash.is() {
		sum := sha256.Sum256(req.Body)
		put(req, s.bodyHash, hex.EncodeToString(sum[:]))
	}
	if s.doc.Timestamp != nil && s.stampRef.is() {
		put(req, s.stampRef, s.stampOf(now))
	}
}

func (s *Scheme) stampOf(now time.Time) string {
	switch s.doc.Timestamp.Unit {
	case "rfc3339":
		return now.UTC().Format(time.RFC3339)
	case "milliseconds":
		return strconv.FormatInt(now.UnixMilli(), 10)
	}
	return strconv.FormatInt(now.Unix(), 10)
}

// signature answers the text that stands where the scheme looks for the signature.
func (s *Scheme) signature(req *Request, key Key, now time.Time) (text string, ok bool) {
	g := s.doc.Signature
	switch s.Kind {
	case KindToken:
		key.secret.Use(func(b []byte) { text = g.Prefix + string(b) })
		return text, true
	case KindBasic:
		key.secret.Use(func(b []byte) { text = g.Prefix + "Basic " + base64.StdEncoding.EncodeToString(b) })
		return text, true
	case KindHMAC, KindHash:
	default:
		return "", false
	}
	r := s.read(req)
	if g.Timestamp != "" {
		r.stamp = s.stampOf(now)
		text = g.Timestamp + r.stamp + g.Separator
	} else if s.readStamp(r) != nil {
		return "", false
	}
	sum, err := s.sum(r, key)
	if err != nil {
		return "", false
	}
	return text + g.Prefix + encode(sum, g.Encoding, 4*len(sum)), true
}

// put sets a value where a scheme reads it, if that is a header or the query.
func put(req *Request, at ref, value string) {
	switch at.source {
	case "header":
		req.Header[at.name] = []string{value}
	case "query":
		u, err := url.Parse(req.URL)
		if err != nil {
			return
		}
		q := u.Query()
		q.Set(at.name, value)
		u.RawQuery = q.Encode()
		req.URL = u.String()
	}
}
