package hookverify

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of a body that is read as JSON. Its size is bounded by whoever read it.
const (
	maxDepth   = 64
	maxMatches = 1000
)

var errJSON = errors.New("the body is not strict JSON")

// parseJSON reads one JSON value: UTF-8, no key twice in an object, nothing behind it.
// A key that stands twice would let the verifier read one value and a consumer the other.
// Numbers keep their text.
func parseJSON(data []byte) (any, error) {
	if !utf8.Valid(data) {
		return nil, errJSON
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v, err := jsonValue(dec, 0)
	if err != nil {
		return nil, errJSON
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errJSON
	}
	return v, nil
}

func jsonValue(dec *json.Decoder, depth int) (any, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		return jsonObject(dec, depth+1)
	case json.Delim('['):
		return jsonArray(dec, depth+1)
	}
	return token, nil
}

func jsonObject(dec *json.Decoder, depth int) (any, error) {
	out := map[string]any{}
	if depth > maxDepth {
		return nil, errJSON
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, ok := key.(string)
		if _, twice := out[name]; !ok || twice {
			return nil, errJSON
		}
		if out[name], err = jsonValue(dec, depth); err != nil {
			return nil, err
		}
	}
	_, err := dec.Token()
	return out, err
}

func jsonArray(dec *json.Decoder, depth int) (any, error) {
	out := []any{}
	if depth > maxDepth {
		return nil, errJSON
	}
	for dec.More() {
		v, err := jsonValue(dec, depth)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	_, err := dec.Token()
	return out, err
}

// find answers the values at a dotted path: a name is a member, a number an element, a
// star every element. It answers at most maxMatches values.
func find(tree any, path string) []any {
	found := []any{tree}
	for step := range strings.SplitSeq(path, ".") {
		var next []any
		for _, v := range found {
			next = append(next, stepInto(v, step)...)
			if len(next) > maxMatches {
				next = next[:maxMatches]
				break
			}
		}
		found = next
	}
	return found
}

func stepInto(v any, step string) []any {
	switch v := v.(type) {
	case map[string]any:
		if member, ok := v[step]; ok {
			return []any{member}
		}
	case []any:
		if step == "*" {
			return slices.Clone(v)
		}
		if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(v) {
			return []any{v[i]}
		}
	}
	return nil
}

// scalar answers a JSON value as the text that vendors sign: strings as they are,
// numbers as they were written. Null, objects and arrays have none.
func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}
