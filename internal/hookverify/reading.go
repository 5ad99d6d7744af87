package hookverify

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Request is a delivery as it arrived.
type Request struct {
	Method string
	// URL is the address that the vendor was given, with the query of this request: the
	// public one, not the one behind a proxy. Some vendors sign it.
	URL    string
	Header http.Header
	Body   []byte // exact, as it came over the wire; its size is bounded by the caller
}

// maxEcho bounds what is taken from a request into an answer.
const maxEcho = 2048

// Why a value could not be read. The names of values come from the scheme; the values
// themselves are never quoted.
var (
	errAbsent    = errors.New("is missing")
	errRepeated  = errors.New("is there more than once")
	errMalformed = errors.New("cannot be read")
	errTooLong   = errors.New("is too long")
)

// reading is one look at a request: what was parsed of it, once. It belongs to one call.
type reading struct {
	req      *Request
	scheme   *Scheme
	stamp    string // the timestamp, as it was sent
	address  string // as the vendor signs it
	keyID    string // of the key that the delivery names
	computed string // by a handshake
	tree     any
	treeErr  error
	treeRead bool
	form     url.Values
	formErr  error
	formRead bool
}

func (s *Scheme) read(req *Request) *reading {
	return &reading{req: req, scheme: s, address: s.unescape(req.URL)}
}

// one answers the only value of a reference.
func (r *reading) one(x ref) (string, error) {
	all, err := r.all(x)
	switch {
	case err != nil:
		return "", err
	case len(all) == 1:
		return all[0], nil
	case len(all) > 1:
		return "", errRepeated
	case x.optional:
		return "", nil
	}
	return "", errAbsent
}

// all answers the values of a reference.
func (r *reading) all(x ref) ([]string, error) {
	switch x.source {
	case "header":
		if x.name == "Host" {
			return nil, errAbsent // Go keeps it elsewhere; no vendor signs it
		}
		return r.req.Header[x.name], nil
	case "query":
		_, raw, _ := strings.Cut(r.req.URL, "?")
		q, err := url.ParseQuery(raw)
		if err != nil {
			return nil, errMalformed
		}
		return q[x.name], nil
	case "form":
		form, err := r.parseForm()
		if err != nil {
			return nil, err
		}
		return form[x.name], nil
	case "json":
		tree, err := r.parseTree()
		if err != nil {
			return nil, err
		}
		var out []string
		for _, v := range find(tree, x.name) {
			if text, ok := scalar(v); ok {
				out = append(out, text)
			}
		}
		return out, nil
	}
	var b strings.Builder
	if err := r.write(&b, x, nil); err != nil {
		return nil, err
	}
	return []string{b.String()}, nil
}

// write writes the value of a reference.
func (r *reading) write(w io.Writer, x ref, secret []byte) (err error) {
	var value string
	switch x.source {
	case "body":
		_, _ = w.Write(r.req.Body) // hashes and buffers do not fail
		return nil
	case "secret":
		_, _ = w.Write(secret)
		return nil
	case "timestamp":
		value = r.stamp
	case "kid":
		value = r.keyID
	case "computed":
		value = r.computed
	case "method":
		value = r.req.Method
	case "url":
		value = r.address
	case "endpoint":
		value, _, _ = strings.Cut(r.address, "?")
	case "path":
		value, err = pathOf(r.req.URL)
	case "formSorted":
		value, err = r.formSorted()
	case "jsonCompact":
		var b bytes.Buffer
		if json.Compact(&b, r.req.Body) != nil {
			err = errMalformed
		}
		value = b.String()
	case "bodySha256":
		sum := sha256.Sum256(r.req.Body)
		value = hex.EncodeToString(sum[:])
	case "bodyCrc32":
		value = strconv.FormatUint(uint64(crc32.ChecksumIEEE(r.req.Body)), 10)
	case "lines":
		value, err = r.lines()
	case "signedHeaders":
		value, err = r.signedHeaders()
	case "header", "query", "form", "json":
		value, err = r.one(x)
	default: // a setting without a value: With puts them in
		err = errAbsent
	}
	if err != nil {
		return err
	}
	_, _ = io.WriteString(w, value)
	return nil
}

// parseTree reads the body as JSON, once. A vendor that wraps its JSON into a form names
// the field.
func (r *reading) parseTree() (any, error) {
	if !r.treeRead {
		r.treeRead = true
		body := r.req.Body
		if field := r.scheme.doc.BodyField; field != "" {
			body = r.formField(field, body)
		}
		r.tree, r.treeErr = parseJSON(body)
	}
	return r.tree, r.treeErr
}

// formField answers a field of a form, or the body itself if it is no form. Files are
// not looked at and nothing is written to disk.
func (r *reading) formField(name string, body []byte) []byte {
	kind, params, err := mime.ParseMediaType(r.contentType())
	if err == nil && kind == "application/x-www-form-urlencoded" {
		if values, err := r.parseForm(); err == nil && len(values[name]) == 1 {
			return []byte(values[name][0])
		}
		return nil
	}
	if err != nil || kind != "multipart/form-data" {
		return body
	}
	var found []byte
	for parts, n := multipart.NewReader(bytes.NewReader(body), params["boundary"]), 0; n < 100; n++ {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil || part.FormName() == name && found != nil {
			return nil
		}
		if part.FormName() == name {
			if found, err = io.ReadAll(part); err != nil { // within the body, which is bounded
				return nil
			}
		}
	}
	return nil
}

func (r *reading) contentType() string {
	if values := r.req.Header["Content-Type"]; len(values) == 1 {
		return values[0]
	}
	return ""
}

func (r *reading) isForm() bool {
	kind, _, err := mime.ParseMediaType(r.contentType())
	return err == nil && kind == "application/x-www-form-urlencoded"
}

// parseForm reads the body as a form, once, if it says that it is one.
func (r *reading) parseForm() (url.Values, error) {
	if !r.formRead {
		r.formRead = true
		if !r.isForm() {
			r.formErr = errAbsent
		} else if r.form, r.formErr = url.ParseQuery(string(r.req.Body)); r.formErr != nil {
			r.formErr = errMalformed
		}
	}
	return r.form, r.formErr
}

// formSorted answers names and values of the form behind one another, sorted by name; of
// a name with several values, each value once (https://www.twilio.com/docs/usage/security).
func (r *reading) formSorted() (string, error) {
	if x := r.scheme.doc.BodyHash; x != nil && x.UnlessForm && !r.isForm() {
		return "", nil
	}
	form, err := r.parseForm()
	if err != nil {
		return "", err
	}
	names := make([]string, 0, len(form))
	for name := range form {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		values := slices.Clone(form[name])
		slices.Sort(values)
		for _, v := range slices.Compact(values) {
			b.WriteString(name + v)
		}
	}
	return b.String(), nil
}

// lines answers each of the scheme's members of the JSON body as its name and its value
// on lines of their own; members marked optional may be absent
// (https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html).
func (r *reading) lines() (string, error) {
	var b strings.Builder
	for _, x := range r.scheme.lines {
		all, err := r.all(x)
		if err != nil || len(all) == 0 && !x.optional {
			return "", errors.Join(err, errAbsent)
		}
		for _, v := range all {
			b.WriteString(x.name + "\n" + v + "\n")
		}
	}
	return b.String(), nil
}

// signedHeaders answers the headers that the delivery lists, as name:value joined by a
// semicolon. The list must hold itself and the timestamp, or they would not be signed.
func (r *reading) signedHeaders() (string, error) {
	list, err := r.one(r.scheme.headerList)
	if err != nil {
		return "", err
	}
	names := strings.Split(strings.ToLower(list), ",")
	if len(names) > 50 {
		return "", errTooLong
	}
	for i, name := range names {
		names[i] = strings.TrimSpace(name)
	}
	for _, must := range []ref{r.scheme.headerList, r.scheme.stampRef} {
		if must.is() && !slices.Contains(names, strings.ToLower(must.name)) {
			return "", errAbsent
		}
	}
	for i, name := range names {
		value, err := r.one(ref{source: "header", name: http.CanonicalHeaderKey(name)})
		if err != nil {
			return "", err
		}
		names[i] = name + ":" + strings.TrimSpace(value)
	}
	return strings.Join(names, ";"), nil
}

// pathOf answers path and query of an address, as they were sent.
func pathOf(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", errMalformed
	}
	return u.RequestURI(), nil
}

// unescape decodes the percent escapes of the characters that the vendor decodes before
// it signs an address.
func (s *Scheme) unescape(address string) string {
	for _, c := range s.doc.URL.Unescape {
		escape := "%" + strings.ToUpper(strconv.FormatInt(int64(c), 16))
		address = strings.ReplaceAll(strings.ReplaceAll(address, escape, string(c)), strings.ToLower(escape), string(c))
	}
	return address
}

// addresses answers the forms of the address that may have been signed: of a vendor that
// is not sure of the port, also the one with the default port, or without it.
func (s *Scheme) addresses(address string) []string {
	u, err := url.Parse(address)
	if s.doc.URL.Port == "" || err != nil || u.Scheme != "https" || u.Port() != "" && u.Port() != "443" {
		return []string{address}
	}
	before, after, _ := strings.Cut(address, u.Host)
	return []string{before + u.Hostname() + after, before + u.Hostname() + ":443" + after}
}
