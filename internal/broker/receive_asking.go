package broker

import (
	"bytes"
	"context"
	"net/http"

	"golang.org/x/time/rate"

	"claviger"
	"claviger/internal/hookverify"
	"claviger/internal/inject"
	"claviger/internal/oauth"
)

// askRate and askBurst are how often a slot asks its vendor for a key with the account's
// credential, per second: whoever forges deliveries chooses the ids that are asked for.
const askRate, askBurst = 0.1, 10

// account is how a key is asked for that the vendor tells to its account alone. The
// credential is the slot's own, and travels to the two addresses that the scheme's
// document fixes.
type account struct {
	*Broker
	d   *delivery
	ref hookverify.KeyRef
}

// fetch asks for the key. What the vendor refuses leaves the delivery without proof.
func (a account) fetch(ctx context.Context) (keyDocument, error) {
	pace := a.published.accounts.settle(a.d.slot.connection, rate.NewLimiter(askRate, askBurst), func(*rate.Limiter) bool { return true })
	if !pace.AllowN(a.now(), 1) {
		return keyDocument{}, claviger.Errorf(claviger.KindUnauthenticated, hookverify.CodeKeyRefused, "Deliveries name too many keys that are not known. The vendor is asked again in a moment.")
	}
	values, err := a.vault.Accepted(ctx, a.d.ticket, &a.d.live.conn, a.d.live.sealed, a.d.slot.versions)
	if err != nil {
		return keyDocument{}, err
	}
	creds := values[0].Credentials
	if creds["username"].Empty() || creds["password"].Empty() {
		return keyDocument{}, claviger.Errorf(claviger.KindUnauthenticated, hookverify.CodeNotConfigured, "The vendor tells its keys to the account alone. Give the slot the method basic, with what the vendor calls the account's id and secret as username and password.")
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keyTimeout) // others wait for the same
	defer cancel()
	req, err := a.request(ctx, creds)
	if err != nil {
		return keyDocument{}, err
	}
	a.d.host = req.URL.Host
	text, header, status, err := getDocument(ctx, a.egress, a.partition(), req)
	if status >= 400 && status < 500 && status != http.StatusTooManyRequests {
		return keyDocument{}, claviger.Errorf(claviger.KindUnauthenticated, hookverify.CodeKeyRefused, "The vendor knows no such key, or not the account of the webhook slot.").With(err)
	}
	if err != nil {
		return keyDocument{}, err
	}
	now := a.now()
	return keyDocument{text: text, fetched: now, until: now.Add(freshFor(header))}, nil
}

// partition keeps these calls on connections of the organization's own.
func (a account) partition() string {
	return string(a.d.receiver.system.Organization) + " webhook-keys"
}

// request is the call that answers the key, with the credential on it.
func (a account) request(ctx context.Context, creds claviger.Credentials) (*http.Request, error) {
	how := a.ref.Account
	method, places := http.MethodPost, map[string]string{how.Username: "username", how.Password: "password"}
	if how.TokenURL != "" {
		token, err := a.token(ctx, creds)
		if err != nil {
			return nil, err
		}
		method, places, creds = http.MethodGet, nil, claviger.Credentials{"token": token}
	}
	req, err := http.NewRequestWithContext(ctx, method, a.ref.URL, bytes.NewReader(how.Body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "claviger")
	with := &claviger.AuthMethod{Type: claviger.AuthCustom}
	for member, field := range places {
		req.Header.Set("Content-Type", "application/json")
		if err := put(with, claviger.Injection{In: "body", Name: member}, "${"+field+"}", field); err != nil {
			return nil, err
		}
	}
	if places == nil {
		if err := put(with, claviger.Injection{In: "header", Name: "Authorization"}, "Bearer ${token}", "token"); err != nil {
			return nil, err
		}
	}
	return inject.Apply(req, with, creds, nil)
}

// put adds a place for a field to a method.
func put(m *claviger.AuthMethod, in claviger.Injection, value, field string) (err error) {
	in.Value, err = claviger.ParseTemplate(value)
	m.Inject = append(m.Inject, in)
	m.Fields = append(m.Fields, claviger.Field{Key: field, Secret: true, Required: true})
	return err
}

// token changes the account's credential into a token (RFC 6749, section 4.4).
func (a account) token(ctx context.Context, creds claviger.Credentials) (claviger.Secret, error) {
	address, err := claviger.ParseTemplate(a.ref.Account.TokenURL)
	if err != nil {
		return claviger.Secret{}, err
	}
	rules := &claviger.OAuth{Grant: claviger.GrantClientCredentials, Endpoints: claviger.OAuthEndpoints{Token: address}, ClientAuth: claviger.ClientSecretBasic}
	// eBay has words of its own for bearer tokens ("Application Access Token"): the type is
	// looked for where none is.
	rules.TokenResponse.TokenType = "$.bearer"
	cfg, err := oauth.Resolve(rules, a.partition(), func(string) (string, bool) { return "", false })
	if err != nil {
		return claviger.Secret{}, err
	}
	client := claviger.OAuthClient{Secret: creds["password"]}
	creds["username"].Use(func(id []byte) { client.ID = string(id) })
	a.d.host = hostOf(a.ref.Account.TokenURL)
	got := a.connecting.oauth.ClientCredentials(ctx, cfg, client, []string{a.ref.Account.Scope}, nil)
	if got.Outcome != oauth.Answered {
		return claviger.Secret{}, got.Err
	}
	tokens, err := oauth.Parse(cfg, client, got.Raw)
	if err != nil && got.Raw.Status < http.StatusInternalServerError && got.Raw.Status != http.StatusTooManyRequests {
		err = claviger.Errorf(claviger.KindUnauthenticated, hookverify.CodeNotConfigured, "The vendor does not accept the account's credential that the webhook slot has.").With(err)
	}
	return tokens.Access, err
}

// key names a key that was told to an account in the memory of keys.
func (a account) key() string {
	return string(a.d.slot.connection) + " " + a.ref.URL + " " + a.ref.KeyID
}
