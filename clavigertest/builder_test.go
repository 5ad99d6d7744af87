package clavigertest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"claviger/api"
	"claviger/clavigertest"
	"claviger/clavigertest/acme"
)

// bearer sends a token with every request.
type bearer string

// RoundTrip implements http.RoundTripper.
func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

// assistant is a session of the official client.
type assistant struct {
	*mcp.ClientSession
	t *testing.T
}

// connectMCP opens a session of the builder with the official client.
func connectMCP(t *testing.T, s *clavigertest.Server, token string) *assistant {
	t.Helper()
	client := mcp.NewClient(&mcp.Implementation{Name: "builder-test", Version: "1"}, nil)
	session, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: s.URL + "/mcp/builder", HTTPClient: &http.Client{Transport: bearer(token)}}, nil)
	if err != nil {
		t.Fatalf("connecting: %v", err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return &assistant{session, t}
}

// try calls a tool and answers what it said, and whether that was an error.
func (a *assistant) try(tool string, arguments any) (text string, failed bool) {
	a.t.Helper()
	result, err := a.CallTool(a.t.Context(), &mcp.CallToolParams{Name: tool, Arguments: arguments})
	if err != nil {
		a.t.Fatalf("%s: %v", tool, err)
	}
	for _, part := range result.Content {
		if c, ok := part.(*mcp.TextContent); ok {
			text += c.Text
		}
	}
	return text, result.IsError
}

// call calls a tool that is to succeed, and reads its answer.
func (a *assistant) call(tool string, arguments, out any) {
	a.t.Helper()
	text, failed := a.try(tool, arguments)
	if failed {
		a.t.Fatalf("%s: %s", tool, text)
	}
	if err := json.Unmarshal([]byte(text), out); err != nil {
		a.t.Fatalf("%s: %v in %s", tool, err, text)
	}
}

// refused calls a tool that is to fail with a code, and answers the text.
func (a *assistant) refused(code, tool string, arguments any) string {
	a.t.Helper()
	text, failed := a.try(tool, arguments)
	if !failed || !strings.HasPrefix(text, code+": ") {
		a.t.Errorf("%s: %q, want the code %s", tool, text, code)
	}
	return text
}

type args map[string]any

// section is the answer of read_section and patch_section.
type section struct {
	Text, Version, AssignSecretsAt string
	StoredVersion                  int
	Draft, Valid                   bool
	Faults                         []api.SystemFault
}

func (a *assistant) read(key, name string) (out section) {
	a.t.Helper()
	a.call("read_section", args{"systemKey": key, "section": name}, &out)
	return out
}

func (a *assistant) patch(key, name, version string, patch any) (out section) {
	a.t.Helper()
	a.call("patch_section", patchOf(key, name, version, patch), &out)
	return out
}

func patchOf(key, name, version string, patch any) args {
	return args{"systemKey": key, "section": name, "version": version, "patch": patch, "intent": "because the test says so"}
}

// uploaded is the answer of upload.
type uploaded struct {
	Uploaded, NeedsConfirmation, Created bool
	Version                              int
	Changes                              []api.SystemChange
	Dropped                              []string
	Intents                              []struct{ Section, Intent string }
	AssignSecretsAt                      string
	Slots                                []struct {
		Slot    string
		Secrets []struct {
			Reference string
			HasValue  bool
		}
	}
}

func (a *assistant) upload(key string, confirm bool) (out uploaded) {
	a.t.Helper()
	a.call("upload", args{"systemKey": key, "confirmSecurityChanges": confirm}, &out)
	return out
}

func TestAnAssistantBuildsASystem(t *testing.T) {
	clavigertest.Engines(t, func(t *testing.T, engine clavigertest.Engine) {
		s, vendor, c := crmServer(t, engine)
		setSecrets(t, c, "example-crm/apiKey", crmAPIKey)
		a := connectMCP(t, s, s.Key)
		page := s.URL + "/console/systems/example-crm?tab=authentication"

		name := a.read("example-crm", "system.displayName")
		if name.Text != `"Example CRM"` || name.StoredVersion != 1 || name.Draft || name.Version == "" {
			t.Errorf("read: %+v", name)
		}
		if next := a.patch("example-crm", "system.displayName", name.Version, "A better CRM"); next.Text != `"A better CRM"` || !next.Draft || !next.Valid || next.Version == name.Version {
			t.Errorf("patched: %+v", next)
		}
		source := a.read("example-crm", "dataSources.people")
		if source.Text != "null" {
			t.Errorf("an absent data source: %+v", source)
		}
		after := a.patch("example-crm", "dataSources.people", source.Version, args{
			"key": "people", "displayName": "People", "systemKey": "example-crm", "entityType": "recordStorage", "resourceType": "person",
			"primaryKey": []string{"id"}, "externalId": "nobody",
			"fieldMappings": args{"attributes": args{"id": args{"expression": "{{raw.id}}", "type": "string", "indexed": true}}},
		})
		if after.Valid || len(after.Faults) == 0 || after.Faults[0].File != "dataSources.people" {
			t.Errorf("a data source whose id is nowhere: %+v", after)
		}
		a.patch("example-crm", "dataSources.people", after.Version, []args{{"op": "replace", "path": "/externalId", "value": "id"}})
		var checked struct{ Valid bool }
		if a.call("validate", args{"systemKey": "example-crm"}, &checked); !checked.Valid {
			t.Error("the mended draft is not valid")
		}
		stored, err := c.System(t.Context(), "example-crm", 0)
		if err != nil || stored.Version != 1 || stored.DisplayName != "Example CRM" || len(stored.DataSources) != 0 {
			t.Errorf("a draft changed what is stored: %+v %v", stored, err)
		}
		listed := a.upload("example-crm", false)
		if listed.Uploaded || !listed.NeedsConfirmation || listed.Version != 1 || len(listed.Changes) != 2 || !listed.Changes[0].Security {
			t.Errorf("without confirmation: %+v", listed)
		}
		done := a.upload("example-crm", true)
		if !done.Uploaded || done.Version != 2 || len(done.Intents) != 3 || done.AssignSecretsAt != page || len(done.Slots) != 3 || !done.Slots[0].Secrets[0].HasValue || done.Slots[1].Secrets[0].HasValue {
			t.Errorf("uploaded: %+v", done)
		}
		if stored, err = c.System(t.Context(), "example-crm", 0); err != nil || stored.Version != 2 || stored.DisplayName != "A better CRM" || len(stored.DataSources) != 1 {
			t.Errorf("stored: %+v %v", stored, err)
		}
		if len(vendor.Received()) != 0 {
			t.Error("building asked the vendor")
		}
	})
}

func TestAnAssistantBeginsASystem(t *testing.T) {
	s := clavigertest.Start(t, clavigertest.Options{})
	a := connectMCP(t, s, s.Key)
	a.refused("not_found", "read_section", args{"systemKey": "tickets", "section": "system"})
	var begun section
	a.call("read_section", args{"systemKey": "tickets", "section": "system", "create": true}, &begun)
	next := a.patch("tickets", "system", begun.Version, args{"displayName": "Tickets", "description": "Tickets.", "type": "custom"})
	if next.Valid {
		t.Error("a system without credentials is valid")
	}
	var mended struct {
		Valid bool
		Diff  string
	}
	credentials := a.read("tickets", "system.authentications")
	a.patch("tickets", "system.authentications", credentials.Version, []args{{"op": "add", "path": "", "value": []args{{
		"key": "default", "usage": "api", "authType": "credential",
		"credential": args{"method": "apikey", "variables": args{"baseUrl": "https://tickets.example"}, "security": args{"apiKey": "kv://tickets/apiKey"}},
	}}}})
	if a.call("repair", args{"systemKey": "tickets", "auth": "bearerToken", "slots": true}, &mended); !mended.Valid || !strings.Contains(mended.Diff, "+") || !strings.Contains(mended.Diff, "kv://tickets/") {
		t.Errorf("repaired: %+v", mended)
	}
	done := a.upload("tickets", false)
	if !done.Uploaded || !done.Created || done.Version != 1 || len(done.Slots) != 3 {
		t.Errorf("uploaded: %+v", done)
	}
	again := a.upload("tickets", false)
	if !again.Uploaded || again.Version != 1 || len(again.Changes) != 0 {
		t.Errorf("the same again: %+v", again)
	}
}

func TestPatchesFollowWhatWasRead(t *testing.T) {
	s, vendor, c := crmServer(t, clavigertest.SQLite)
	a := connectMCP(t, s, s.Key)
	whole, part := a.read("example-crm", "system"), a.read("example-crm", "system.description")
	a.patch("example-crm", "system.description", part.Version, "Another text.")
	a.refused("stale_version", "patch_section", patchOf("example-crm", "system", whole.Version, args{"version": "1.0.0"}))
	a.refused("blind_patch", "patch_section", patchOf("example-crm", "system.description", part.Version, "Again."))
	a.refused("blind_patch", "patch_section", patchOf("example-crm", "system.tags", part.Version, []string{"x"}))
	other := connectMCP(t, s, s.Key)
	mine := other.read("example-crm", "system.description")
	if mine.Text != `"A CRM."` {
		t.Errorf("another session sees the draft: %+v", mine)
	}
	a.refused("blind_patch", "patch_section", patchOf("example-crm", "system.description", mine.Version, "Of another session."))
	whole = a.read("example-crm", "system")
	for _, bad := range []any{
		args{"key": "other"},
		nil,
		[]args{{"op": "add", "path": "/../dataSources/x", "value": 1}},
		[]args{{"op": "replace", "path": "/none/where", "value": 1}},
		[]args{{"op": "test", "path": "/displayName", "value": "wrong"}},
		[]args{{"op": "copy", "from": "../system/key", "path": "/tags"}},
	} {
		if text, failed := a.try("patch_section", patchOf("example-crm", "system", whole.Version, bad)); !failed {
			t.Errorf("patch %v: %s", bad, text)
		}
	}
	a.refused("unknown_section", "read_section", args{"systemKey": "example-crm", "section": "system.authentications.0"})
	a.refused("unknown_section", "patch_section", patchOf("example-crm", "dataSources", "v", nil))
	a.refused("invalid_key", "read_section", args{"systemKey": "../x", "section": "system"})
	// Another upload ends the draft.
	up := api.SystemUpload{System: json.RawMessage(strings.Replace(string(crm("http://"+vendor.Addr()+acme.Base)), "A CRM.", "By another.", 1))}
	if _, err := c.PutSystem(t.Context(), "example-crm", up); err != nil {
		t.Fatal(err)
	}
	a.refused("version_conflict", "upload", args{"systemKey": "example-crm", "confirmSecurityChanges": true})
	if now := a.read("example-crm", "system.description"); now.Text != `"By another."` || now.Draft || now.StoredVersion != 2 {
		t.Errorf("after the conflict: %+v", now)
	}
}

// TestTheDocumentedClient connects as the page says.
func TestTheDocumentedClient(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "mcp-builder.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```json\n")
	text, _, _ := strings.Cut(rest, "```")
	var config struct {
		MCPServers map[string]struct {
			Type, URL string
			Headers   map[string]string
		}
	}
	if err := json.Unmarshal([]byte(text), &config); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	server := config.MCPServers["claviger"]
	s := clavigertest.Start(t, clavigertest.Options{})
	key, err := s.Client(s.Key).CreateAPIKey(t.Context(), api.CreateAPIKey{Name: "builder", Scopes: []string{"systems:read", "systems:write"}})
	if err != nil {
		t.Fatal(err)
	}
	answer := s.Do(call{
		Token:  strings.TrimPrefix(strings.ReplaceAll(server.Headers["Authorization"], "${CLAVIGER_KEY}", key.Key), "Bearer "),
		Method: http.MethodPost, Path: strings.TrimPrefix(server.URL, "http://127.0.0.1:8787"), Body: initialize,
	})
	if server.Type != "http" || answer.Status != 200 || answer.Header.Get("Mcp-Session-Id") == "" {
		t.Errorf("%+v: %d %s", server, answer.Status, answer.Body)
	}
	var begun section
	connectMCP(t, s, key.Key).call("read_section", args{"systemKey": "tickets", "section": "system", "create": true}, &begun)
}

// Of patches that were made from the same reading, one applies.
func TestToolsTakeTurns(t *testing.T) {
	s, _, _ := crmServer(t, clavigertest.SQLite)
	a := connectMCP(t, s, s.Key)
	part := a.read("example-crm", "system.description")
	texts := make(chan string)
	for i := range 12 {
		go func() {
			result, err := a.CallTool(t.Context(), &mcp.CallToolParams{Name: "patch_section", Arguments: patchOf("example-crm", "system.description", part.Version, fmt.Sprintf("Text %d.", i))})
			switch {
			case err != nil:
				texts <- err.Error()
			case result.IsError:
				texts <- "refused"
			default:
				texts <- fmt.Sprintf("%q", fmt.Sprintf("Text %d.", i))
			}
		}()
	}
	got := map[string]int{}
	for range 12 {
		got[<-texts]++
	}
	now := a.read("example-crm", "system.description")
	if got["refused"] != 11 || got[now.Text] != 1 {
		t.Errorf("%v, and now it is %s", got, now.Text)
	}
}
