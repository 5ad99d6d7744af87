package hookverify

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"claviger"
)

// Explanation says why a delivery is or is not believed. It holds no secret and of each
// signature only the first characters, so that it can be shown and kept.
type Explanation struct {
	Scheme      string
	Accepted    bool
	Code        string // of the refusal
	Message     string
	Expected    string   // the beginning of the right signature, as the scheme writes it; empty where that is the secret itself
	Found       []string // the beginnings of those that came
	DiffersAt   int      // the first character in which the first found one differs from the right one; -1 if none was compared
	SignedText  string   // what is signed, as a quoted string, cut after 2000 characters
	SignedBytes int
	Tried       []string // what was tried, by code
	Causes      []Cause  // what of it makes the signature fit
}

// Cause is a change under which the signature is right: what went wrong on the way.
type Cause struct{ Code, Message string }

const (
	shownSignature = 8
	shownText      = 2000
)

// Explain recomputes a delivery in the ways in which it usually goes wrong. Each cause
// that it names was proven by a signature that fits; it never guesses.
func Explain(s *Scheme, secret claviger.Secret, req *Request, now time.Time) Explanation {
	e := Explanation{Scheme: s.Key, DiffersAt: -1}
	key, err := s.NewKey("explained", secret)
	if err == nil {
		_, err = Verify(s, []Key{key}, req, now)
	}
	if e.Accepted = err == nil; !e.Accepted {
		refusal := claviger.AsError(err)
		e.Code, e.Message = refusal.FineCode(), refusal.Message
	}
	e.show(s, key, req)
	if e.Accepted || s.Kind == KindCertificate || s.Kind == KindJWT {
		return e
	}
	e.try(s, key, secret, req, now)
	return e
}

// try fills in the causes: of each class of attempts the first that fits. If the
// signature is right as it came, only the time is left to look at.
func (e *Explanation) try(s *Scheme, key Key, secret claviger.Secret, req *Request, now time.Time) {
	signed := attempt{scheme: *s, req: *req}.fits(key)
	found := map[string]bool{}
	for _, a := range attempts(s, secret, req, now) {
		if signed && !a.timed {
			continue
		}
		if !slices.Contains(e.Tried, a.code) {
			e.Tried = append(e.Tried, a.code)
		}
		if !found[a.class] && a.fits(key) {
			found[a.class] = true
			e.Causes = append(e.Causes, Cause{a.code, a.message})
		}
	}
}

// show fills in what is signed, what came and what should have come.
func (e *Explanation) show(s *Scheme, key Key, req *Request) {
	r := s.read(req)
	found, _ := s.carried(r)
	if s.Kind == KindToken || s.Kind == KindBasic || s.Kind == KindJWT || s.Kind == KindCertificate {
		return // a token that came may be the secret
	}
	_ = s.readStamp(r) // its absence is the refusal already
	var b bytes.Buffer
	if s.signed.write(&b, r, []byte(claviger.Redacted)) == nil {
		quoted := strconv.Quote(b.String())
		e.SignedText, e.SignedBytes = quoted[:min(len(quoted), shownText)], b.Len()
	}
	for _, raw := range found {
		e.Found = append(e.Found, encode(raw, s.doc.Signature.Encoding, shownSignature))
	}
	if key.secret.Empty() || s.Kind != KindHMAC && s.Kind != KindHash {
		return
	}
	if want, err := s.sum(r, key); err == nil {
		e.Expected = encode(want, s.doc.Signature.Encoding, shownSignature)
		if len(found) > 0 {
			e.DiffersAt = firstDifference(encode(want, s.doc.Signature.Encoding, len(want)*2), encode(found[0], s.doc.Signature.Encoding, len(want)*2))
		}
	}
}

func encode(raw []byte, encoding string, most int) string {
	out := base64.StdEncoding.EncodeToString(raw)
	switch encoding {
	case "hex":
		out = hex.EncodeToString(raw)
	case "base64url":
		out = base64.RawURLEncoding.EncodeToString(raw)
	}
	return out[:min(len(out), most)]
}

func firstDifference(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	if len(a) == len(b) {
		return -1
	}
	return min(len(a), len(b))
}

// attempt is one thing that may have gone wrong, undone.
type attempt struct {
	code, message string
	class         string // body, secret, or the code
	scheme        Scheme
	req           Request
	secret        []byte // instead of the key's, if set
	timed         bool   // the time must fit too
	now           time.Time
}

// fits reports whether the signature is right after all.
func (a attempt) fits(key Key) bool {
	if a.secret != nil {
		if len(a.secret) == 0 {
			return false
		}
		key = Key{scheme: a.scheme.Key, secret: claviger.NewSecret(a.secret)}
	}
	s := &a.scheme
	if !key.usable(s) {
		return false
	}
	r := s.read(&a.req)
	p, err := s.proven(r, []Key{key})
	if err == nil && a.timed {
		_, err = s.checkTime(r, p, a.now)
	}
	return err == nil
}

// attempts answers everything that is worth trying.
func attempts(s *Scheme, secret claviger.Secret, req *Request, now time.Time) []attempt {
	var out []attempt
	add := func(code, message string, change func(*attempt)) {
		a := attempt{code: code, class: code, message: message, scheme: *s, req: *req}
		a.req.Header = req.Header.Clone()
		change(&a)
		out = append(out, a)
	}
	for _, b := range bodies(req.Body) {
		add(b.code, b.message, func(a *attempt) { a.class, a.req.Body = "body", b.body })
	}
	for _, k := range secrets(secret) {
		add(k.code, k.message, func(a *attempt) { a.class, a.secret = "secret", k.body })
	}
	for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA512} {
		if hash != s.hash && s.hash != 0 {
			add("algorithm", "The delivery is signed with "+hash.String()+".", func(a *attempt) { a.scheme.hash = hash })
		}
	}
	for _, encoding := range []string{"hex", "base64", "base64url"} {
		if encoding != s.doc.Signature.Encoding && s.doc.Signature.Encoding != "" {
			add("encoding", "The signature is written in "+encoding+".", func(a *attempt) { a.scheme.doc.Signature.Encoding = encoding })
		}
	}
	for _, prefix := range []string{"", "sha256=", "sha1=", "v1=", "v0=", "v1,", "Bearer "} {
		if prefix != s.doc.Signature.Prefix {
			add("prefix", "The signature begins with "+strconv.Quote(prefix)+", not with "+strconv.Quote(s.doc.Signature.Prefix)+".", func(a *attempt) {
				a.scheme.doc.Signature.Prefix, a.scheme.doc.Signature.Separator = prefix, ""
			})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(req.Header)) {
		if at := (ref{source: "header", name: name}); at != s.from && s.doc.Signature.Timestamp == "" {
			add("header", "The signature stands in "+name+".", func(a *attempt) { a.scheme.from = at })
		}
	}
	for _, address := range addressForms(req.URL) {
		add("url", "The address that was signed is "+strconv.Quote(address)+".", func(a *attempt) { a.req.URL = address })
	}
	for _, signed := range []string{"${body}", "${timestamp}.${body}", "${timestamp}${body}", "${timestamp}:${body}"} {
		if t, _ := parseText(signed); s.doc.Timestamp != nil && s.doc.Signed != signed && s.Kind == KindHMAC {
			add("signed_text", "What is signed is "+signed+".", func(a *attempt) { a.scheme.signed = t })
		}
	}
	for _, unit := range []string{"seconds", "milliseconds", "rfc3339"} {
		if s.doc.Timestamp != nil && unit != s.doc.Timestamp.Unit {
			add("timestamp_unit", "The timestamp is in "+unit+".", func(a *attempt) {
				rule := *s.doc.Timestamp
				rule.Unit = unit
				a.scheme.doc.Timestamp, a.timed, a.now = &rule, true, now
			})
		}
	}
	return out
}

// form is another form of a body or of a secret.
type form struct {
	code, message string
	body          []byte
}

// bodies answers what the body may have been before something changed it on the way.
func bodies(body []byte) []form {
	trimmed := bytes.TrimRight(body, "\r\n")
	out := []form{
		{"newline_added", "Something added a line break behind the body.", trimmed},
		{"newline_lost", "Something took the line break behind the body away.", append(slices.Clone(body), '\n')},
		{"newline_lost", "Something took the line break behind the body away.", append(slices.Clone(body), '\r', '\n')},
		{"line_ends", "Something changed the line breaks in the body.", bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n"))},
		{"line_ends", "Something changed the line breaks in the body.", bytes.ReplaceAll(body, []byte("\n"), []byte("\r\n"))},
		{"byte_order_mark", "Something put a byte order mark before the body.", bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))},
	}
	reserialised := "The body was parsed and written anew. Verify the bytes as they came."
	var compact bytes.Buffer
	if json.Compact(&compact, body) != nil {
		return out
	}
	small := compact.Bytes()
	out = append(out, form{"reserialised", reserialised, small}, form{"reserialised", reserialised, spaced(small)})
	for _, indent := range []string{"  ", "    ", "\t"} {
		var b bytes.Buffer
		_ = json.Indent(&b, small, "", indent) // it was read a moment ago
		out = append(out, form{"reserialised", reserialised, b.Bytes()}, form{"reserialised", reserialised, append(b.Bytes(), '\n')})
	}
	var escaped bytes.Buffer
	json.HTMLEscape(&escaped, small)
	if tree, err := parseJSON(body); err == nil {
		sorted, _ := json.Marshal(tree)
		out = append(out, form{"reserialised", reserialised, sorted})
	}
	return append(out, form{"reserialised", reserialised, escaped.Bytes()})
}

// spaced writes compact JSON with a space behind each comma and colon, as Python does.
func spaced(compact []byte) []byte {
	var out []byte
	inString := false
	for i, c := range compact {
		if out = append(out, c); c == '"' && !escapedAt(compact, i) {
			inString = !inString
		}
		if !inString && (c == ',' || c == ':') {
			out = append(out, ' ')
		}
	}
	return out
}

// escapedAt reports whether an odd number of backslashes stands before i.
func escapedAt(b []byte, i int) bool {
	n := 0
	for n < i && b[i-1-n] == '\\' {
		n++
	}
	return n%2 == 1
}

// secrets answers what the vendor may have made of the text of the secret.
func secrets(secret claviger.Secret) (out []form) {
	secret.Use(func(b []byte) {
		text := string(b)
		bare := strings.TrimSpace(text)
		if bare != text {
			out = append(out, form{"secret_space", "The secret has white space around it. Store it without.", []byte(bare)})
		}
		_, rest, cut := strings.Cut(bare, "_")
		for _, t := range []string{bare, rest} {
			if raw, err := base64.StdEncoding.DecodeString(t); err == nil {
				out = append(out, form{"secret_base64", "The key is the secret decoded from base64.", raw})
			}
			if raw, err := hex.DecodeString(t); err == nil {
				out = append(out, form{"secret_hex", "The key is the secret decoded from hex.", raw})
			}
		}
		out = append(out, form{"secret_text", "The key is the text of the secret itself, not decoded.", []byte(bare)})
		if cut {
			out = append(out, form{"secret_prefix", "The key is the secret without its prefix.", []byte(rest)})
		}
	})
	return out
}

// addressForms answers the addresses that a proxy may have hidden.
func addressForms(address string) (out []string) {
	base, query, _ := strings.Cut(address, "?")
	forms := []string{base, strings.TrimSuffix(base, "/"), strings.TrimSuffix(base, "/") + "/"}
	for _, f := range slices.Clone(forms) {
		if after, ok := strings.CutPrefix(f, "https://"); ok {
			forms = append(forms, "http://"+after)
		} else if after, ok := strings.CutPrefix(f, "http://"); ok {
			forms = append(forms, "https://"+after)
		}
	}
	for _, f := range forms {
		out = append(out, f)
		if query != "" {
			out = append(out, f+"?"+query)
		}
	}
	return slices.DeleteFunc(out, func(f string) bool { return f == address })
}
