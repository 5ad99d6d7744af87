package manifest

import (
	"bytes"
	"cmp"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"claviger"
	"claviger/internal/document"
)

// envName is the file that maps names to references, so that a checkout can be
// resolved without a server.
const envName = "env.template"

// maxEnvLines bounds env.template.
const maxEnvLines = 2000

// envTemplate is env.template as it was read: NAME=kv://path, one a line; # starts
// a comment.
type envTemplate struct {
	name    string
	data    []byte
	entries []EnvEntry
	faults  []Fault
}

// EnvEntry is one line of env.template.
type EnvEntry struct {
	Name, Reference string // Reference is kv://... or url://...
	Line, Column    int    // of the reference
}

// Env answers the entries of env.template, in the order of the file, and the faults of its
// other lines; none without the file.
func (b *Bundle) Env() ([]EnvEntry, []Fault) {
	if b.env == nil {
		return nil, nil
	}
	return slices.Clone(b.env.entries), slices.Clone(b.env.faults)
}

func parseEnv(part Part) *envTemplate {
	e := &envTemplate{name: part.Name, data: part.Data}
	fail := func(line, column int, code, hint, message string) {
		e.faults = append(e.faults, Fault{File: part.Name, Line: line, Column: column, Code: code, Message: message, Hint: hint, Severity: Error})
	}
	if len(part.Data) > document.MaxBytes || bytes.Count(part.Data, []byte("\n")) > maxEnvLines {
		fail(1, 1, CodeLimit, "", fmt.Sprintf("the file has more than %d KiB or %d lines", document.MaxBytes>>10, maxEnvLines))
		return e
	}
	seen := map[string]bool{}
	number := 0
	for line := range strings.SplitSeq(string(part.Data), "\n") {
		number++
		line = strings.TrimSuffix(line, "\r")
		if text := strings.TrimSpace(line); text == "" || text[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		column := len(name) + 2
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case !ok || !envWord(name):
			fail(number, 1, CodeSyntax, "capital letters, digits and _, then = and a reference", "the line is not NAME=kv://...")
		case seen[name]:
			fail(number, 1, CodeDuplicate, "keep one of them", fmt.Sprintf("the name %s is there twice", document.Quote(name)))
		case !strings.HasPrefix(value, claviger.SecretScheme) && !strings.HasPrefix(value, "url://"):
			fail(number, column, CodeLiteralSecret, "write NAME=kv://... and store the value in the secret store", "the value is not a reference")
		default:
			e.entries = append(e.entries, EnvEntry{Name: name, Reference: value, Line: number, Column: column})
		}
		seen[name] = true
	}
	return e
}

func envWord(s string) bool {
	for i, c := range []byte(s) {
		if !(c == '_' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || i > 0 && c >= '0' && c <= '9') {
			return false
		}
	}
	return s != "" && len(s) <= 200
}

// Reference is one kv:// reference of a system, and where it stands.
type Reference struct {
	Slot, Name string // of the slot and of its secret; Slot is empty for a setting of the system
	Path       string // without kv://
}

// References answers every well-formed reference of the system, in the order of the
// slots and the names of their secrets, then those of its settings.
func (b *Bundle) References() []Reference {
	var out []Reference
	for _, slot := range b.System.Slots() {
		if slot.Credential == nil {
			continue
		}
		for _, name := range sortedKeys(slot.Credential.Security) {
			if path, err := claviger.ParseSecretPath(slot.Credential.Security[name]); err == nil {
				out = append(out, Reference{Slot: slot.Key, Name: name, Path: path})
			}
		}
	}
	for _, s := range b.settings() {
		if path, err := claviger.ParseSecretPath(s.get("value").text()); err == nil {
			out = append(out, Reference{Name: s.get("name").text(), Path: path})
		}
	}
	return out
}

func (b *Bundle) settings() []place {
	if b.system.root == nil {
		return nil
	}
	return b.system.place().get("configuration").items()
}

// checkEnv checks that env.template names every reference and no other.
func (c *validator) checkEnv(b *Bundle) {
	if b.folder == "" {
		return // an upload has no env.template
	}
	missing := map[string]bool{}
	for _, r := range b.References() {
		missing[r.Path] = true
	}
	if b.env == nil {
		if len(missing) > 0 {
			c.warn(place{file: path.Join(b.folder, envName), line: 1, column: 1}, CodeEnv, "NAME=kv://... for each reference", c.repair(""), "env.template is missing, so that the references cannot be resolved on this machine")
		}
		return
	}
	c.faults = append(c.faults, b.env.faults...)
	for _, e := range b.env.entries {
		at := place{file: b.env.name, line: e.Line, column: e.Column}
		if !strings.HasPrefix(e.Reference, claviger.SecretScheme) {
			continue
		}
		if path := c.path(at, e.Reference); path != "" {
			if _, known := missing[path]; !known {
				c.fail(at, CodeEnv, "remove the line, or name the reference in a slot", c.repair(""), "%s is named by no slot", document.Quote(e.Reference))
			}
			missing[path] = false
		}
	}
	for _, path := range sortedKeys(missing) {
		if missing[path] {
			c.fail(place{file: b.env.name, line: 1, column: 1}, CodeEnv, envVariable(path)+"="+claviger.SecretScheme+path, c.repair(""), "%s%s is not there", claviger.SecretScheme, path)
		}
	}
}

// EnvTemplate answers the env.template that names every reference of the system once and
// no other. It is that of old with the lines that it lacks, in the order of the slots, and
// without those that nothing names.
func (b *Bundle) EnvTemplate(old *Bundle) []byte {
	refs := b.References()
	entries, _ := old.Env()
	return withLineEnds(old.env.text(), []byte(old.env.without(refs)+envLines(refs, entries)))
}

// text answers the file as it was read; nil without one.
func (e *envTemplate) text() []byte {
	if e == nil {
		return nil
	}
	return e.data
}

// without answers the text without the lines of references that are not among used.
func (e *envTemplate) without(used []Reference) string {
	if e == nil {
		return ""
	}
	gone := map[int]bool{}
	for _, entry := range e.entries {
		path, ok := strings.CutPrefix(entry.Reference, claviger.SecretScheme)
		gone[entry.Line] = ok && !slices.ContainsFunc(used, func(r Reference) bool { return r.Path == path })
	}
	var out strings.Builder
	for i, line := range lines(withNewline(e.data)) {
		if !gone[i+1] {
			out.WriteString(line)
		}
	}
	return out.String()
}

// envLines answers a line for each reference that the entries do not name. Two paths whose
// variables would be called alike get different ones.
func envLines(refs []Reference, entries []EnvEntry) string {
	named, taken := map[string]bool{}, map[string]bool{}
	for _, e := range entries {
		named[e.Reference], taken[e.Name] = true, true
	}
	var out strings.Builder
	for _, r := range refs {
		reference := claviger.SecretScheme + r.Path
		if named[reference] {
			continue
		}
		variable := envVariable(r.Path)
		for n := 2; taken[variable]; n++ {
			variable = envVariable(r.Path) + "_" + strconv.Itoa(n)
		}
		named[reference], taken[variable] = true, true
		out.WriteString(variable + "=" + reference + "\n")
	}
	return out.String()
}

// envVariable answers what the variable of a path is called.
func envVariable(path string) string {
	return "KV_" + strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		default:
			return '_'
		}
	}, path)
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
