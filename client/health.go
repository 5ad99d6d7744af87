package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"
)

// Health is how a server says that it is.
type Health struct {
	Status string    // ready, or why not
	Ready  bool      // it takes requests
	Time   time.Time // by its own clock, to the second; zero if it does not tell
}

// Health asks whether the server is ready. It shows no token.
func (c *Client) Health(ctx context.Context) (Health, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base.String()+"/readyz", nil)
	if err != nil {
		return Health{}, err
	}
	req.Header.Set("User-Agent", c.agent)
	resp, err := c.http.Do(req)
	if err != nil {
		return Health{}, unreachable(c.base.Host, err)
	}
	defer func() { _ = resp.Body.Close() }()
	var shape struct {
		Status string `json:"status"`
	}
	if json.NewDecoder(io.LimitReader(resp.Body, 4<<10)).Decode(&shape) != nil {
		return Health{}, &Error{Status: resp.StatusCode, Code: "bad_answer", Message: "The server's answer cannot be read. Is this the address of a claviger server?"}
	}
	h := Health{Status: shape.Status, Ready: resp.StatusCode == http.StatusOK}
	h.Time, _ = http.ParseTime(resp.Header.Get("Date"))
	return h, nil
}
