package oauth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"claviger"
	"claviger/internal/egress"
)

// The waits for one answer: of a call, and the longest that a connector may ask for.
const (
	callTimeout = 90 * time.Second
	maxTimeout  = 330 * time.Second
)

// maxAnswer caps the answer of an authorization server.
const maxAnswer = 1 << 20

// Client sends the requests of this package. Its fields are set once, before use.
type Client struct {
	Egress *egress.Client
	Now    func() time.Time
	Random io.Reader // of cryptographic quality
	Nonces *Nonces   // nil: none are remembered between requests
}

// Outcome says what can have happened to a request that must not be sent twice.
type Outcome string

// The outcomes.
const (
	Answered  Outcome = "answered"  // a whole answer has come, whatever it says
	NotSent   Outcome = "not_sent"  // the vendor has seen nothing: it may be sent again
	Uncertain Outcome = "uncertain" // the vendor may have acted, and its answer is lost
)

// Attempt is one request and what came of it.
type Attempt struct {
	Outcome Outcome
	Raw     Raw    // of Answered
	Nonce   string // for the next DPoP proof; empty keeps the one in use
	Err     error  // *claviger.Error of NotSent and Uncertain; nil when Answered
	caching string // Cache-Control
}

// OnSend answers a context with which a request calls f just before it leaves, to write
// down that it does. f may end the context to keep it from leaving, which is then
// NotSent. It is called again where a request goes again with a nonce or the former secret of its client.
func OnSend(ctx context.Context, f func()) context.Context { return egress.OnSend(ctx, f) }

// failed answers the attempt that ended with err before or after sending.
func failed(sent bool, err error) Attempt {
	e := claviger.AsError(err)
	if !sent {
		return Attempt{Outcome: NotSent, Err: e}
	}
	return Attempt{Outcome: Uncertain, Err: e}
}

// call is a request to be sent.
type call struct {
	endpoint string
	method   string // POST if empty
	params   url.Values
	format   string // of the body: form (if empty), json, or none
	auth     claviger.ClientAuth
	proof    *Proof
	bound    bool            // whether it may not go without a proof
	bearer   claviger.Secret // for calls that a token authorizes
	scheme   string          // before bearer; that of the grant's tokens if empty
	secretHeader
	timeout time.Duration
}

func (c *Client) sendOnce(ctx context.Context, cfg Config, client claviger.OAuthClient, what call) Attempt {
	timeout := min(max(what.timeout, 0), maxTimeout)
	if timeout == 0 {
		timeout = callTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	dest, err := cfg.destination(what.endpoint)
	if err != nil {
		return failed(false, err)
	}
	dest.Patience = timeout
	if what.auth == claviger.TLSClientAuth {
		if dest.Certificate, err = certificate(client); err != nil {
			return failed(false, err)
		}
	}
	req, err := c.request(ctx, cfg, client, what)
	if err != nil {
		return failed(false, err)
	}
	var sent atomic.Bool
	resp, err := c.Egress.Do(egress.OnSend(ctx, func() { sent.Store(ctx.Err() == nil) }), dest, req)
	if err != nil {
		return failed(sent.Load(), err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := egress.ReadAll(resp.Body, maxAnswer)
	if err != nil {
		return failed(true, err)
	}
	raw := Raw{
		Status:      resp.StatusCode,
		ContentType: bounded(resp.Header.Get("Content-Type")),
		Encoding:    bounded(resp.Header.Get("Content-Encoding")),
		RetryAfter:  bounded(resp.Header.Get("Retry-After")),
		Challenge:   bounded(resp.Header.Get("WWW-Authenticate")),
		Received:    c.Now(),
		Body:        claviger.NewSecret(body),
	}
	nonce := resp.Header.Get("DPoP-Nonce")
	if !printable(nonce, maxNonce) {
		nonce = ""
	}
	return Attempt{Outcome: Answered, Raw: raw, Nonce: nonce, caching: bounded(resp.Header.Get("Cache-Control"))}
}

// request makes the request, client authentication and proof included.
func (c *Client) request(ctx context.Context, cfg Config, client claviger.OAuthClient, what call) (*http.Request, error) {
	if what.method == "" {
		what.method = http.MethodPost
	}
	params := url.Values{}
	for name, values := range what.params {
		params[name] = values
	}
	header := cfg.tokenHeaders.Clone()
	if header == nil {
		header = http.Header{}
	}
	if err := c.authenticate(cfg, client, what, params, header); err != nil {
		return nil, err
	}
	target, body, err := what.place(params, header)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, what.method, target, body)
	if err != nil {
		return nil, badEndpoint()
	}
	header.Set("Accept", "application/json")
	header.Set("Accept-Encoding", "identity")
	header.Set("User-Agent", "claviger")
	if !what.bearer.Empty() {
		header.Set("Authorization", orElse(what.scheme, cfg.scheme())+" "+reveal(what.bearer))
	}
	if !what.secret.Empty() {
		header.Set(what.header, reveal(what.secret))
	}
	if what.proof != nil {
		proof, err := c.Prove(*what.proof, what.method, what.endpoint, what.bearer)
		if err != nil {
			return nil, err
		}
		header.Set("DPoP", proof)
	}
	req.Header = header
	// A kept connection may have been closed by the vendor a moment ago, and a request
	// lost with it would be uncertain for nothing.
	req.Close = true
	return req, nil
}

// place puts the parameters where the call wants them.
func (what call) place(params url.Values, header http.Header) (target string, body io.Reader, err error) {
	switch {
	case what.format == "none":
		return what.endpoint, nil, nil
	case what.format == "query":
		separator := "?"
		if strings.Contains(what.endpoint, "?") {
			separator = "&"
		}
		return what.endpoint + separator + params.Encode(), nil, nil
	case what.format == "json":
		flat := make(map[string]any, len(params))
		for name, values := range params {
			if flat[name] = values; len(values) == 1 {
				flat[name] = values[0]
			}
		}
		b, err := json.Marshal(flat)
		header.Set("Content-Type", "application/json")
		return what.endpoint, bytes.NewReader(b), err
	default:
		header.Set("Content-Type", "application/x-www-form-urlencoded")
		return what.endpoint, strings.NewReader(params.Encode()), nil
	}
}

// settled answers the raw answer of an attempt that needs no care about repetition.
func (a Attempt) settled() (Raw, error) {
	if a.Outcome == Answered {
		return a.Raw, nil
	}
	if a.Err == nil {
		return Raw{}, claviger.AsError(errors.New("oauth: an attempt without an outcome"))
	}
	return Raw{}, a.Err
}

// bounded cuts a header's value; what is longer means nothing to us.
func bounded(s string) string { return s[:min(len(s), 512)] }

// reveal answers a secret's text, for the request, the signature or the comparison
// that needs it.
func reveal(s claviger.Secret) (text string) {
	s.Use(func(b []byte) { text = string(b) })
	return text
}
