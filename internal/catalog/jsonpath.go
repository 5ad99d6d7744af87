package catalog

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Path is a compiled path into JSON: the part of RFC 9535 that names values
// without searching for them. It has the root "$", names (.name, ['name']),
// indexes ([0], [-1]) and wildcards (.*, [*]); it has no descendants, filters,
// slices or unions, so that its cost is bounded by the size of the answer.
type Path struct{ steps []step }

// step is a name, an index, or a wildcard over both kinds of container.
type step struct {
	name  string
	index int
	what  byte // 'n', 'i' or '*'
}

// The bounds of a path and of what it finds.
const (
	maxPath    = 256
	maxSteps   = 16
	maxMatches = 10_000
)

var errPath = errors.New("is not a path that is read here: $ followed by .name, ['name'], [0] or [*], at most 16 steps")

// ParsePath reads a path. Its error does not repeat the text.
func ParsePath(s string) (Path, error) {
	var p Path
	if s == "" || s[0] != '$' || len(s) > maxPath || !utf8.ValidString(s) {
		return Path{}, errPath
	}
	for rest := s[1:]; rest != ""; {
		var st step
		var ok bool
		if rest[0] == '.' {
			st, rest, ok = dotStep(rest[1:])
		} else {
			st, rest, ok = bracketStep(rest)
		}
		if !ok || len(p.steps) == maxSteps {
			return Path{}, errPath
		}
		p.steps = append(p.steps, st)
	}
	return p, nil
}

func dotStep(s string) (st step, rest string, ok bool) {
	if strings.HasPrefix(s, "*") {
		return step{what: '*'}, s[1:], true
	}
	end := strings.IndexAny(s, ".[")
	if end < 0 {
		end = len(s)
	}
	for i := range end {
		c := s[i]
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
		if !letter && (i == 0 || c < '0' || c > '9') {
			return st, "", false
		}
	}
	return step{what: 'n', name: s[:end]}, s[end:], end > 0
}

func bracketStep(s string) (st step, rest string, ok bool) {
	if len(s) < 3 || s[0] != '[' {
		return st, "", false
	}
	if q := s[1]; q == '\'' || q == '"' {
		end := strings.IndexByte(s[2:], q)
		if end < 0 {
			return st, "", false
		}
		name, tail := s[2:2+end], s[3+end:]
		return step{what: 'n', name: name}, strings.TrimPrefix(tail, "]"), strings.HasPrefix(tail, "]") && !strings.Contains(name, `\`)
	}
	end := strings.IndexByte(s, ']')
	if end < 0 {
		return st, "", false
	}
	inner, rest := s[1:end], s[end+1:]
	if inner == "*" {
		return step{what: '*'}, rest, true
	}
	i, err := strconv.Atoi(inner)
	return step{what: 'i', index: i}, rest, err == nil && strconv.Itoa(i) == inner && len(inner) < 10
}

// First answers the first value that the path names in a tree of encoding/json
// (maps, slices, strings, numbers, booleans, nil). A value that is null is found.
func (p Path) First(v any) (any, bool) {
	found := walk(nil, v, p.steps, 1)
	if len(found) == 0 {
		return nil, false
	}
	return found[0], true
}

// All answers every value that the path names, at most 10,000; members of an object
// in the order of their names.
func (p Path) All(v any) []any { return walk(nil, v, p.steps, maxMatches) }

func walk(found []any, v any, steps []step, limit int) []any {
	if len(found) >= limit {
		return found
	}
	if len(steps) == 0 {
		return append(found, v)
	}
	st, rest := steps[0], steps[1:]
	switch x := v.(type) {
	case map[string]any:
		if st.what == 'n' {
			if value, ok := x[st.name]; ok {
				return walk(found, value, rest, limit)
			}
			return found
		}
		if st.what == '*' {
			keys := make([]string, 0, len(x))
			for k := range x {
				keys = append(keys, k)
			}
			slices.Sort(keys)
			for _, k := range keys {
				found = walk(found, x[k], rest, limit)
			}
		}
	case []any:
		i := st.index
		if i < 0 {
			i += len(x)
		}
		if st.what == 'i' && i >= 0 && i < len(x) {
			return walk(found, x[i], rest, limit)
		}
		if st.what == '*' {
			for _, item := range x {
				found = walk(found, item, rest, limit)
			}
		}
	}
	return found
}

// Put answers a tree that has value at the path and is otherwise as it was: what is
// missing on the way is made, a wildcard is one entry. It makes up answers that
// [Path.First] reads; a tree of other shape on the way is replaced.
func (p Path) Put(tree, value any) any { return put(tree, p.steps, value) }

func put(tree any, steps []step, value any) any {
	if len(steps) == 0 {
		return value
	}
	if steps[0].what == 'n' {
		members, ok := tree.(map[string]any)
		if !ok {
			members = map[string]any{}
		}
		members[steps[0].name] = put(members[steps[0].name], steps[1:], value)
		return members
	}
	list, _ := tree.([]any)
	at := 0
	switch {
	case steps[0].what == 'i' && steps[0].index >= 0:
		at = steps[0].index
	case steps[0].what == 'i':
		at = max(0, len(list)+steps[0].index)
	}
	if at >= maxMatches {
		return list
	}
	for len(list) <= at {
		list = append(list, nil)
	}
	list[at] = put(list[at], steps[1:], value)
	return list
}
