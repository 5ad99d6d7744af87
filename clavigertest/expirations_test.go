package clavigertest_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/oauthserver"
)

// A client secret whose end is known is in the list, in the calendar and in the metric.
func TestTheCalendarOfClientSecrets(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		x := newRevoker(t, engine, oauthserver.Policy{Lifetime: 1000 * time.Hour})
		name := "Ünïcödé, " + strings.Repeat("世界; ", 20) + `\ end`
		conn := x.connect(name)
		in := api.PutOAuthClient{ClientID: x.vendor.Client.ID, ClientSecret: reveal(x.vendor.Client.Secret)}
		soon := x.clock.now().Add(10 * 24 * time.Hour).UTC().Truncate(time.Second)
		in.ClientSecretExpiresAt = &soon
		stored, err := x.api.PutOAuthClient(t.Context(), "acme", in)
		if err != nil || stored.ClientSecretExpiresAt == nil || !stored.ClientSecretExpiresAt.Equal(soon) || stored.CertificateExpiresAt != nil {
			t.Fatalf("%+v, %v", stored, err)
		}
		var found *api.Expiration
		for e, err := range x.api.Expirations(t.Context(), "", "acme") {
			if err != nil {
				t.Fatal(err)
			}
			if e.Kind == "clientSecret" {
				found = &e
			}
		}
		if found == nil || found.ConnectionID != conn.ID || !found.At.Equal(soon) || found.Certainty != "known" || found.Renews {
			t.Fatalf("%+v", found)
		}
		if metrics := string(x.Admin("/metrics").Body); !strings.Contains(metrics, "claviger_expiration_days 9.99") && !strings.Contains(metrics, "claviger_expiration_days 10") {
			t.Error("the metric does not count down to it")
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, x.URL+"/v1/expirations.ics", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("anybody", x.Key)
		_, feed := x.send(req)
		events := parseCalendar(t, feed)
		event := events[conn.ID+"-clientSecret@claviger"]
		if event["DTSTART"] != soon.Format("20060102T150405Z") || event["SUMMARY"] != strings.NewReplacer(`\`, `\\`, ",", `\,`, ";", `\;`).Replace(name)+` (acme): client secret ends` {
			t.Errorf("%q", event)
		}
		if !strings.Contains(event["DESCRIPTION"], "PUT /v1/connectors/acme/client") || strings.Contains(event["DESCRIPTION"], "Connect conn_") {
			t.Errorf("a secret is not renewed by consent: %q", event["DESCRIPTION"])
		}
		for query, want := range map[string]int{
			"?connector=acme": 1, "?connector=other": 0, "?workspaceId=" + conn.WorkspaceID: 1, "?connector=acme&workspaceId=ws_other": 0, "": 1,
			"?kind=idle": -422, "?connector=acme&connector=acme": -422, "?%zz": -400,
		} {
			again := req.Clone(t.Context())
			again.URL.RawQuery = strings.TrimPrefix(query, "?")
			res, feed := x.send(again)
			if want < 0 && res.StatusCode != -want || want >= 0 && (res.StatusCode != 200 || strings.Count(feed, "BEGIN:VEVENT") != want) {
				t.Errorf("%q answered %d %s, want %d", query, res.StatusCode, feed, want)
			}
		}
	})
}

// What the calendar says of a refresh token follows from what the vendor said, else from
// the connector's document; what dies of idleness is kept alive.
func TestTheCalendarOfRefreshTokens(t *testing.T) {
	const life, idle = 2160 * time.Hour, 720 * time.Hour
	type end struct {
		after     time.Duration
		certainty string
		renews    bool
	}
	for name, c := range map[string]struct {
		rules  string
		answer map[string]any
		want   map[string]end
	}{
		"rotates": {`{"rotates":true,"lifetime":"2160h","idleLimit":"720h"}`, nil, map[string]end{
			"accessToken": {time.Hour, "known", true}, "refreshToken": {life, "estimated", true}, "idle": {idle, "estimated", true},
		}},
		"stays":          {`{"rotates":false,"lifetime":"2160h"}`, nil, map[string]end{"accessToken": {time.Hour, "known", true}, "refreshToken": {life, "estimated", false}}},
		"the vendor's":   {`{"rotates":false,"lifetime":"2160h"}`, map[string]any{"refresh_token_expires_in": 7200}, map[string]end{"accessToken": {time.Hour, "known", true}, "refreshToken": {2 * time.Hour, "known", false}}},
		"nothing is due": {`{"rotates":false}`, nil, map[string]end{"accessToken": {time.Hour, "known", true}}},
	} {
		t.Run(name, func(t *testing.T) {
			clock := &clock{at: time.Now()}
			x := newConsent(t, clavigertest.Options{Now: clock.now}, oauthserver.Policy{Now: clock.now})
			document := strings.Replace(string(vendorDocument(x.vendor, "acme")), `"scopes":[`, `"refresh":`+c.rules+`,"scopes":[`, 1)
			if _, err := x.api.PutConnector(t.Context(), "acme", []byte(document)); err != nil {
				t.Fatal(err)
			}
			if c.answer != nil {
				x.vendor.Next(oauthserver.Fault{Change: c.answer})
			}
			conn := x.connect("mine")
			got := map[string]end{}
			for e, err := range x.api.Expirations(t.Context(), "", "acme") {
				if err != nil || e.ConnectionID != conn.ID {
					t.Fatalf("%+v, %v", e, err)
				}
				got[e.Kind] = end{e.At.Sub(clock.now()).Round(time.Minute), e.Certainty, e.Renews}
			}
			if !maps.Equal(got, c.want) {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

// parseCalendar reads a feed as RFC 5545 has it and answers its events by their UID.
func parseCalendar(t *testing.T, feed string) map[string]map[string]string {
	t.Helper()
	for line := range strings.SplitSeq(strings.TrimSuffix(feed, "\r\n"), "\r\n") {
		if len(line) > 75 || !utf8.ValidString(line) || strings.ContainsAny(line, "\r\n") || line == "" {
			t.Errorf("a line of %d bytes (section 3.1): %q", len(line), line)
		}
	}
	events, stack := map[string]map[string]string{}, []string{}
	var event map[string]string
	for line := range strings.SplitSeq(strings.TrimSuffix(strings.ReplaceAll(feed, "\r\n ", ""), "\r\n"), "\r\n") {
		name, value, ok := strings.Cut(line, ":")
		switch {
		case !ok:
			t.Fatalf("no name: %q", line)
		case name == "BEGIN":
			stack, event = append(stack, value), map[string]string{}
		case name == "END":
			if len(stack) == 0 || stack[len(stack)-1] != value {
				t.Fatalf("END:%s within %v", value, stack)
			}
			if stack = stack[:len(stack)-1]; value != "VEVENT" {
				continue
			}
			if events[event["UID"]] != nil {
				t.Errorf("the UID %q twice (section 3.8.4.7)", event["UID"])
			}
			for _, property := range []string{"DTSTAMP", "DTSTART"} {
				if _, err := time.Parse("20060102T150405Z", event[property]); err != nil {
					t.Errorf("%s (section 3.6.1): %v", property, err)
				}
			}
			events[event["UID"]] = event
		default:
			event[name] = value
		}
	}
	if len(stack) != 0 || len(events) == 0 || !strings.HasPrefix(feed, "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:") {
		t.Errorf("%d events, open: %v", len(events), stack)
	}
	return events
}
