package client

import (
	"context"
	"iter"
	"maps"
	"net/url"

	"claviger/api"
)

// pageSize is how many items are asked for at a time: the most that a page holds.
const pageSize = "100"

// pages walks a list page by page. It ends at the first error, which it answers
// with a zero item, and at a list that answers the same cursor twice.
func pages[T any](ctx context.Context, c *Client, path string, query url.Values) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		q := url.Values{}
		maps.Copy(q, query)
		q.Set("limit", pageSize)
		for {
			page, err := get[api.List[T]](ctx, c, path, q)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range page.Data {
				if !yield(item, nil) {
					return
				}
			}
			if !page.HasMore {
				return
			}
			if page.NextCursor == "" || page.NextCursor == q.Get("after") {
				var none T
				yield(none, &Error{Code: "bad_answer", Message: "The server's list does not move on."})
				return
			}
			q.Set("after", page.NextCursor)
		}
	}
}

// Collect reads at most limit items of a list; 0 means all of them.
func Collect[T any](seq iter.Seq2[T, error], limit int) ([]T, error) {
	out := []T{}
	for item, err := range seq {
		if err != nil {
			return out, err
		}
		out = append(out, item)
		if len(out) == limit {
			break
		}
	}
	return out, nil
}
