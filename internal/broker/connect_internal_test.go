package broker

import (
	"net/url"
	"strings"
	"testing"
)

// FuzzReturnAddress: what is accepted is where a browser goes, whatever is added to it.
func FuzzReturnAddress(f *testing.F) {
	for _, seed := range []string{
		"https://app.example/done", "https://app.example/done?a=b&c", "http://127.0.0.1:1/x", "http://[::1]/", "https://a@b/", "https://app.example/%2e%2e/x",
		"https://app.example\\@evil.example/", "//app.example", "javascript:alert(1)", "https://app.example/?finishCode=x", "https://app.example:/x",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := returnAddress("returnUrl", raw)
		if err != nil {
			return
		}
		if u.Scheme != "https" && !loopbackName(u.Hostname()) || u.User != nil || u.Fragment != "" || strings.ContainsAny(raw, "\\@ \r\n\t<>\"") && strings.Contains(u.Host, "@") {
			t.Fatalf("accepted %q", raw)
		}
		to := returnTo(raw, url.Values{"sessionId": {"cs_1"}, "finishCode": {"a&b=c"}})
		back, err := url.Parse(to)
		if err != nil || back.Scheme != u.Scheme || back.Host != u.Host || back.EscapedPath() != u.EscapedPath() || back.Fragment != "" {
			t.Fatalf("%q became %q", raw, to)
		}
		q, err := url.ParseQuery(back.RawQuery)
		if err != nil || len(q["finishCode"]) != 1 || q.Get("finishCode") != "a&b=c" || !strings.HasPrefix(back.RawQuery, u.RawQuery) {
			t.Fatalf("%q became %q", raw, to)
		}
		again, err := returnAddress("returnUrl", u.String())
		if err != nil || again.String() != raw {
			t.Fatalf("%q does not stay as it is", raw)
		}
	})
}

// A code is read as people type it, and no two codes become one.
func TestTypedCodes(t *testing.T) {
	for given, want := range map[string]string{
		"K5VW-G4AM": "K5VWG4AM", "k5vw g4am": "K5VWG4AM", " K5VW\u2013G4AM\n": "K5VWG4AM", "ooll-1i01": "00111101", "": "", "\u212a5VW": "5VW", "ſ5": "5",
	} {
		if got := typed(given); got != want {
			t.Errorf("%q became %q, want %q", given, got, want)
		}
	}
	for _, c := range "0123456789ABCDEFGHJKMNPQRSTVWXYZ" {
		if got := typed(string(c)); got != string(c) {
			t.Errorf("%c became %q", c, got)
		}
	}
}
