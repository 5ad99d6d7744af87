package client

import (
	"context"
	"net/http"
	"sync"
	"time"

	"claviger"
)

// TokenSource answers the token for the next request. It is called before each
// one, by many goroutines at once.
type TokenSource interface {
	Token(ctx context.Context) (claviger.Secret, error)
}

type fixedToken struct{ token claviger.Secret }

// Token implements TokenSource.
func (f fixedToken) Token(context.Context) (claviger.Secret, error) { return f.token, nil }

// Operator makes the client mint short-lived operator tokens from an application's
// client id and secret (POST /api/v1/account/applications/token, the client
// credentials grant of RFC 6749, section 4.4, in a JSON body) and keep each until
// shortly before it expires.
func Operator(clientID, clientSecret string) Option {
	return func(c *Client) {
		c.token = &operator{id: clientID, secret: claviger.NewSecretString(clientSecret)}
	}
}

// operator mints tokens; one at a time, so that a hundred goroutines ask once.
type operator struct {
	client *Client
	id     string
	secret claviger.Secret

	mu      sync.Mutex
	token   claviger.Secret
	expires time.Time
}

// Token implements TokenSource.
func (o *operator) Token(ctx context.Context) (claviger.Secret, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.token.Empty() && o.client.now().Before(o.expires) {
		return o.token, nil
	}
	in := map[string]string{"client_id": o.id, "client_secret": reveal(o.secret)}
	var out struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"`
	}
	req := request{method: http.MethodPost, path: "/api/v1/account/applications/token", body: in, anonymous: true}
	if err := o.client.do(ctx, req, &out); err != nil {
		return claviger.Secret{}, err
	}
	if out.AccessToken == "" || out.ExpiresIn <= 0 {
		return claviger.Secret{}, &Error{Code: "bad_answer", Message: "The server answered no token."}
	}
	o.token = claviger.NewSecretString(out.AccessToken)
	o.expires = o.client.now().Add(time.Duration(out.ExpiresIn)*time.Second - tokenMargin)
	return o.token, nil
}

// reveal copies a secret out for the one request that carries it.
func reveal(s claviger.Secret) string {
	var v string
	s.Use(func(b []byte) { v = string(b) })
	return v
}
