package clavigertest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"claviger/api"
)

// maxAnswer bounds an answer that is read whole.
const maxAnswer = 8 << 20

// Answer is an answer, read whole.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Fault answers the error that the answer holds; the zero value if it holds none.
func (a *Answer) Fault() api.Error {
	var shape api.ErrorBody
	_ = json.Unmarshal(a.Body, &shape)
	return shape.Error
}

// Field answers a member of a JSON object as text, "" if it is absent.
func (a *Answer) Field(name string) string {
	var object map[string]any
	_ = json.Unmarshal(a.Body, &object)
	text, _ := object[name].(string)
	return text
}

// Call is one request.
type Call struct {
	Token  string // Authorization: Bearer; none if empty
	Method string
	Path   string
	Body   any // a string is sent as it is, anything else as JSON; nil: no body
	Header http.Header
}

// Do sends a request on the plain HTTP client of the standard library and answers what
// came back, whatever it is. Redirects are not followed.
func (s *Server) Do(c Call) *Answer {
	s.t.Helper()
	a, err := s.Send(c)
	if err != nil {
		s.t.Fatalf("%s %s: %v", c.Method, c.Path, err)
	}
	return a
}

// Send is [Server.Do] for a request that may not be answered at all.
func (s *Server) Send(c Call) (*Answer, error) {
	var body io.Reader
	switch b := c.Body.(type) {
	case nil:
	case string:
		body = strings.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), c.Method, s.URL+c.Path, body)
	if err != nil {
		return nil, err
	}
	if c.Body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, values := range c.Header {
		req.Header[name] = values
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	resp, err := browser.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return &Answer{Status: resp.StatusCode, Header: resp.Header, Body: text}, err
}

// browser is how tests speak to the server: with a deadline, and without following.
var browser = &http.Client{
	Timeout:       Patience,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// Admin reads a page of the admin listener.
func (s *Server) Admin(path string) *Answer {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.AdminURL+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := browser.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		s.t.Fatal(err)
	}
	return &Answer{Status: resp.StatusCode, Header: resp.Header, Body: text}
}
