package clavigertest_test

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/acme"
)

var parameter = regexp.MustCompile(`\{[a-zA-Z]+(\.\.\.)?\}`)

// everywhere answers requests to a route that carry a secret in every place that a caller
// can put one: path, query, headers, and a body of each kind.
func everywhere(method, path, secret string, number json.Number) []call {
	if method == "" {
		method = "POST"
	}
	plain := parameter.ReplaceAllString(path, "conn_01jd5z8k4xe3vbmt0q6y2r9whc")
	named := parameter.ReplaceAllString(path, url.PathEscape(secret))
	object := map[string]any{}
	for _, field := range []string{
		"name", "connector", "authMethod", "connectionId", "actionIdentifier", "workspaceId", "systemKey", "key", "id", "path", "slot", "usage", "email", "value", "url", "connection",
		"client_id", "client_secret", "workspace_name", "secret", "userId", "role", "organizationId", "version", "method", "arguments",
	} {
		object[field] = secret
	}
	numbers := map[string]any{"name": number, "connectionId": number, "credentials": map[string]any{"apiKey": number}, "limit": number}
	return []call{
		{Method: method, Path: named},
		{Method: method, Path: plain + "?search=" + url.QueryEscape(secret) + "&connector=" + url.QueryEscape(secret) + "&" + url.QueryEscape(secret) + "=1"},
		{Method: method, Path: plain, Header: http.Header{
			"X-Secret": {secret}, "User-Agent": {secret}, "Referer": {"https://x.example/?k=" + secret}, "Cookie": {"a=" + url.QueryEscape(secret)}, "Idempotency-Key": {secret}, "X-Forwarded-For": {secret},
			"Claviger-Request-Id": {secret}, "X-Request-Id": {secret}, "Origin": {"https://" + secret}, "Accept": {secret}, "Content-Type": {"application/json; charset=" + secret},
		}},
		{Method: method, Path: plain, Body: object},
		{Method: method, Path: plain, Body: numbers},
		{Method: method, Path: plain, Body: map[string]any{"credentials": map[string]string{"apiKey": secret}, "input": map[string]string{secret: secret}, "metadata": map[string]string{secret: secret}, "settings": map[string]string{secret: secret}}},
		{Method: method, Path: plain, Body: "--x\r\nContent-Disposition: form-data; name=\"a\"; filename=\"" + secret + "\"\r\n\r\n" + secret + "\r\n--x--", Header: http.Header{"Content-Type": {"multipart/form-data; boundary=x"}}},
		{Method: method, Path: plain, Body: "a=" + url.QueryEscape(secret), Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}},
		{Method: method, Path: plain, Body: secret, Header: http.Header{"Content-Type": {"application/octet-stream"}}},
		{Method: method, Path: plain, Body: map[string]any{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": map[string]any{"name": secret, "arguments": map[string]string{"secret": secret}}}, Header: http.Header{"Accept": {"application/json, text/event-stream"}}},
	}
}

// TestAbuse_177_TheLedgerHoldsDeclaredFieldsOnly puts a secret wherever a caller can put
// one, at every route, and looks for it in the ledger: its rows, its anchor and its
// answers, and in the log.
func TestAbuse_177_TheLedgerHoldsDeclaredFieldsOnly(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		w := clavigertest.NewTwins(t, clavigertest.Options{Engine: engine})
		const secret, number = `sk_Live-4eC39HqLyjWDarjtT1zdp7dc`, json.Number("481516234223420815")
		lost, _ := w.APIKey(t, w.A, api.CreateAPIKey{Name: "pasted in the wrong place"})
		var canaries clavigertest.Canaries
		canaries.Add("secret", secret)
		canaries.Add("number", number.String())
		canaries.Add("API key", lost)
		paths := map[string]bool{}
		asked := 0
		for _, r := range w.App.Routes() {
			if r.Method == "DELETE" && !strings.Contains(r.Path, "{") {
				continue
			}
			paths[r.Path] = true
			attacks := everywhere(r.Method, r.Path, secret, number)
			attacks = append(attacks, call{Method: attacks[0].Method, Path: parameter.ReplaceAllString(r.Path, lost)})
			for _, token := range []string{w.A.Owner, w.Viewer, ""} {
				for _, attack := range attacks {
					attack.Token = token
					if _, err := w.Send(attack); err == nil {
						asked++
					}
				}
			}
		}
		for _, attack := range everywhere("POST", proxy(w.A.Connections[0], "/x/{rest}"), secret, number) {
			attack.Token = w.A.Owner
			if a := w.Do(attack); a.Status == 200 {
				asked++
			}
		}
		for _, query := range []string{"", "outcome=denied&", "resourceId=" + secret + "&"} {
			a := w.Do(call{Token: w.A.Owner, Method: "GET", Path: "/v1/audit?" + query + "limit=100"})
			for _, hit := range canaries.Scan("the answer", a.Body) {
				t.Errorf("%+v", hit)
			}
		}
		w.Stop()
		db := database(t, w.Server)
		rows := contents(t, db, "ledger")
		found := map[string]int{}
		for _, row := range rows {
			for _, hit := range canaries.Scan("the ledger", []byte(row)) {
				if found[hit.Secret]++; found[hit.Secret] < 4 {
					t.Errorf("the ledger holds the %s (%s): %s", hit.Secret, hit.Encoding, hit.Around)
				}
			}
		}
		anchor, err := os.ReadFile(w.Settings.Data + "/ledger-anchor.jsonl")
		if err != nil {
			t.Fatal(err)
		}
		for sink, text := range map[string][]byte{"the anchor": anchor, "the log": []byte(w.Logs.String())} {
			for _, hit := range canaries.Scan(sink, text) {
				t.Errorf("%s holds the %s (%s): %s", sink, hit.Secret, hit.Encoding, hit.Around)
			}
		}
		if len(paths) < 50 || len(rows) < 500 || asked < 3000 {
			t.Errorf("%d paths, %d requests, %d entries", len(paths), asked, len(rows))
		}
		t.Logf("%d requests to %d paths left %d entries: %v", asked, len(paths), len(rows), slices.Sorted(maps.Keys(found)))
	})
}

// TestAbuse_222_NobodyMovesTheLedgerByTheAPI offers every route another place for the
// ledger, and a way to switch it off, and looks where its entries and checkpoints went.
func TestAbuse_222_NobodyMovesTheLedgerByTheAPI(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		w := clavigertest.NewTwins(t, clavigertest.Options{Engine: engine, EgressAllow: "127.0.0.1"})
		trap := acme.Start(t)
		file, address := filepath.Join(t.TempDir(), "elsewhere.jsonl"), "http://"+trap.Addr()+"/sink"
		settings := map[string]any{
			"ledgerAnchor": file, "ledger.anchor": file, "CLAVIGER_LEDGER_ANCHOR": file, "anchor": file, "ledger": map[string]string{"anchor": file, "mode": "off"}, "ledgerMode": "off",
			"auditSink": address, "auditSinks": []string{address}, "sink": map[string]string{"type": "webhook", "url": address}, "sinks": []string{address}, "audit": map[string]any{"enabled": false, "sink": address},
			"logDestination": address, "export": address, "retention": "0s", "enabled": false,
		}
		attacks := []call{{Method: "DELETE", Path: "/v1/audit"}, {Method: "DELETE", Path: "/v1/audit/{id}"}}
		for _, path := range []string{"/v1/audit", "/v1/audit/sinks", "/v1/audit/anchor", "/v1/audit/export", "/v1/settings", "/v1/config", "/v1/ledger", "/v1/instance", "/v1/policy", "/metrics", "/debug/pprof"} {
			for _, method := range []string{"POST", "PUT", "PATCH"} {
				attacks = append(attacks, call{Method: method, Path: path, Body: settings})
			}
		}
		for _, r := range w.App.Routes() {
			if strings.Contains(r.Path, "sink") || strings.Contains(r.Path, "anchor") || strings.HasPrefix(r.Path, "/v1/audit") && r.Method != "GET" {
				t.Errorf("there is a route for it: %s %s", r.Method, r.Path)
			}
			if r.Method != "GET" && r.Method != "DELETE" {
				attacks = append(attacks, call{Method: cmp.Or(r.Method, "POST"), Path: r.Path, Body: settings})
			}
			attacks = append(attacks, call{Method: "GET", Path: r.Path + "?ledgerAnchor=" + url.QueryEscape(file) + "&sink=" + url.QueryEscape(address)})
		}
		for _, attack := range attacks {
			attack.Path = parameter.ReplaceAllString(attack.Path, w.A.Connections[0])
			for _, token := range []string{w.Key, w.A.Owner} { // the instance's administrator, and a tenant's
				attack.Token = token
				a, err := w.Send(attack)
				if err == nil && a.Status/100 == 2 && attack.Method != "GET" && strings.Contains(string(a.Body), file) {
					t.Errorf("%s %s took it: %s", attack.Method, attack.Path, a.Body)
				}
			}
		}
		before, err := os.ReadFile(filepath.Join(w.Settings.Data, "ledger-anchor.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		if a := w.Do(call{Token: w.A.Owner, Method: "GET", Path: proxy(w.A.Connections[0], "/x")}); a.Status != 200 {
			t.Errorf("%d %s", a.Status, a.Body)
		}
		if len(w.Audit(t, w.A.Owner, "verb=connections:proxy")) == 0 {
			t.Error("the ledger was switched off")
		}
		w.Stop() // with a last checkpoint
		after, err := os.ReadFile(filepath.Join(w.Settings.Data, "ledger-anchor.jsonl"))
		if err != nil || len(after) <= len(before) {
			t.Errorf("the anchor did not grow: %d to %d, %v", len(before), len(after), err)
		}
		if _, err := os.Stat(file); !os.IsNotExist(err) {
			t.Errorf("the other file: %v", err)
		}
		if n := len(trap.Received()); n != 0 || slices.Contains(w.Dials.All(), trap.Addr()) {
			t.Errorf("the other sink got %d requests", n)
		}
		if r := verify(t, w.Settings); !r.Intact() {
			t.Errorf("%+v", r.Findings)
		}
	})
}
