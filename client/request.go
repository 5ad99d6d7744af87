package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"claviger"
)

// CallOption changes one call.
type CallOption func(*request)

// IdempotencyKey makes a POST safe to repeat: the server does the work once within
// 24 hours and answers the same again. A repeated answer does not show a secret
// that was shown once. The client then repeats the call by itself when the server
// asks to wait. Use 1 to 255 printable characters, new for each intent.
func IdempotencyKey(key string) CallOption { return func(r *request) { r.idempotencyKey = key } }

// request is one call of the native surface.
type request struct {
	method         string
	path           string // escaped, below the base
	query          url.Values
	body           any    // sent as JSON; []byte is sent as it is
	contentType    string // of a []byte
	idempotencyKey string
	anonymous      bool // no token is shown
}

func (r *request) with(opts []CallOption) request {
	for _, o := range opts {
		o(r)
	}
	return *r
}

// repeatable reports whether doing the request twice is doing it once (RFC 9110,
// section 9.2.2).
func (r *request) repeatable() bool {
	switch r.method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete:
		return true
	}
	return r.idempotencyKey != ""
}

// do sends the request and reads its answer into out, which may be nil, a *[]byte
// for the raw body, or a pointer for JSON.
func (c *Client) do(ctx context.Context, r request, out any) error {
	body, contentType, err := encode(r)
	if err != nil {
		return err
	}
	for n := 1; ; n++ {
		err := c.once(ctx, r, body, contentType, out)
		var e *Error
		if !errors.As(err, &e) || n == attempts || !r.repeatable() {
			return err
		}
		if e.Status != http.StatusTooManyRequests && e.Status != http.StatusServiceUnavailable {
			return err
		}
		pause := max(e.RetryAfter, firstPause<<(n-1))
		if pause > longestPause {
			return err // the caller knows better than to hang that long
		}
		if c.pause(ctx, pause) != nil {
			return err
		}
	}
}

func encode(r request) (body []byte, contentType string, err error) {
	switch b := r.body.(type) {
	case nil:
		return nil, "", nil
	case []byte:
		return b, r.contentType, nil
	}
	body, err = json.Marshal(r.body)
	if err != nil {
		return nil, "", fmt.Errorf("client: encode the request: %w", err)
	}
	return body, "application/json", nil
}

func (c *Client) once(ctx context.Context, r request, body []byte, contentType string, out any) error {
	req, err := http.NewRequestWithContext(ctx, r.method, c.base.String()+r.path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	req.URL.RawQuery = r.query.Encode()
	req.Header.Set("User-Agent", c.agent)
	req.Header.Set("Accept", "application/json")
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if r.idempotencyKey != "" {
		req.Header.Set("Idempotency-Key", r.idempotencyKey)
	}
	if !r.anonymous {
		if err := c.authorize(ctx, req); err != nil {
			return err
		}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return unreachable(c.base.Host, err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, answerCap+1))
	if err != nil {
		return unreachable(c.base.Host, err)
	}
	if len(answer) > answerCap {
		return &Error{Status: resp.StatusCode, Code: "answer_too_large", Message: "The server's answer is larger than this client reads."}
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return answered(resp, answer, c.now())
	}
	return decode(resp, answer, out)
}

func decode(resp *http.Response, answer []byte, out any) error {
	switch o := out.(type) {
	case nil:
		return nil
	case *[]byte:
		*o = answer
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		// The decoder's own text may quote the answer, which may hold a shown-once secret.
		return &Error{
			Status: resp.StatusCode, Code: "bad_answer", RequestID: resp.Header.Get("Claviger-Request-Id"),
			Message: "The server's answer cannot be read. Is this the address of a claviger server?",
		}
	}
	return nil
}

func (c *Client) authorize(ctx context.Context, req *http.Request) error {
	token, err := c.token.Token(ctx)
	if err != nil {
		return err
	}
	return bearer(req, token)
}

// bearer puts the token on the request (RFC 6750, section 2.1).
func bearer(req *http.Request, token claviger.Secret) error {
	bad := token.Empty()
	token.Use(func(b []byte) {
		for _, ch := range b {
			bad = bad || ch <= ' ' || ch >= 0x7f
		}
		if !bad {
			req.Header.Set("Authorization", "Bearer "+string(b))
		}
	})
	if bad {
		return &Error{Code: "bad_token", Message: "The token is empty or holds characters that no token has."}
	}
	return nil
}

// get, post, patch, put and remove are the five shapes of call.

func get[T any](ctx context.Context, c *Client, path string, query url.Values) (out T, err error) {
	err = c.do(ctx, request{method: http.MethodGet, path: path, query: query}, &out)
	return out, err
}

func post[T any](ctx context.Context, c *Client, path string, body any, opts []CallOption) (out T, err error) {
	r := request{method: http.MethodPost, path: path, body: body}
	err = c.do(ctx, r.with(opts), &out)
	return out, err
}

func patch[T any](ctx context.Context, c *Client, path string, body any) (out T, err error) {
	err = c.do(ctx, request{method: http.MethodPatch, path: path, body: body}, &out)
	return out, err
}

func put[T any](ctx context.Context, c *Client, path string, body any, contentType string) (out T, err error) {
	err = c.do(ctx, request{method: http.MethodPut, path: path, body: body, contentType: contentType}, &out)
	return out, err
}

func remove[T any](ctx context.Context, c *Client, path string, query url.Values) (out T, err error) {
	err = c.do(ctx, request{method: http.MethodDelete, path: path, query: query}, &out)
	return out, err
}

// values makes a query of pairs, leaving empty values out.
func values(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
