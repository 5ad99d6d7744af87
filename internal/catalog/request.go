package catalog

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"

	"claviger"
)

// Request builds the call of an action: pure, without credentials and context.
// settings are what [CheckSettings] answered, input what the action's schema
// accepted, in the shapes of encoding/json (numbers as json.Number or float64).
//
// A value in the path is escaped as one segment. An optional input that is absent
// or null drops its query parameter, header or body member. A template that is one
// bare hole keeps the input's JSON type in the body; a list in the query repeats
// the parameter. The body can be read again through GetBody. Errors are *Error of
// KindInvalid with Param "input..." or "settings...".
func Request(conn *claviger.Connector, act *claviger.Action, settings map[string]string, input map[string]any) (*http.Request, error) {
	f := &filler{conn: conn, settings: settings, input: input}
	req, err := f.open(act.Method, act.Path, act.Query, act.Headers)
	if err != nil || act.Body == nil {
		return req, err
	}
	body, present, err := f.tree(act.Body)
	if err != nil {
		return nil, err
	}
	if !present {
		body = map[string]any{}
	}
	if act.BodyFormat == "form" {
		members, _ := body.(map[string]any)
		form, err := encodeForm(members)
		if err != nil {
			return nil, err
		}
		setBody(req, []byte(form), "application/x-www-form-urlencoded")
		return req, nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body); err != nil {
		return nil, claviger.Invalid("input", "invalid_format", "The input cannot be written as JSON.").With(err)
	}
	setBody(req, bytes.TrimSuffix(b.Bytes(), []byte("\n")), "application/json")
	return req, nil
}

// ProbeRequest builds the call of a test or of a permission check, as [Request]
// does for an action.
func ProbeRequest(conn *claviger.Connector, p *claviger.Probe, settings map[string]string) (*http.Request, error) {
	f := &filler{conn: conn, settings: settings}
	req, err := f.open(p.Method, p.Path, p.Query, p.Headers)
	if err == nil && p.Body != nil {
		setBody(req, p.Body, "application/json")
	}
	return req, err
}

// DefaultHeaders answers the headers that the connector sends with every call, for
// the proxy to set where the caller sent none.
func DefaultHeaders(conn *claviger.Connector, settings map[string]string) (http.Header, error) {
	f := &filler{conn: conn, settings: settings}
	h := http.Header{}
	return h, f.headers(h, conn.Headers)
}

// open builds the request line and the headers.
func (f *filler) open(method string, path claviger.Template, query []claviger.QueryParam, headers []claviger.Header) (*http.Request, error) {
	base, err := Base(f.conn, f.settings)
	if err != nil {
		return nil, err
	}
	escaped, err := f.path(path)
	if err != nil {
		return nil, err
	}
	raw, err := f.query(query)
	if err != nil {
		return nil, err
	}
	prefix := base.EscapedPath()
	if escaped == "/" && prefix != "" {
		escaped = ""
	}
	text := base.Scheme + "://" + base.Host + prefix + escaped
	if raw != "" {
		text += "?" + raw
	}
	u, err := url.Parse(text)
	if err != nil || claviger.Origin(u) != claviger.Origin(base) || !strings.HasPrefix(u.EscapedPath(), prefix) {
		return nil, claviger.Invalid("input", "invalid_format", "The input does not make a valid address.")
	}
	req := &http.Request{
		Method: method, URL: u, Host: u.Host, Header: make(http.Header, 8),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	req.Header["User-Agent"] = []string{"claviger"}
	if err := f.headers(req.Header, f.conn.Headers); err != nil {
		return nil, err
	}
	return req, f.headers(req.Header, headers)
}

func setBody(req *http.Request, data []byte, contentType string) {
	req.Body = io.NopCloser(bytes.NewReader(data))
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
	req.ContentLength = int64(len(data))
	if req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", contentType)
	}
}
