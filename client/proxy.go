package client

import (
	"errors"
	"net/http"
	"net/url"
)

// ProxyURL answers the address that stands for the vendor's base URL when calls go
// through the connection. Give it to a vendor's own SDK as its base URL, with a
// claviger key as its token.
func (c *Client) ProxyURL(connectionID string) string {
	return c.base.String() + connectionPath(connectionID, "/proxy")
}

// Proxy answers an HTTP client whose every request goes through the connection:
// the request's path and query are taken below the connector's base URL, its
// scheme and host are ignored, and the connection's credential is put on at the
// server. Requests and answers are streamed; there is no timeout but the
// request's context; redirects are answered, not followed. A refusal by claviger
// itself has the header Claviger-Error.
//
//	resp, err := c.Proxy(id).Get("http://vendor/user?per_page=5")
func (c *Client) Proxy(connectionID string) *http.Client {
	return &http.Client{
		Transport:     proxied{client: c, prefix: c.base.EscapedPath() + connectionPath(connectionID, "/proxy")},
		CheckRedirect: noRedirects,
	}
}

type proxied struct {
	client *Client
	prefix string // escaped
}

// RoundTrip sends a copy of req to the proxy. A token that req carries is replaced.
func (p proxied) RoundTrip(req *http.Request) (*http.Response, error) {
	out := req.Clone(req.Context())
	escaped := p.prefix + req.URL.EscapedPath()
	path, err := url.PathUnescape(escaped)
	if err != nil {
		return nil, errors.New("client: the request's path cannot be read")
	}
	base := p.client.base
	out.URL = &url.URL{Scheme: base.Scheme, Host: base.Host, Path: path, RawPath: escaped, RawQuery: req.URL.RawQuery}
	out.Host = ""
	out.Header.Del("Api-Key")
	if err := p.client.authorize(req.Context(), out); err != nil {
		if req.Body != nil {
			_ = req.Body.Close() // a RoundTripper must, on errors too
		}
		return nil, err
	}
	return p.client.http.Transport.RoundTrip(out)
}
