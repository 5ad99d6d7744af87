package hookverify

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// ref names one value of a request, as "header:X-Signature", "json:event.id" or "body".
// A question mark at the end of a JSON path allows it to be absent.
type ref struct {
	source   string
	name     string
	optional bool
}

// namedSources need a name after the colon; plainSources have none.
var (
	namedSources = []string{"header", "query", "json", "form", "setting", "claim"}
	plainSources = []string{
		"body", "timestamp", "method", "url", "endpoint", "path", "secret", "formSorted", "jsonCompact", "bodySha256",
		"bodyCrc32", "lines", "signedHeaders", "computed", "kid",
	}
)

// parseRef reads a reference.
func parseRef(s string) (ref, error) {
	source, name, named := strings.Cut(s, ":")
	r := ref{source: source, name: name}
	if source == "json" {
		r.name, r.optional = strings.CutSuffix(name, "?")
	}
	switch {
	case named && slices.Contains(namedSources, source) && r.name != "":
		if source == "header" {
			r.name = http.CanonicalHeaderKey(r.name)
		}
		return r, nil
	case !named && slices.Contains(plainSources, source):
		return r, nil
	}
	return ref{}, fmt.Errorf("%q is no reference: use one of %s with a name after a colon, or one of %s", s,
		strings.Join(namedSources, ", "), strings.Join(plainSources, ", "))
}

// is reports whether the reference is there.
func (r ref) is() bool { return r.source != "" }

// String answers the reference as a document writes it.
func (r ref) String() string {
	if r.name == "" {
		return r.source
	}
	return r.source + ":" + r.name
}

// piece is literal text, or a hole if ref is set.
type piece struct {
	literal string
	ref     ref
}

// text is literal text with holes, ${reference}: the string that a vendor signs, or the
// answer to a handshake.
type text []piece

// parseText reads a text.
func parseText(s string) (text, error) {
	var t text
	for rest := s; rest != ""; {
		before, after, found := strings.Cut(rest, "${")
		if before != "" {
			t = append(t, piece{literal: before})
		}
		if !found {
			break
		}
		hole, tail, closed := strings.Cut(after, "}")
		if !closed {
			return nil, errors.New("a hole has no closing }")
		}
		r, err := parseRef(hole)
		if err != nil {
			return nil, err
		}
		t = append(t, piece{ref: r})
		rest = tail
	}
	return t, nil
}

// uses reports whether a hole of the text has one of the sources.
func (t text) uses(sources ...string) bool {
	return slices.ContainsFunc(t, func(p piece) bool { return slices.Contains(sources, p.ref.source) })
}

// names reports whether a hole of the text is the reference.
func (t text) names(r ref) bool {
	return slices.ContainsFunc(t, func(p piece) bool { return p.ref.source == r.source && p.ref.name == r.name })
}

// write writes the text for a request. The secret stands in it only where a vendor
// hashes it with the text.
func (t text) write(w io.Writer, r *reading, secret []byte) error {
	for _, p := range t {
		if !p.ref.is() {
			_, _ = io.WriteString(w, p.literal) // hashes and buffers do not fail
			continue
		}
		if err := r.write(w, p.ref, secret); err != nil {
			return err
		}
	}
	return nil
}

// fill answers the text for a request as a string, of at most maxEcho bytes.
func (t text) fill(r *reading) (string, error) {
	var b strings.Builder
	if err := t.write(&b, r, nil); err != nil {
		return "", err
	}
	if b.Len() > maxEcho {
		return "", errTooLong
	}
	return b.String(), nil
}
