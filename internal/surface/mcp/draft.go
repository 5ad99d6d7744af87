package mcp

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"

	"claviger"
	"claviger/internal/broker"
)

// The bounds of drafts.
const (
	maxDrafts   = 8       // of a session
	maxDraft    = 1 << 20 // bytes; what an upload may have
	maxHeld     = 2 << 20 // bytes of a session's drafts together
	maxReadings = 256
	maxOps      = 200 // of a JSON Patch
	maxIntents  = 50
)

// draft is a system's documents on their way to an upload. Its text is one object,
//
//	{"system": {...}, "dataSources": {"<key>": {...}}}
//
// and a section is a place in it: "system", "system.<member>", "dataSources",
// "dataSources.<key>" or "dataSources.<key>.<member>".
type draft struct {
	key     string
	base    int // the stored version that it began from; 0: there was none
	text    json.RawMessage
	dirty   bool // it differs from what is stored, or may
	seen    map[string]reading
	intents []intent
}

// reading is what a session last read of a section.
type reading struct {
	version string
	sum     [sha256.Size]byte
}

// intent is why a section was patched, in the words of whoever did.
type intent struct {
	Section string `json:"section"`
	Intent  string `json:"intent"`
}

// content is a draft's text in parts.
type content struct {
	System      map[string]json.RawMessage            `json:"system"`
	DataSources map[string]map[string]json.RawMessage `json:"dataSources"`
}

var (
	keyForm     = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	sectionForm = regexp.MustCompile(`^(system(\.\$?[A-Za-z]+)?|dataSources(\.[a-z0-9-]+(\.\$?[A-Za-z]+)?)?)$`)
)

const maxKey = 40

// newDraft begins from stored documents.
func newDraft(key string, version int, docs broker.SystemDocuments) (*draft, error) {
	d := &draft{key: key, base: version, seen: map[string]reading{}}
	return d, d.take(docs)
}

// take replaces the text by documents.
func (d *draft) take(docs broker.SystemDocuments) error {
	sources := map[string]json.RawMessage{}
	for _, doc := range docs.DataSources {
		var named struct{ Key string }
		if err := json.Unmarshal(doc, &named); err != nil {
			return err
		}
		sources[named.Key] = doc
	}
	text, err := json.Marshal(map[string]any{"system": docs.System, "dataSources": sources})
	d.text = text
	return err
}

// documents answers the draft as an upload brings it, and the keys of the data sources
// in its order.
func (d *draft) documents() (broker.SystemDocuments, []string, error) {
	var parts struct {
		System      json.RawMessage            `json:"system"`
		DataSources map[string]json.RawMessage `json:"dataSources"`
	}
	if err := json.Unmarshal(d.text, &parts); err != nil {
		return broker.SystemDocuments{}, nil, err
	}
	keys := slices.Sorted(maps.Keys(parts.DataSources))
	out := broker.SystemDocuments{System: lines(parts.System)} // lines, so that faults have places and repairs a readable diff
	for _, key := range keys {
		out.DataSources = append(out.DataSources, lines(parts.DataSources[key]))
	}
	return out, keys, nil
}

// lines lays JSON out for people.
func lines(text []byte) []byte {
	var out bytes.Buffer
	if json.Indent(&out, text, "", "  ") != nil {
		return text
	}
	return out.Bytes()
}

// section answers the text of a section, "null" if it is absent. Of all data sources it
// answers the keys.
func (d *draft) section(section string) (json.RawMessage, error) {
	at := d.text
	for _, name := range strings.Split(section, ".") {
		var members map[string]json.RawMessage
		if err := json.Unmarshal(at, &members); err != nil {
			return nil, err
		}
		at = members[name]
		if at == nil {
			return json.RawMessage("null"), nil
		}
	}
	if section != "dataSources" {
		return at, nil
	}
	var sources map[string]json.RawMessage
	if err := json.Unmarshal(at, &sources); err != nil {
		return nil, err
	}
	return json.Marshal(slices.AppendSeq([]string{}, maps.Keys(sources)))
}

// read answers a section and the version that a patch of it must show.
func (d *draft) read(section string) (text json.RawMessage, version string, err error) {
	if text, err = d.section(section); err != nil {
		return nil, "", err
	}
	if len(d.seen) >= maxReadings {
		clear(d.seen)
	}
	r := reading{version: rand.Text(), sum: sha256.Sum256(text)}
	d.seen[section] = r
	return text, r.version, nil
}

// credentials are the members that say whose credentials go where.
var credentials = []string{"authentication", "authentications"}

// guarded reports whether a section is part of the authentication of a system.
func guarded(section string) bool {
	member, ok := strings.CutPrefix(section, "system.")
	return ok && slices.Contains(credentials, member)
}

// checkVersion refuses a patch of what was not read in this session, or was changed
// since.
func (d *draft) checkVersion(section, version string) error {
	r, ok := d.seen[section]
	if !ok || r.version != version {
		return claviger.Invalid("version", "blind_patch", "Read the section %s first, with read_section in this session, and patch it with the version of that answer.", section)
	}
	now, err := d.section(section)
	if err != nil {
		return err
	}
	if sha256.Sum256(now) != r.sum {
		return claviger.Errorf(claviger.KindConflict, "stale_version", "The section %s was changed after it was read. Read it again, and patch what is there now.", section)
	}
	return nil
}

// patched answers a copy of the draft with a patch of one section applied: an array is a
// JSON Patch (RFC 6902) whose paths begin in the section, anything else a merge patch
// (RFC 7396) of it.
func (d *draft) patched(section string, patch json.RawMessage) (*draft, error) {
	apply := d.merge
	if patch[0] == '[' {
		apply = d.operate
	}
	text, err := apply(strings.Split(section, "."), patch)
	if err != nil {
		return nil, err
	}
	next := *d
	next.text, next.dirty = text, true
	return &next, next.checkShape(d, section)
}

func (d *draft) merge(section []string, patch json.RawMessage) (json.RawMessage, error) {
	for _, name := range slices.Backward(section) {
		nested, err := json.Marshal(map[string]json.RawMessage{name: patch})
		if err != nil {
			return nil, err
		}
		patch = nested
	}
	out, err := jsonpatch.MergePatch(d.text, patch)
	if err != nil {
		return nil, unfit(err)
	}
	return out, nil
}

func unfit(cause error) error {
	return claviger.Invalid("patch", "patch_failed", "The patch does not fit the section: an operation is malformed, its path does not exist, or its test failed.").With(cause)
}

// operate moves the operations into the section, so that none reaches out of it.
func (d *draft) operate(section []string, patch json.RawMessage) (json.RawMessage, error) {
	var ops []map[string]any
	if err := json.Unmarshal(patch, &ops); err != nil || len(ops) > maxOps {
		return nil, claviger.Invalid("patch", "patch_failed", "A JSON Patch is a list of at most %d operations, each an object.", maxOps).With(err)
	}
	prefix := "/" + strings.Join(section, "/")
	for _, op := range ops {
		for _, name := range []string{"path", "from"} {
			pointer, there := op[name].(string)
			if _, any := op[name]; any && !there || there && pointer != "" && pointer[0] != '/' {
				return nil, unfit(nil)
			}
			if there {
				op[name] = prefix + pointer
			}
		}
	}
	moved, err := json.Marshal(ops)
	if err != nil {
		return nil, err
	}
	decoded, err := jsonpatch.DecodePatch(moved)
	if err != nil {
		return nil, unfit(err)
	}
	out, err := decoded.ApplyWithOptions(d.text, &jsonpatch.ApplyOptions{AccumulatedCopySizeLimit: maxDraft})
	if err != nil {
		return nil, unfit(err)
	}
	return out, nil
}

// checkShape refuses what a patch of a section must not do: grow beyond the bound, turn
// a document into something else or rename it, or reach the credentials by another way
// than their own section.
func (d *draft) checkShape(before *draft, section string) error {
	if len(d.text) > maxDraft {
		return claviger.Errorf(claviger.KindTooLarge, "too_large", "A system's documents have at most %d bytes together.", maxDraft)
	}
	var now, was content
	if err := json.Unmarshal(before.text, &was); err != nil {
		return err
	}
	if err := json.Unmarshal(d.text, &now); err != nil || now.System == nil || emptied(now.DataSources) {
		return claviger.Invalid("patch", "patch_failed", "A document must stay an object.").With(err)
	}
	if text(now.System["key"]) != d.key {
		return claviger.Invalid("patch", "key_mismatch", "The key of a system cannot be changed. Begin another system under the new key.")
	}
	for key, source := range now.DataSources {
		if text(source["key"]) != key {
			return claviger.Invalid("patch", "key_mismatch", "A data source's document must have the key that its section is named by.")
		}
	}
	for _, member := range credentials {
		if section == "system" && !same(was.System[member], now.System[member]) {
			return claviger.Invalid("patch", "blind_patch", "Credentials are patched in their own section. Read system.%s, and patch that.", member)
		}
	}
	return nil
}

func text(value json.RawMessage) string {
	var out string
	_ = json.Unmarshal(value, &out) // "" for what is no text
	return out
}

// same compares values by their meaning.
func same(a, b json.RawMessage) bool {
	var x, y any
	_, _ = json.Unmarshal(a, &x), json.Unmarshal(b, &y) // nil for absent ones
	return reflect.DeepEqual(x, y)
}

func emptied(sources map[string]map[string]json.RawMessage) bool {
	for _, source := range sources {
		if source == nil {
			return true
		}
	}
	return false
}
