package broker_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// openID is an OpenID provider whose keys change.
type openID struct {
	*httptest.Server
	mu    sync.Mutex
	keys  []jose.JSONWebKey // published
	down  bool
	asked map[string]int // by path
}

func newOpenID(t *testing.T) *openID {
	t.Helper()
	i := &openID{asked: map[string]int{}}
	i.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.asked[r.URL.Path]++
		switch {
		case i.down:
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.URL.Path == "/.well-known/openid-configuration":
			_ = json.NewEncoder(w).Encode(map[string]string{"issuer": i.URL, "jwks_uri": i.URL + "/keys"})
		case r.URL.Path == "/keys":
			_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: i.keys})
		default: // what only a token names
			t.Errorf("the verifier asked for %s", r.URL.Path)
		}
	}))
	t.Cleanup(i.Close)
	return i
}

func (i *openID) publish(kid string, key *rsa.PrivateKey) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: kid, Use: "sig", Algorithm: "RS256"}}
}

func TestAbuse_165_TokensByPublishedKeys(t *testing.T) {
	i := newOpenID(t)
	first, second := must(rsa.GenerateKey(rand.Reader, 2048))(t), must(rsa.GenerateKey(rand.Reader, 2048))(t)
	i.publish("k1", first)
	r := receivingRoom(t, fstest.MapFS{}, fmt.Sprintf(`{"method":"oidc","variables":{"openIdConfigUrl":%q,"clientId":"our-app"}}`, i.URL+"/.well-known/openid-configuration"))
	good := map[string]any{"iss": i.URL, "aud": "our-app", "exp": r.now().Add(time.Hour).Unix(), "sub": "vendor"}
	n := 0
	says := func(algorithm jose.SignatureAlgorithm, key any, header map[jose.HeaderKey]any, changes map[string]any) string {
		claims := maps.Clone(good)
		maps.Copy(claims, changes)
		options := &jose.SignerOptions{}
		for name, value := range header {
			options.WithHeader(name, value)
		}
		n++
		claims["jti"] = fmt.Sprint(n)
		signed := must(must(jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, options))(t).Sign(must(json.Marshal(claims))(t)))(t)
		return r.arrives(fmt.Sprintf(`{"n":%d}`, n), http.Header{"Authorization": {"Bearer " + must(signed.CompactSerialize())(t)}})
	}
	k1 := map[jose.HeaderKey]any{"kid": "k1"}
	if got := says(jose.RS256, first, k1, nil); got != "" {
		t.Fatalf("a delivery: %s", got)
	}
	const refused = "delivery_refused"
	elsewhere := func(name string) map[jose.HeaderKey]any {
		return map[jose.HeaderKey]any{"kid": "k1", jose.HeaderKey(name): i.URL + "/of-the-stranger"}
	}
	for what, got := range map[string]string{
		"another audience":         says(jose.RS256, first, k1, map[string]any{"aud": "their-app"}),
		"another issuer":           says(jose.RS256, first, k1, map[string]any{"iss": "https://login.example.com/other-tenant"}),
		"over":                     says(jose.RS256, first, k1, map[string]any{"exp": r.now().Add(-time.Hour).Unix()}),
		"without an end":           says(jose.RS256, first, k1, map[string]any{"exp": nil}),
		"a key of a stranger":      says(jose.RS256, second, k1, nil),
		"jku":                      says(jose.RS256, second, elsewhere("jku"), nil),
		"x5u":                      says(jose.RS256, second, elsewhere("x5u"), nil),
		"HS256 with a public text": says(jose.HS256, []byte(i.URL+i.URL), k1, nil),
		"another kid":              says(jose.RS256, second, map[jose.HeaderKey]any{"kid": "k2"}, nil),
	} {
		if got != refused {
			t.Errorf("%s: %q", what, got)
		}
	}
	_ = r.wait(t.Context(), 2*time.Minute)
	i.publish("k2", second)
	if got := says(jose.RS256, second, map[jose.HeaderKey]any{"kid": "k2"}, nil); got != "" {
		t.Errorf("with the vendor's next key: %q", got)
	}
	if got := says(jose.RS256, first, k1, nil); got != refused {
		t.Errorf("with the key that is no longer published: %q", got)
	}
	_ = r.wait(t.Context(), 25*time.Hour)
	i.down = true
	if got := says(jose.RS256, second, map[jose.HeaderKey]any{"kid": "k2"}, map[string]any{"exp": r.now().Add(time.Hour).Unix()}); got != "keys_unreachable" {
		t.Errorf("when the keys of yesterday cannot be had again: %q", got)
	}
	if i.asked["/keys"] > 6 {
		t.Errorf("the keys were asked for %d times", i.asked["/keys"])
	}
}
