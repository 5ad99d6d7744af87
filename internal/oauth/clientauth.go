package oauth

import (
	"crypto/tls"
	"encoding/base64"
	"net/http"
	"net/url"
	"time"

	"claviger"
)

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// assertionLifetime is how long a client assertion is good: enough for a skewed clock,
// short enough to be worthless in a log.
const assertionLifetime = 2 * time.Minute

// authenticate proves the client in the one way that its connector names. An empty
// way adds nothing, not even the client's id: a token then authorizes the call.
func (c *Client) authenticate(cfg Config, client claviger.OAuthClient, what call, params url.Values, header http.Header) error {
	if what.auth == "" {
		return nil
	}
	idParam := orElse(cfg.Rules.ClientIDParam, "client_id")
	if client.ID == "" {
		return claviger.Invalid("clientId", "oauth_client_missing", "The connector has no OAuth client. Set its client id and secret first.")
	}
	switch what.auth {
	case claviger.ClientSecretBasic, claviger.ClientSecretPost:
		if client.Secret.Empty() {
			return claviger.Invalid("clientSecret", "oauth_client_missing", "The connector's OAuth client has no secret. Set it first.")
		}
	case claviger.PrivateKeyJWT:
		assertion, err := c.clientAssertion(cfg, client, what.endpoint)
		if err != nil {
			return err
		}
		params.Set("client_assertion_type", assertionType)
		params.Set("client_assertion", assertion)
	case claviger.TLSClientAuth, claviger.ClientAuthNone:
	default:
		return claviger.Invalid("oauth2.clientAuth", "invalid_connector", "The connector's way of client authentication is not known.")
	}
	if what.auth == claviger.ClientSecretBasic {
		// Both are form-encoded first (RFC 6749, section 2.3.1): a colon in the id would
		// otherwise move the border between them.
		pair := url.QueryEscape(client.ID) + ":" + url.QueryEscape(reveal(client.Secret))
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
		return nil
	}
	params.Set(idParam, client.ID)
	if what.auth == claviger.ClientSecretPost {
		params.Set(orElse(cfg.Rules.ClientSecretParam, "client_secret"), reveal(client.Secret))
	}
	return nil
}

// clientAssertion signs a new assertion: its id is new at every send, because servers
// refuse one that they have seen (RFC 7523, section 3).
func (c *Client) clientAssertion(cfg Config, client claviger.OAuthClient, endpoint string) (string, error) {
	now := c.Now()
	return c.SignAssertion(Assertion{
		Issuer: client.ID, Subject: client.ID, Audience: orElse(cfg.assertionAudience, endpoint),
		Key: client.PrivateKey, KeyID: client.KeyID, IssuedAt: now, Lifetime: assertionLifetime,
	})
}

// certificate makes the identity of tls_client_auth.
func certificate(client claviger.OAuthClient) (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(client.Certificate, []byte(reveal(client.PrivateKey)))
	if err != nil {
		return nil, claviger.Invalid("certificate", "invalid_format", "The OAuth client's certificate and private key do not form a pair. Give both as PEM, the certificate's chain leaf first.")
	}
	return &pair, nil
}
