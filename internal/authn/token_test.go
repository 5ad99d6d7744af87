package authn

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"strings"
	"testing"
	"time"

	"claviger"
	"claviger/clavigertest/cputime"
	"claviger/internal/store"
)

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// forge signs any header and payload with the instance's real key.
func (e *env) forge(t *testing.T, header, payload string) string {
	t.Helper()
	keys, err := e.ring.keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	signed := b64(header) + "." + b64(payload)
	return signed + "." + b64(string(ed25519.Sign(keys[0].private, []byte(signed))))
}

// parts answers the header and payload of a token.
func parts(t *testing.T, token string) (header, payload string) {
	t.Helper()
	p := strings.Split(token, ".")
	h, err := base64.RawURLEncoding.DecodeString(p[0])
	if err != nil {
		t.Fatal(err)
	}
	b, err := base64.RawURLEncoding.DecodeString(p[1])
	if err != nil {
		t.Fatal(err)
	}
	return string(h), string(b)
}

func TestOperatorToken(t *testing.T) {
	e := start(t)
	token, c := e.operator(t)
	if c.Kind != claviger.CallerOperator || c.ID != string(e.first.Application) || !c.InstanceAdmin || c.Scope != e.scope ||
		c.Permissions != claviger.RoleOwner.Permissions() || c.OwnerID() != string(e.first.Application) || c.Token == "" {
		t.Errorf("caller %+v", c)
	}
	header, payload := parts(t, token)
	if e.forge(t, header, payload) != token {
		t.Error("forge does not make the same token, so that the tests below would prove nothing")
	}
	if got := e.ledger.last(t); got.Verb != claviger.TokensMint || got.ResourceID != string(c.Token) || got.Outcome != claviger.OutcomeSucceeded {
		t.Errorf("entry %+v", got)
	}
	e.clock.pass(operatorLife)
	e.refused(t, e.Authority, "after 15 minutes", token)
}

func TestAbuse_022_Algorithms(t *testing.T) {
	e := start(t)
	token, _ := e.operator(t)
	header, payload := parts(t, token)
	keys, err := e.ring.keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e.cache.evict("")
	sig := strings.Split(token, ".")[2]
	for _, alg := range []string{"none", "None", "NONE", "", "HS256", "ES256", "RS256", "PS256", "EdDSA ", "eddsa", "Ed25519", "XX"} {
		h := strings.Replace(header, `"EdDSA"`, `"`+alg+`"`, 1)
		signed := b64(h) + "." + b64(payload)
		mac := hmac.New(sha256.New, keys[0].public())
		mac.Write([]byte(signed))
		for name, s := range map[string]string{
			"no signature": "", "old signature": sig, "HMAC with the public key": b64(string(mac.Sum(nil))),
			"zeros": b64(string(make([]byte, 64))), "real key": b64(string(ed25519.Sign(keys[0].private, []byte(signed)))),
		} {
			e.refused(t, e.Authority, alg+" "+name, signed+"."+s)
		}
	}
	if _, err := e.AuthenticateToken(t.Context(), token, here); err != nil {
		t.Errorf("the real token: %v", err)
	}
}

func TestAbuse_023_HeadersChooseNothing(t *testing.T) {
	e := start(t)
	token, _ := e.operator(t)
	header, payload := parts(t, token)
	var h map[string]any
	if err := json.Unmarshal([]byte(header), &h); err != nil {
		t.Fatal(err)
	}
	with := func(key string, value any) string {
		m := maps.Clone(h)
		m[key] = value
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return e.forge(t, string(b), payload)
	}
	e.cache.evict("")
	if err := e.db.Close(); err != nil { // nothing here may reach it
		t.Fatal(err)
	}
	for _, kid := range []any{"../../dev/null", "' OR 1=1 --", "https://evil.example/key", strings.Repeat("k", 4096), "a\x00b", "", 7, nil, []string{"a"}} {
		e.refused(t, e.Authority, fmt.Sprint("kid ", kid), with("kid", kid))
	}
	for _, name := range []string{"jku", "x5u", "jwk", "x5c", "crit", "b64", "cty", "zip", "Alg", "KID"} {
		e.refused(t, e.Authority, name, with(name, "https://evil.example/"))
	}
	for _, typ := range []any{"JWT", "", "scoped+jwt ", "OPERATOR+JWT", "widget+jwt", nil} {
		e.refused(t, e.Authority, fmt.Sprint("typ ", typ), with("typ", typ))
	}
}

// claim answers the operator's payload with one claim replaced, in the order of a
// map, which no check depends on.
func (e *env) claim(t *testing.T, token, name string, value any) string {
	t.Helper()
	header, payload := parts(t, token)
	var m map[string]any
	if err := json.Unmarshal([]byte(payload), &m); err != nil {
		t.Fatal(err)
	}
	m["iat"], m["exp"] = int64(m["iat"].(float64)), int64(m["exp"].(float64))
	if value == nil {
		delete(m, name)
	} else {
		m[name] = value
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return e.forge(t, header, string(b))
}

func TestAbuse_025_OneAudienceOneIssuer(t *testing.T) {
	e := start(t)
	token, _ := e.operator(t)
	_, payload := parts(t, token)
	var c claims
	if err := json.Unmarshal([]byte(payload), &c); err != nil {
		t.Fatal(err)
	}
	if _, err := e.AuthenticateToken(t.Context(), e.claim(t, token, "aud", c.Audience), here); err != nil {
		t.Fatalf("unchanged claims: %v", err)
	}
	e.cache.evict("")
	now := e.clock.now().Unix()
	for _, x := range []struct {
		claim string
		value any
	}{
		{"aud", nil},
		{"aud", "https://claviger.example/api/v1/embedded"},
		{"aud", "https://claviger.example"},
		{"aud", []string{c.Audience}},
		{"aud", []string{c.Audience, "other"}},
		{"iss", nil},
		{"iss", "https://other.example"},
		{"iss", "https://claviger.example/"},
		{"sub", nil},
		{"sub", "app_other"},
		{"jti", nil},
		{"jti", "tok_00000000000000000000000000"},
		{"jti", "' OR 1=1"},
		{"exp", nil},
		{"exp", now + 3600},
		{"exp", now - 1},
		{"exp", "9999999999"},
		{"iat", nil},
		{"iat", now + 3600},
		{"iat", -1},
		{"typ", nil},
		{"typ", typScoped},
		{"nbf", now},
		{"scope", "admin"},
		{claimWorkspace, map[string]string{"workspaceId": "00000000-0000-0000-0000-000000000000"}},
	} {
		e.refused(t, e.Authority, fmt.Sprint(x.claim, "=", x.value), e.claim(t, token, x.claim, x.value))
	}
	t.Run("another deployment", func(t *testing.T) {
		other := start(t)
		foreign, _ := other.operator(t)
		e.refused(t, e.Authority, "its token", foreign)
	})
}

func TestAbuse_026_StrictClaims(t *testing.T) {
	e := start(t)
	token, _ := e.operator(t)
	header, payload := parts(t, token)
	e.cache.evict("")
	inner := strings.TrimSuffix(payload, "}")
	for name, p := range map[string]string{
		"duplicate sub": inner + `,"sub":"app_other"}`, "duplicate first": `{"sub":"app_other",` + payload[1:],
		"Sub": inner + `,"Sub":"app_other"}`, "long s": inner + `,"ſub":"app_other"}`, "NUL": inner + `,"sub\u0000":"x"}`,
		"escaped duplicate": inner + `,"s\u0075b":"x"}`, "trailing": payload + "{}", "array": "[" + payload + "]",
		"nested": inner + `,"act":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + "}", "empty": "", "null": "null",
		"not UTF-8": inner + ",\"sub\xff\":1}",
	} {
		e.refused(t, e.Authority, name, e.forge(t, header, p))
	}
	for name, h := range map[string]string{
		"duplicate alg": `{"alg":"none",` + header[1:], "trailing": header + " {}", "array": "[]",
	} {
		e.refused(t, e.Authority, "header "+name, e.forge(t, h, payload))
	}
	for name, token := range map[string]string{
		"1 MB": strings.Repeat("a", 1<<20) + ".a.a", "10^6 dots": strings.Repeat(".", 1_000_000), "padding": token + "=",
		"standard alphabet": strings.ReplaceAll(token, "-", "+"), "spaces": strings.ReplaceAll(token, ".", " . "),
	} {
		if name == "standard alphabet" && !strings.Contains(token, "+") {
			continue
		}
		const times = 20
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		took := cputime.Of(t, func() {
			for range times {
				if _, err := e.verdict(t.Context(), token); err == nil {
					t.Fatal("accepted")
				}
			}
		})
		runtime.ReadMemStats(&after)
		if allocated := after.TotalAlloc - before.TotalAlloc; took > times*5*time.Millisecond || allocated > times<<20 {
			t.Errorf("%s: %v, %d bytes for each", name, took/times, allocated/times)
		}
	}
	if _, err := e.AuthenticateToken(t.Context(), token, here); err != nil {
		t.Errorf("the real token: %v", err)
	}
}

func TestAbuse_021_KindIsInsideTheVerifiedPayload(t *testing.T) {
	e := start(t)
	operator, caller := e.operator(t)
	m, err := e.MintScoped(t.Context(), caller, "acme", "")
	if err != nil {
		t.Fatal(err)
	}
	scoped := text(m.Token)
	c, err := e.AuthenticateToken(t.Context(), scoped, here)
	if err != nil || c.Kind != claviger.CallerScoped || c.Scope.Workspace() != m.Workspace || c.InstanceAdmin ||
		c.Permissions != claviger.RoleEndUser.Permissions() || c.OwnerID() != string(m.Workspace) {
		t.Fatalf("%+v %v", c, err)
	}
	oh, op := parts(t, operator)
	sh, sp := parts(t, scoped)
	e.refused(t, e.Authority, "scoped payload under an operator header", e.forge(t, oh, sp))
	e.refused(t, e.Authority, "operator payload under a scoped header", e.forge(t, sh, op))
	swapped := strings.Replace(strings.Replace(op, typOperator, typScoped, 1), "/v1\"", "/api/v1/embedded\"", 1)
	e.refused(t, e.Authority, "a row of another kind", e.forge(t, sh, swapped))
	other, err := e.MintScoped(t.Context(), caller, "other", "")
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := claviger.UUID(claviger.PrefixWorkspace, string(other.Workspace))
	if err != nil {
		t.Fatal(err)
	}
	e.refused(t, e.Authority, "another workspace", e.claim(t, scoped, claimWorkspace, map[string]string{"workspaceId": theirs}))
	for name, token := range map[string]string{
		"client secret": text(e.first.ClientSecret), "client id": e.first.ClientID, "request id": here.ID,
		"key id": e.ledger.last(t).ResourceID, "state": strings.Repeat("s", 43),
	} {
		e.refused(t, e.Authority, name, token)
	}
}

func TestAbuse_044_KillSwitch(t *testing.T) {
	e := start(t)
	token, caller := e.operator(t)
	const many = 2000
	e.tx(t, func(tx *store.Tx) error {
		for range many {
			id, err := claviger.NewID(claviger.PrefixToken, e.clock.now(), rand.Reader)
			if err != nil {
				return err
			}
			if err := tx.CreateToken(t.Context(), e.scope, claviger.MintedToken{
				ID: claviger.TokenID(id), Organization: e.first.Organization, Kind: claviger.CallerOperator, Subject: "x",
				CreatedAt: e.clock.now(), ExpiresAt: e.clock.now().Add(time.Hour),
			}); err != nil {
				return err
			}
		}
		return nil
	})
	e.clock.pass(time.Second)
	var revoked int64
	e.tx(t, func(tx *store.Tx) (err error) {
		revoked, err = tx.RevokeTokens(t.Context(), e.scope, e.clock.now(), "")
		return err
	})
	if revoked != many+1 {
		t.Errorf("%d revoked", revoked)
	}
	if _, err := e.AuthenticateToken(t.Context(), token, here); err != nil {
		t.Logf("forgotten before the eviction: %v", err)
	}
	e.Evict("token", string(caller.Token))
	e.refused(t, e.Authority, "after the eviction", token)
}

func TestRevokedWithinFiveSecondsElsewhere(t *testing.T) {
	e := start(t)
	token, caller := e.operator(t)
	elsewhere := e.node(t, openStore(t, e.path, e.clock))
	if _, err := elsewhere.AuthenticateToken(t.Context(), token, here); err != nil {
		t.Fatal(err)
	}
	e.tx(t, func(tx *store.Tx) error { return tx.RevokeToken(t.Context(), e.scope, caller.Token) })
	e.clock.pass(5 * time.Second)
	e.refused(t, elsewhere, "on a node that heard nothing", token)
}
