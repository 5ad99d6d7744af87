package clavigertest_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/client"
)

// fromSlot is githubSlot for deliveries from some addresses alone.
func fromSlot(system, addresses string) string {
	return hookSlot(system, "webhook", "apikey", fmt.Sprintf(`{"headerName":"X-Hub-Signature-256","scheme":"github","allowedIps":[%s]}`, addresses), "apiKey", "hook")
}

// forwarded delivers what is signed well, with what a client or a proxy may say of where
// it comes from.
func (h *hooked) forwarded(system, body string, says map[string]string) int {
	h.t.Helper()
	header := signedHeader(hookSecret, body, body)
	for name, value := range says {
		header.Set(name, value)
	}
	return h.Do(clavigertest.Call{Method: http.MethodPost, Path: h.address(system), Body: body, Header: header}).Status
}

func TestAbuse_166_OnlyTheRealPeerCounts(t *testing.T) {
	program := clavigertest.Build(t, "")
	start := func(t *testing.T, proxies string) *hooked {
		env := []string{"CLAVIGER_DATA=" + filepath.Join(t.TempDir(), "data")}
		if proxies != "" {
			env = append(env, "CLAVIGER_TRUSTED_PROXIES="+proxies)
		}
		child := program.Serve(t, env)
		h := onChild(t, child, child.Key)
		for key, from := range map[string]string{
			"vendor": `"192.0.2.7","2001:db8::/32"`, "local": `"127.0.0.0/8"`, "mapped": `"::ffff:127.0.0.1"`,
		} {
			h.upload(key, fromSlot(key, from))
			setSecrets(t, h.Client, key+"/hook", hookSecret)
		}
		return h
	}
	spoofs := []map[string]string{
		nil,
		{"X-Forwarded-For": "192.0.2.7"},
		{"X-Forwarded-For": "192.0.2.7, 192.0.2.7"},
		{"Forwarded": "for=192.0.2.7"},
		{"X-Real-Ip": "192.0.2.7"},
		{"Cf-Connecting-Ip": "192.0.2.7"},
		{"True-Client-Ip": "192.0.2.7"},
		{"X-Client-Ip": "192.0.2.7"},
		{"X-Forwarded-For": "2001:db8::1"},
	}
	t.Run("without a proxy", func(t *testing.T) {
		h := start(t, "")
		for i, says := range spoofs {
			if got := h.forwarded("vendor", fmt.Sprint(i), says); got != http.StatusUnauthorized {
				t.Errorf("from elsewhere, with %v: %d", says, got)
			}
			if got := h.forwarded("local", fmt.Sprint(i), says); got != http.StatusAccepted {
				t.Errorf("from there, with %v: %d", says, got)
			}
		}
		if got := h.forwarded("mapped", "m", nil); got != http.StatusAccepted {
			t.Errorf("an IPv4 address in IPv6 clothes: %d", got)
		}
		h.recorded("addresses that are not allowed", len(spoofs), func(e api.Entry) bool { return e.Code == "address_not_allowed" && e.Slot == "webhook" })
		if stored := h.events(client.InboundQuery{SystemKey: "vendor"}); len(stored) != 0 {
			t.Errorf("stored: %+v", stored)
		}
	})
	t.Run("behind the operator's proxy", func(t *testing.T) {
		h := start(t, "127.0.0.1/32")
		for said, want := range map[string]int{
			"192.0.2.7":                     http.StatusAccepted,
			"203.0.113.9, 192.0.2.7":        http.StatusAccepted, // what the client claimed, and what the proxy saw
			"2001:db8:1::5":                 http.StatusAccepted,
			"192.0.2.7, 203.0.113.9":        http.StatusUnauthorized,
			"203.0.113.9":                   http.StatusUnauthorized,
			"192.0.2.7, nonsense":           http.StatusUnauthorized,
			"":                              http.StatusUnauthorized,
			"192.0.2.7, 127.0.0.1":          http.StatusAccepted, // two proxies of the operator's
			"192.0.2.7, 127.0.0.2":          http.StatusUnauthorized,
			strings.Repeat("192.0.2.8,", 9): http.StatusUnauthorized,
		} {
			if got := h.forwarded("vendor", "p"+said, map[string]string{"X-Forwarded-For": said}); got != want {
				t.Errorf("X-Forwarded-For %q: %d, want %d", said, got, want)
			}
		}
		if got := h.forwarded("vendor", "other header", map[string]string{"X-Real-Ip": "192.0.2.7", "Forwarded": "for=192.0.2.7"}); got != http.StatusUnauthorized {
			t.Errorf("another header: %d", got)
		}
	})
}

func TestAllowedAddressesAreCheckedAtTheUpload(t *testing.T) {
	s := clavigertest.Start(t, clavigertest.Options{})
	for _, wrong := range []string{`"github.com"`, `"192.0.2.0/33"`, `"fe80::1%eth0"`, `"192.0.2.1-9"`, `"*.*"`, ``, `""`, `7`} {
		_, err := s.Client(s.Key).PutSystem(t.Context(), "forge", api.SystemUpload{System: hookSystem("forge", fromSlot("forge", wrong))})
		if err == nil || !strings.Contains(err.Error(), "variables.allowedIps") {
			t.Errorf("allowedIps [%s]: %v", wrong, err)
		}
	}
}
