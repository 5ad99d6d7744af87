package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"pgregory.net/rapid"

	"claviger"
	"claviger/internal/broker"
)

func sample(t testing.TB) *draft {
	t.Helper()
	d, err := newDraft("crm", 3, broker.SystemDocuments{
		System:      json.RawMessage(`{"key":"crm","displayName":"CRM","type":"custom","tags":["a","b"],"authentications":[{"key":"default","usage":"api"}]}`),
		DataSources: []json.RawMessage{json.RawMessage(`{"key":"people","displayName":"People","sync":{"enabled":true}}`)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestPatchesBySection(t *testing.T) {
	for name, c := range map[string]struct{ section, patch, want, code string }{
		"a value":                      {"system.displayName", `"New"`, `"New"`, ""},
		"a member of a document":       {"system", `{"displayName":"New","tags":null}`, `{"authentications":[{"key":"default","usage":"api"}],"displayName":"New","key":"crm","type":"custom"}`, ""},
		"a new member":                 {"system.description", `"Text"`, `"Text"`, ""},
		"a member goes":                {"system.tags", `null`, `null`, ""},
		"an item of a list":            {"system.tags", `[{"op":"add","path":"/-","value":"c"}]`, `["a","b","c"]`, ""},
		"a whole list":                 {"system.tags", `[{"op":"replace","path":"","value":["z"]}]`, `["z"]`, ""},
		"a move within":                {"system.tags", `[{"op":"move","from":"/0","path":"/1"}]`, `["b","a"]`, ""},
		"a data source's member":       {"dataSources.people.sync", `{"enabled":false}`, `{"enabled":false}`, ""},
		"a data source goes":           {"dataSources.people", `null`, `null`, ""},
		"a data source comes":          {"dataSources.deals", `{"key":"deals"}`, `{"key":"deals"}`, ""},
		"the system goes":              {"system", `null`, "", "patch_failed"},
		"a document becomes a text":    {"dataSources.people", `"x"`, "", "patch_failed"},
		"another key":                  {"system.key", `"other"`, "", "key_mismatch"},
		"no key":                       {"system", `{"key":null}`, "", "key_mismatch"},
		"another data source's key":    {"dataSources.people.key", `"deals"`, "", "key_mismatch"},
		"a data source without key":    {"dataSources.deals", `{}`, "", "key_mismatch"},
		"credentials by the back door": {"system", `[{"op":"remove","path":"/authentications/0"}]`, "", "blind_patch"},
		"the older credentials, too":   {"system", `{"authentication":{"method":"none"}}`, "", "blind_patch"},
		"a path that is not there":     {"system", `[{"op":"replace","path":"/none/x","value":1}]`, "", "patch_failed"},
		"a path without a slash":       {"system.tags", `[{"op":"add","path":"x","value":1}]`, "", "patch_failed"},
		"a path that is a number":      {"system.tags", `[{"op":"add","path":1,"value":1}]`, "", "patch_failed"},
		"no path":                      {"system.tags", `[{"op":"remove"}]`, "", "patch_failed"},
		"a failed test":                {"system", `[{"op":"test","path":"/key","value":"x"},{"op":"remove","path":"/tags"}]`, "", "patch_failed"},
		"an index below zero":          {"system.tags", `[{"op":"remove","path":"/-1"}]`, "", "patch_failed"},
		"an operation that is none":    {"system.tags", `[{"op":"spell","path":"/0"}]`, "", "patch_failed"},
		"operations that are none":     {"system.tags", `[1]`, "", "patch_failed"},
		"very many operations":         {"system.tags", "[" + strings.Repeat(`{"op":"test","path":"/0","value":"a"},`, 200) + `{"op":"test","path":"/0","value":"a"}]`, "", "patch_failed"},
		"copies of copies":             {"system.tags", "[" + strings.Repeat(`{"op":"copy","from":"","path":"/0"},`, 40) + `{"op":"remove","path":"/0"}]`, "", "patch_failed"},
	} {
		t.Run(name, func(t *testing.T) {
			d := sample(t)
			before := string(d.text)
			next, err := d.patched(c.section, json.RawMessage(c.patch))
			if c.code != "" {
				if e := claviger.AsError(err); err == nil || e.Code != c.code {
					t.Errorf("%v, want %s", err, c.code)
				}
			} else if err != nil {
				t.Error(err)
			} else if got, err := next.section(c.section); err != nil || !same(got, json.RawMessage(c.want)) {
				t.Errorf("%s, want %s (%v)", got, c.want, err)
			}
			if string(d.text) != before || d.dirty {
				t.Error("the patch changed the draft itself")
			}
		})
	}
}

// Whatever is patched, nothing outside its section changes.
func TestNoPatchLeavesItsSection(t *testing.T) {
	sections := []string{"system.displayName", "system.tags", "system.authentications", "dataSources.people.sync", "dataSources.people", "dataSources.deals"}
	pointers := rapid.SampledFrom([]string{"", "/", "/0", "/-", "/sync", "/enabled", "/..", "/../key", "/~1system", "/~0", "//", "/system/key", "/dataSources/people", "0", "../key", "/tags/0"})
	rapid.Check(t, func(rt *rapid.T) {
		section := rapid.SampledFrom(sections).Draw(rt, "section")
		var ops []map[string]any
		for range rapid.IntRange(1, 4).Draw(rt, "operations") {
			ops = append(ops, map[string]any{
				"op":   rapid.SampledFrom([]string{"add", "remove", "replace", "move", "copy"}).Draw(rt, "op"),
				"path": pointers.Draw(rt, "path"), "from": pointers.Draw(rt, "from"), "value": rapid.SampledFrom([]any{"x", 1, nil, []any{}, map[string]any{"key": "people"}}).Draw(rt, "value"),
			})
		}
		patch, err := json.Marshal(ops)
		if err != nil {
			rt.Fatal(err)
		}
		d := sample(t)
		next, err := d.patched(section, patch)
		if err != nil {
			return
		}
		was, err := d.patched(section, json.RawMessage("null"))
		if err != nil {
			rt.Fatal(err)
		}
		now, err := next.patched(section, json.RawMessage("null"))
		if err != nil {
			rt.Fatal(err)
		}
		if !same(was.text, now.text) {
			rt.Fatalf("%s of %s changed what is outside:\n%s\n%s", patch, section, was.text, now.text)
		}
	})
}

// What is accepted is one message, and a reader that ignores case reads the same of it.
func FuzzReadMessage(f *testing.F) {
	for _, seed := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"help","arguments":{"topic":"section"}}}`,
		`{"jsonrpc":"2.0","method":"notifications/initialized"}`, `{"jsonrpc":"2.0","id":"a","result":{}}`,
		`{"jsonrpc":"2.0","id":1,"method":"a","METHOD":"b"}`, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","ſame":1}}`, `[]`, ``, ` {"jsonrpc":"2.0"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := readMessage(body)
		if err != nil {
			if claviger.AsError(err).Kind != claviger.KindUnreadable {
				t.Fatalf("%v", err)
			}
			return
		}
		var loose struct {
			JSONRPC string
			ID      json.RawMessage
			Method  string
			Params  struct{ Name json.RawMessage }
		}
		if err := json.Unmarshal(body, &loose); err != nil || loose.JSONRPC != "2.0" || loose.Method != m.Method || !bytes.Equal(loose.ID, m.id) {
			t.Fatalf("read in two ways: %q, %+v, %+v, %v", body, m, loose, err)
		}
	})
}

func TestAbuse_315_WhatMayBeShown(t *testing.T) {
	of := func(text string) *sdk.CallToolResult {
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: text}}}
	}
	for name, c := range map[string]struct{ text, code string }{
		"a manifest":             {`{"security": {"apiKey": "kv://crm/apiKey"}}`, ""},
		"a vendor's key":         {"the key is sk_" + "live_51HqLyjWDarjtT1zdp7dcXYZ", "withheld"},
		"a key of ours":          {"clv_" + "key_0123456789abcdefghij", "withheld"},
		"a private key":          {"-----BEGIN " + "PRIVATE KEY-----", "withheld"},
		"an answer without end":  {strings.Repeat("x", maxResult), "too_large"},
		"the largest that it is": {strings.Repeat("x", maxResult/2), ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := showable(of(c.text))
			if c.code == "" && err != nil || c.code != "" && (err == nil || claviger.AsError(err).Code != c.code) {
				t.Errorf("%v, want %q", err, c.code)
			}
			if err != nil && strings.Contains(err.Error(), c.text) {
				t.Error("the refusal shows it")
			}
		})
	}
}

// A tool that panics ends its own call, and says nothing of why.
func TestAPanicEndsTheCallAlone(t *testing.T) {
	const inside = "something that was in memory"
	result, err := run(t.Context(), func(context.Context, string, sdk.Request) (sdk.Result, error) { panic(inside) }, "tools/call", nil)
	if result != nil || err == nil || strings.Contains(err.Error(), inside) {
		t.Errorf("%v %v", result, err)
	}
}

// A session holds a bounded number of drafts, of a bounded size; what nobody changed makes
// room.
func TestASessionHoldsSoMuch(t *testing.T) {
	x := &session{drafts: map[string]*draft{}}
	of := func(key string, size int, dirty bool) *draft {
		return &draft{key: key, text: bytes.Repeat([]byte(" "), size), dirty: dirty}
	}
	for i := range maxDrafts {
		if err := x.keep(of(string(rune('a'+i)), 10, i > 0)); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.keep(of("new", 10, true)); err != nil || x.drafts["a"] != nil || len(x.drafts) != maxDrafts {
		t.Errorf("%v, %d drafts", err, len(x.drafts))
	}
	if err := x.keep(of("more", 10, true)); err == nil || claviger.AsError(err).Code != "too_many_drafts" || x.drafts["more"] != nil {
		t.Errorf("one too many: %v", err)
	}
	if err := x.keep(of("new", maxHeld-80, true)); err != nil {
		t.Errorf("as much as it holds: %v", err)
	}
	if err := x.keep(of("new", maxHeld, true)); err == nil || len(x.drafts["new"].text) != maxHeld-80 {
		t.Errorf("more than it holds: %v", err)
	}
}

// A patch that somebody else wrote is applied or refused, and nothing worse.
func FuzzPatched(f *testing.F) {
	for _, seed := range []string{
		`{"displayName":null}`, `null`, `"x"`, `[{"op":"add","path":"/-","value":1}]`, `[{"op":"move","from":"","path":"/0"}]`, `[{"op":"add","path":"/0"}]`,
		`[{"op":null,"path":null}]`, `[null]`, `[{"op":"copy","from":"/0","path":"/0"},{"op":"test","path":"/0","value":null}]`, `[{"op":"remove","path":"/00"}]`, `{"a":{"b":null}}`,
	} {
		f.Add("system.tags", []byte(seed))
		f.Add("system", []byte(seed))
		f.Add("dataSources.people", []byte(seed))
	}
	f.Fuzz(func(t *testing.T, section string, patch []byte) {
		var value any
		if !sectionForm.MatchString(section) || section == "dataSources" || json.Unmarshal(patch, &value) != nil {
			return
		}
		patch, err := json.Marshal(value) // as patch_section does
		if err != nil {
			return
		}
		d := sample(t)
		before := bytes.Clone(d.text)
		next, err := d.patched(section, patch)
		if !bytes.Equal(d.text, before) {
			t.Fatalf("%s of %s changed the draft itself", patch, section)
		}
		if err != nil {
			if k := claviger.AsError(err).Kind; k != claviger.KindInvalid && k != claviger.KindTooLarge {
				t.Fatalf("%s of %s: %v", patch, section, err)
			}
			return
		}
		if _, _, err := next.documents(); err != nil {
			t.Fatalf("%s of %s leaves no documents: %v", patch, section, err)
		}
	})
}
