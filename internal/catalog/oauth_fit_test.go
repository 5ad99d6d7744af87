package catalog_test

import (
	"fmt"
	"strings"
	"testing"

	"claviger/internal/catalog"
)

// Grants that nobody consents to take their credentials from fields of their own.
func TestOAuthGrantsWithoutAPerson(t *testing.T) {
	method := func(fields, section string) []byte {
		text := "  - key: oauth\n    type: oauth2\n    fields: [" + fields + "]\n    oauth2: {tokenUrl: \"https://a.acme.example/t\", scopes: [], " + section + "}\n    test: none\n    permissions: none\n"
		return change(t, "actions:\n", text+"actions:\n")
	}
	const (
		client  = "{key: clientId, required: true}, {key: privateKey, secret: true, required: true}"
		account = "{key: serviceAccount, type: json, secret: true, required: true}"
		subject = "{key: subject}"
		token   = "{key: subjectToken, secret: true}"
		other   = "{key: subjectConnection}"
	)
	for name, c := range map[string]struct {
		fields, section, wrong string
		brings                 bool
	}{
		"service account":   {account + ", " + subject, "grant: jwtBearer, clientAuth: none, assertion: {scopeClaim: scope, lifetime: 1h}", "", true},
		"key":               {client + ", " + subject, "grant: jwtBearer, clientAuth: none, assertion: {lifetime: 3m, backdate: 30s}", "", true},
		"organization's":    {"", "grant: jwtBearer, clientAuth: none", "", false},
		"installation":      {client, "grant: installation, clientAuth: private_key_jwt", "", true},
		"exchange":          {token + ", " + other, "grant: tokenExchange, clientAuth: none, exchange: {requestedType: x, audience: api}", "", false},
		"device":            {"", "grant: device, clientAuth: none, deviceUrl: \"https://a.acme.example/d\"", "", false},
		"shown account":     {strings.Replace(account, "secret: true, ", "", 1), "grant: jwtBearer, clientAuth: none", "secret is wrong", false},
		"secret subject":    {account + ", {key: subject, secret: true}", "grant: jwtBearer, clientAuth: none", "secret is wrong", false},
		"another's field":   {client + ", " + token, "grant: clientCredentials, clientAuth: private_key_jwt", "no part of what this grant is asked with", false},
		"half a client":     {"{key: privateKey, secret: true}", "grant: jwtBearer, clientAuth: none", "needs the field clientId", false},
		"nothing to trade":  {"", "grant: tokenExchange, clientAuth: none", "there is no token to exchange", false},
		"unsigned app":      {client, "grant: installation, clientAuth: none", "signed assertion", false},
		"stray assertion":   {"", "grant: clientCredentials, clientAuth: client_secret_basic, assertion: {lifetime: 1m}", "belongs to the grants jwtBearer", false},
		"stray exchange":    {"", "grant: clientCredentials, clientAuth: client_secret_basic, exchange: {audience: x}", "belongs to the grant tokenExchange", false},
		"the issuer's word": {"", "grant: jwtBearer, clientAuth: none, assertion: {scopeClaim: sub}", "a meaning of its own", false},
		"too long":          {"", "grant: jwtBearer, clientAuth: none, assertion: {lifetime: 2h}", "at most 1h", false},
	} {
		conn, faults := catalog.Parse("acme.yaml", method(c.fields, c.section), catalog.Options{})
		if c.wrong == "" {
			if len(faults) > 0 {
				t.Errorf("%s: %v", name, faults)
				continue
			}
			m, _ := conn.Method("oauth")
			if m.BringsClient() != c.brings || m.OAuth.Grant.Unattended() != (name != "device") {
				t.Errorf("%s: brings a client: %v", name, m.BringsClient())
			}
			if s := published(t); !fits(t, s, conn.Document) {
				t.Errorf("%s does not fit the schema", name)
			}
			continue
		}
		found := false
		for _, f := range faults {
			found = found || strings.Contains(fmt.Sprint(f), c.wrong)
		}
		if !found {
			t.Errorf("%s: %v, want %q", name, faults, c.wrong)
		}
	}
}
