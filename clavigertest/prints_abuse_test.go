package clavigertest_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"claviger/clavigertest"
	"claviger/clavigertest/acme"
	"claviger/clavigertest/postgres"
	"claviger/internal/app"
)

// prints answers what plain hashes make of a guess, in the forms that a database keeps.
func prints(guess []byte) (out []string) {
	one, two, five := sha1.Sum(guess), sha256.Sum256(guess), sha512.Sum512(guess)
	empty := hmac.New(sha256.New, nil)
	empty.Write(guess)
	for _, sum := range [][]byte{one[:], two[:], five[:], empty.Sum(nil)} {
		out = append(out, string(sum), hex.EncodeToString(sum), base64.StdEncoding.EncodeToString(sum), base64.RawURLEncoding.EncodeToString(sum))
	}
	return out
}

// framed is a request as one who knows the source would hash it.
func framed(parts []string, body string) []byte {
	var out []byte
	for _, part := range parts {
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(part))), part...)
	}
	return append(out, body...)
}

// TestAbuse_200_ShortSecretsCannotBeGuessedFromTheDatabase leaves short secrets wherever
// people choose one, and guesses them with a copy of the database: the right guess must
// look like any wrong one.
func TestAbuse_200_ShortSecretsCannotBeGuessedFromTheDatabase(t *testing.T) {
	program := clavigertest.Build(t, "")
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		const password, client = "tr0ub4dor&3", "correct horse battery staple again"
		v := acme.Start(t, password)
		data := filepath.Join(t.TempDir(), "data")
		url := "sqlite:" + filepath.Join(data, "claviger.db")
		if engine == clavigertest.PostgreSQL {
			url = postgres.URL(t)
		}
		child := program.Serve(t, []string{
			"CLAVIGER_DATA=" + data, "CLAVIGER_DATABASE_URL=" + url, "CLAVIGER_EGRESS_ALLOW=" + v.Addr(),
			"CLAVIGER_BOOTSTRAP_CLIENT_ID=chosen", "CLAVIGER_BOOTSTRAP_CLIENT_SECRET=" + client,
		})
		if child == nil {
			t.Fatal("the server did not start")
		}
		s := child.As(t)
		id := s.Connect(t, v, "acme", "basic", map[string]string{"username": "ada", "password": password})
		if a := s.Do(call{Token: child.Key, Method: "GET", Path: proxy(id, "/x")}); a.Status != 200 {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		body := fmt.Sprintf(`{"connector":"acme","authMethod":"basic","name":"named","credentials":{"username":"ada","password":%q}}`, password)
		named := func(body string) *clavigertest.Answer {
			return s.Do(call{Token: child.Key, Method: "POST", Path: "/v1/connections", Body: body, Header: http.Header{"Idempotency-Key": {"a-name"}}})
		}
		if first, again := named(body), named(body); first.Status != 201 || again.Header.Get("Idempotent-Replayed") != "true" {
			t.Fatalf("%d %s, then %d", first.Status, first.Body, again.Status)
		}
		if other := named(strings.Replace(body, password, "another", 1)); other.Status != 409 {
			t.Errorf("another body under the same name: %d %s", other.Status, other.Body)
		}
		if a := s.Do(call{Token: child.Key, Method: "PUT", Path: "/v1/secrets/shared/short", Body: map[string]string{"value": password}}); a.Status != 200 && a.Status != 201 {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		if s.Mint(t, "chosen", client) == "" {
			t.Error("the chosen secret mints nothing")
		}
		child.Kill()
		of := &clavigertest.Server{Settings: app.Settings{Data: data, DatabaseURL: url}}
		db := database(t, of)
		var all strings.Builder
		for _, table := range tables(t, of, db) {
			all.WriteString(strings.Join(contents(t, db, table), "\n"))
		}
		text := all.String()
		for name, guess := range map[string][]byte{
			"the password": []byte(password), "the client secret": []byte(client), "with its user": []byte("ada:" + password), "the body": []byte(body),
			"the request": framed([]string{"POST", "/v1/connections", ""}, body), "the request, labelled": framed([]string{"request", "POST", "/v1/connections", ""}, body),
			"the client secret, labelled": []byte("client secret\x00" + client),
		} {
			for _, print := range prints(guess) {
				if strings.Contains(text, print) {
					t.Errorf("who guesses %s finds it in the database, as %q", name, print)
				}
			}
		}
		if control := sha256.Sum256([]byte(child.Key)); !strings.Contains(text, string(control[:])) {
			t.Error("not even what is kept as a plain hash was found, so that the test says nothing")
		}
	})
}
