package authn

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"unicode/utf8"
)

var errNotStrict = errors.New("authn: not a strict JSON object")

// strictObject reads one flat JSON object in one way only: exact keys out of
// allowed, none twice, nothing behind it, UTF-8. encoding/json alone would match
// "Sub" with "sub" and let the last duplicate win, so that the checker and the user
// of a claim could see different values.
func strictObject(data []byte, allowed ...string) (map[string]json.RawMessage, error) {
	if !utf8.Valid(data) {
		return nil, errNotStrict
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return nil, errNotStrict
	}
	members := make(map[string]json.RawMessage, len(allowed))
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, errNotStrict
		}
		key, ok := tok.(string)
		if _, twice := members[key]; !ok || twice || !slices.Contains(allowed, key) {
			return nil, errNotStrict
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, errNotStrict
		}
		members[key] = value
	}
	if _, err := dec.Token(); err != nil { // the closing brace
		return nil, errNotStrict
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errNotStrict
	}
	return members, nil
}

// str answers a member that must be a string, "" for anything else.
func str(members map[string]json.RawMessage, key string) string {
	raw := members[key]
	var s string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// seconds answers a member that must be a whole number of seconds, 0 for anything
// else.
func seconds(members map[string]json.RawMessage, key string) int64 {
	var n int64
	if json.Unmarshal(members[key], &n) != nil {
		return 0
	}
	return n
}
