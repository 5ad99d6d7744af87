package oauth

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"claviger"
)

// exchange is a request with the amendments that its refusals asked for. Each is made
// once at most, to the same address, and only after an answer that says that the request
// was looked at no further: no code and no refresh token has been used by it.
type exchange struct {
	cfg     Config
	client  claviger.OAuthClient
	what    call
	address *url.URL
	nonced  bool
}

// send sends a call, and again if the vendor refused its proof for want of a nonce, or
// the client's secret while the former one may still be the one that it knows.
func (c *Client) send(ctx context.Context, cfg Config, client claviger.OAuthClient, what call) Attempt {
	if what.bound && what.proof == nil {
		return failed(false, claviger.Errorf(claviger.KindInternal, "", "A request that must prove its key came without one."))
	}
	x := exchange{cfg: cfg, client: client, what: what}
	x.address, _ = url.Parse(what.endpoint)
	if what.proof != nil && what.proof.Nonce == "" {
		x.prove(c.Nonces.Get(cfg.Partition, x.address))
	}
	for {
		a := c.sendOnce(ctx, x.cfg, x.client, x.what)
		if what.proof != nil {
			c.Nonces.Put(cfg.Partition, x.address, a.Nonce)
		}
		if a.Outcome != Answered || !x.amend(a) {
			if a.Nonce == "" && x.nonced {
				a.Nonce = x.what.proof.Nonce
			}
			return a
		}
	}
}

// prove puts a nonce into the proof.
func (x *exchange) prove(nonce string) {
	proof := *x.what.proof
	proof.Nonce = nonce
	x.what.proof = &proof
}

// amend changes the request as its answer asks for, and reports whether it may go again.
func (x *exchange) amend(a Attempt) bool {
	switch classify(x.cfg, a.Raw, "").Verdict {
	case UseDPoPNonce:
		if x.nonced || x.what.proof == nil || a.Nonce == "" || a.Nonce == x.what.proof.Nonce {
			return false
		}
		x.nonced = true
		x.prove(a.Nonce)
		return true
	case InvalidClient:
		secret := x.what.auth == claviger.ClientSecretBasic || x.what.auth == claviger.ClientSecretPost
		if !secret || x.client.Former.Empty() || !x.cfg.refusesSecret(a.Raw) {
			return false
		}
		x.client.Secret, x.client.Former = x.client.Former, claviger.Secret{}
		return true
	}
	return false
}

// refusesSecret reports whether an answer is about the client's proof, and not about
// what the client may do.
func (cfg Config) refusesSecret(raw Raw) bool {
	tree, _ := raw.read(cfg.Rules.TokenResponse.Format)
	said := strings.ToLower(word(tree, cfg.Rules.TokenResponse.Error))
	return raw.Status == http.StatusUnauthorized ||
		slices.Contains([]string{"invalid_client", "incorrect_client_credentials", "bad_client_secret"}, said)
}
