package clavigertest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/acme"
	"claviger/client"
)

// companies is the entity of a vendor: records that are listed, made, changed and gone.
type companies struct {
	mu      sync.Mutex
	records map[string]map[string]any
	refuse  string // "METHOD" that is answered with 500
	made    int
	updates func()      // called before an update is answered
	deleted chan string // takes the ids of records that went, if there is one
}

func (s *companies) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Method == s.refuse {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	id, one := strings.CutPrefix(strings.TrimPrefix(r.URL.Path, acme.Base), "/companies/")
	var in struct{ Properties map[string]any }
	if r.Method == http.MethodPost || r.Method == http.MethodPatch {
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
	}
	switch {
	case !one && r.Method == http.MethodGet:
		answerJSON(w, http.StatusOK, map[string]any{"results": slices.Collect(maps.Values(s.records))})
	case !one:
		s.made++
		id = fmt.Sprintf("co_%d", s.made)
		s.records[id] = map[string]any{"ref": map[string]any{"id": id}}
		maps.Copy(s.records[id], in.Properties)
		answerJSON(w, http.StatusCreated, map[string]any{"data": s.records[id]})
	case s.records[id] == nil:
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodPatch:
		if s.updates != nil {
			s.updates()
		}
		maps.Copy(s.records[id], in.Properties)
		answerJSON(w, http.StatusOK, s.records[id])
	case r.Method == http.MethodDelete:
		delete(s.records, id)
		if s.deleted != nil {
			s.deleted <- id
		}
		w.WriteHeader(http.StatusNoContent)
	default:
		answerJSON(w, http.StatusOK, s.records[id])
	}
}

func answerJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// companiesSource is their data source with the given operations and test payload.
func companiesSource(payload string, operations ...string) json.RawMessage {
	calls := map[string]string{
		"list": `{"method":"GET","path":"/companies","items":"$.results"}`, "get": `{"method":"GET","path":"/companies/{companyId}"}`,
		"create": `{"method":"POST","path":"/companies","record":"$.data","body":{"properties":"{record}"}}`,
		"update": `{"method":"PATCH","path":"/companies/{companyId}","body":{"properties":"{record}"}}`, "delete": `{"method":"DELETE","path":"/companies/{companyId}"}`,
	}
	var allowed []string
	for _, op := range operations {
		allowed = append(allowed, fmt.Sprintf("%q:%s", op, calls[op]))
	}
	return json.RawMessage(`{"key":"companies","displayName":"Companies","systemKey":"example-crm","entityType":"recordStorage","resourceType":"company",
		"primaryKey":["externalId"],"fieldMappings":{"attributes":{"externalId":{"expression":"{{raw.ref.id}}","type":"string","indexed":true}}},
		"testPayload":` + payload + `,"capabilities":{` + strings.Join(allowed, ",") + `}}`)
}

var allOperations = []string{"list", "get", "create", "update", "delete"}

// crmWithCompanies is crm with that data source, all secrets set, in front of the entity.
func crmWithCompanies(t *testing.T, engine clavigertest.Engine, source json.RawMessage) (*clavigertest.Server, *companies, *client.Client) {
	t.Helper()
	s, vendor, c := crmServer(t, engine)
	setSecrets(t, c, "example-crm/apiKey", crmAPIKey, "example-crm/syncApiKey", crmSyncKey, "example-crm/webhookSecret", crmHookKey)
	entity := &companies{records: map[string]map[string]any{"co_old": {"ref": map[string]any{"id": "co_old"}, "name": "Old", "city": "Turku"}}}
	vendor.Behave(func(w http.ResponseWriter, r *http.Request) {
		if key := r.Header.Get("X-Api-Key"); key != crmAPIKey && (key != crmSyncKey || r.URL.Path != acme.Base+"/me") {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.URL.Path == acme.Base+"/me" {
			answerJSON(w, http.StatusOK, map[string]string{"id": "1"})
			return
		}
		entity.ServeHTTP(w, r)
	})
	up := api.SystemUpload{System: crm("http://" + vendor.Addr() + acme.Base), DataSources: []json.RawMessage{source}}
	if _, err := c.PutSystem(t.Context(), "example-crm", up); err != nil {
		t.Fatal(err)
	}
	return s, entity, c
}

// outcome is a report in one line.
func outcome(r api.EndToEndReport) string {
	words := []string{r.Status + ":"}
	for _, s := range r.Steps {
		word := s.Operation + " " + s.Status
		if s.Code != "" {
			word += " " + s.Code
		}
		if s.StatusCode != 0 {
			word += fmt.Sprint(" ", s.StatusCode)
		}
		words = append(words, word+";")
	}
	return strings.Join(words, " ")
}

func TestEndToEnd(t *testing.T) {
	const payload = `{"payloadTemplate":{"name":"Test"}}`
	for name, x := range map[string]struct {
		source json.RawMessage
		refuse string
		want   string
		left   int
	}{
		"everything": {
			source: companiesSource(payload, allOperations...),
			want:   "passed: list passed 200; create passed 201; get passed 200; update passed 200; delete passed 204;",
		},
		"an update that fails leaves nothing behind": {
			source: companiesSource(payload, allOperations...), refuse: "PATCH",
			want: "failed: list passed 200; create passed 201; get passed 200; update failed vendor_error 500; delete passed 204;",
		},
		"a delete that fails is told": {
			source: companiesSource(payload, allOperations...), refuse: "DELETE", left: 1,
			want: "failed: list passed 200; create passed 201; get passed 200; update passed 200; delete failed vendor_error 500; clean up failed vendor_error 500;",
		},
		"what cannot be removed is not made": {
			source: companiesSource(payload, "list", "get", "create", "update"),
			want:   "passed: list passed 200; create skipped cannot_clean_up; get passed 200; update skipped no_record;",
		},
		"nothing to make it from": {
			source: companiesSource(`{}`, allOperations...),
			want:   "passed: list passed 200; create skipped no_test_payload; get passed 200; update skipped no_test_payload; delete skipped no_record;",
		},
		"the record that is set aside": {
			source: companiesSource(`{"primaryKey":"co_old","payloadTemplate":{"name":"Test","city":null}}`, "get", "update"),
			want:   "passed: get passed 200; get passed 200; update passed 200; restore passed 200;",
		},
		"only a copy of it may be changed": {
			source: companiesSource(`{"primaryKey":"co_old","useCopyForMutations":true,"payloadTemplate":{"name":"Test"}}`, "get", "update"),
			want:   "passed: get passed 200; update skipped no_record;",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, entity, c := crmWithCompanies(t, clavigertest.SQLite, x.source)
			entity.refuse = x.refuse
			report, err := c.TestEndToEnd(t.Context(), "example-crm", "companies")
			if err != nil || outcome(report) != x.want || len(report.LeftBehind) != x.left {
				t.Errorf("%v\n got %s\nwant %s\nleft behind: %v", err, outcome(report), x.want, report.LeftBehind)
			}
			if len(entity.records) != 1+x.left || entity.records["co_old"]["name"] != "Old" || entity.records["co_old"]["city"] != "Turku" {
				t.Errorf("the vendor has %v", entity.records)
			}
			if x.left > 0 && report.LeftBehind[0].Key["externalId"] != "co_1" {
				t.Errorf("left behind: %v", report.LeftBehind)
			}
		})
	}
}

func TestEndToEndIsRecorded(t *testing.T) {
	_, _, c := crmWithCompanies(t, clavigertest.SQLite, companiesSource(`{"payloadTemplate":{"name":"Test"}}`, allOperations...))
	if _, err := c.TestEndToEnd(t.Context(), "example-crm", "nosuch"); !client.HasCode(err, "not_found") {
		t.Errorf("a data source that is not there: %v", err)
	}
	if _, err := c.TestEndToEnd(t.Context(), "example-crm", "companies"); err != nil {
		t.Fatal(err)
	}
	var recorded []string
	for e, err := range c.Audit(t.Context(), client.AuditQuery{Verb: "actions:run", Outcome: "allowed"}) {
		if err != nil {
			t.Fatal(err)
		}
		recorded = append(recorded, e.Action)
	}
	slices.Sort(recorded)
	want := []string{"example-crm.companies-create", "example-crm.companies-delete", "example-crm.companies-get", "example-crm.companies-list", "example-crm.companies-update"}
	if !slices.Equal(recorded, want) {
		t.Errorf("recorded: %v", recorded)
	}
}

// Who asked goes away in the middle of the update: the record goes nevertheless.
func TestEndToEndCleansUpAfterItsCaller(t *testing.T) {
	_, entity, c := crmWithCompanies(t, clavigertest.SQLite, companiesSource(`{"payloadTemplate":{"name":"Test"}}`, allOperations...))
	ctx, cancel := context.WithCancel(t.Context())
	entity.updates, entity.deleted = cancel, make(chan string, 1)
	if report, err := c.TestEndToEnd(ctx, "example-crm", "companies"); err == nil {
		t.Errorf("a caller that is gone was answered: %s", outcome(report))
	}
	select {
	case id := <-entity.deleted:
		if id != "co_1" {
			t.Errorf("deleted: %s", id)
		}
	case <-time.After(longest):
		t.Error("the record stays")
	}
}
