package native

import (
	"strconv"
	"strings"

	"claviger"
	"claviger/api"
	"claviger/internal/broker"
	"claviger/internal/wire"
)

// out is an answer with a body. A body that shows a secret once says so itself, by
// its method Redacted.
type out[T any] struct{ Body T }

func body[T any](v T) *out[T] { return &out[T]{Body: v} }

// answer is a body, or the error instead.
func answer[T any](v T, err error) (*out[T], error) {
	if err != nil {
		return nil, err
	}
	return body(v), nil
}

// gone confirms a deletion.
func gone(object, id string, err error) (*out[api.Deleted], error) {
	return answer(api.Deleted{Object: object, ID: id, Deleted: true}, err)
}

// list answers one page: it opens the cursor, fetches what follows it, converts each
// item and seals the cursor of the next page. same holds the filter's values: a
// cursor is good only for the list that it came from.
func list[T, D any](s *surface, c claviger.Caller, route string, p wire.Paging, same []string, convert func(T) D, id func(T) string,
	fetch func(broker.Page) ([]T, bool, error),
) (*out[wire.List[D]], error) {
	filter := quoted(same)
	after, err := s.cursors.Open(c, route, filter, p.After)
	if err != nil {
		return nil, err
	}
	items, more, err := fetch(broker.Page{After: after, Limit: p.Limit})
	if err != nil {
		return nil, err
	}
	next := ""
	if more && len(items) > 0 {
		next = s.cursors.Seal(c, route, filter, id(items[len(items)-1]))
	}
	return body(wire.NewList(each(items, convert), next)), nil
}

// quoted joins values so that no two lists of values read the same.
func quoted(values []string) string {
	var b strings.Builder
	for _, v := range values {
		b.WriteString(strconv.Quote(v))
	}
	return b.String()
}

// window answers the page of a list that is at hand as a whole, in the order of its
// ids.
func window[T any](all []T, p broker.Page, id func(T) string) (part []T, more bool) {
	start := 0
	for start < len(all) && p.After != "" && id(all[start]) <= p.After {
		start++
	}
	end := min(start+p.Limit, len(all))
	return all[start:end], end < len(all)
}

func each[T, D any](items []T, convert func(T) D) []D {
	out := make([]D, len(items))
	for i, item := range items {
		out[i] = convert(item)
	}
	return out
}
