package claviger_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const (
	module   = "claviger"
	internal = module + "/internal/"
)

// room is a package, or the packages below a path, and which others of the project
// its product code may import. Imports within a room are its own business. The
// reason is what a failure prints.
type room struct {
	path   string
	may    []string
	reason string
}

// anything lets a room import all others.
const anything = "*"

// rooms is the dependency table of ARCHITECTURE.md. A package in no room fails the
// test: choose its room first.
func rooms() []room {
	in := func(names ...string) []string {
		paths := []string{module}
		for _, n := range names {
			paths = append(paths, internal+n)
		}
		return paths
	}
	leaf := "a leaf knows the vocabulary only, so that a table, a fuzzer or a temporary file can test it alone"
	surface := append(in("wire", "authn", "broker"), module+"/api")
	thin := "a surface is thin: what it needs of the core is an operation of the broker"
	core := in("catalog", "certify", "inject", "hookverify", "egress", "store", "manifest", "keeper", "oauth", "gate", "events", "jobs", "vault", "adapter", "snapshot", "failpoint")
	return []room{
		{module, nil, "everyone shares the vocabulary, so it depends on nobody"},
		{module + "/connectors", nil, "connector definitions are data"},
		{module + "/api", in(), "wire shapes are shared by server and client, so they know neither"},
		{module + "/client", append(in(), module+"/api"), "a client of the public API knows what the public knows"},
		{internal + "seal", in(), leaf},
		{internal + "inject", in(), leaf},
		{internal + "document", nil, leaf},
		{internal + "hookverify", in(), leaf},
		{internal + "certify", in(), leaf},
		{internal + "catalog", in("document"), leaf},
		{internal + "egress", in(), leaf},
		{internal + "wire", in(), leaf},
		{internal + "store", in("failpoint"), leaf},
		{internal + "manifest", in("document"), leaf},
		{internal + "failpoint", nil, "marks where tests try a crash; in a release they are nothing"},
		{internal + "keeper", in("egress"), "keys are asked for, not kept"},
		{internal + "oauth", in("egress"), "a protocol answers values; who keeps them is not its business"},
		{internal + "rehearse", in("catalog", "inject", "egress", "oauth"), "a rehearsal sends what the product would send, to vendors that it makes itself; it keeps nothing"},
		{internal + "gate", in("store", "failpoint"), "decision and record stand in one place, under everything that reveals"},
		{internal + "events", in("store", "egress", "jobs"), "mechanism only: a delivery is a row, a job and a request"},
		{internal + "jobs", in("store"), "mechanism only"},
		{internal + "authn", in("store"), "mechanism only: it says who asks, not what they may"},
		{internal + "vault", in("seal", "certify", "store", "oauth", "gate", "keeper", "failpoint"), "the only place with live plaintext, and the only importer of seal, knows no caller above it"},
		{internal + "adapter", in("egress"), "a kind of system is fields, a test and a way to open it"},
		{internal + "broker", core, "the core may hold a request to send, never an answer to write, and makes no callers"},
		{internal + "snapshot", in("store", "gate", "vault", "catalog"), "a snapshot reads and writes what the core keeps"},
		{internal + "syncer", in("broker", "store", "jobs"), "a sync is a client of the core"},
		{internal + "surface/native", surface, thin},
		{internal + "surface/embedded", surface, thin},
		{internal + "surface/hooks", surface, thin},
		{internal + "surface/connect", append(slices.Clone(surface), internal+"surface/pagekit"), thin},
		{internal + "surface/console", append(slices.Clone(surface), internal+"surface/pagekit"), thin},
		{internal + "surface/pagekit", in(), "page kit: templates, assets and defences shared by browser surfaces; it looks nothing up"},
		{internal + "surface/mcp", append(in("document"), surface...), "a surface is thin; the drafts that it keeps are documents, whose forms of credentials package document knows"},
		{internal + "surface/docs", in("catalog"), "pages that everybody may read need no caller and no core"},
		{internal + "app", []string{anything}, "the composition root"},
		{module + "/cmd/claviger", append(in("app", "catalog", "certify", "gate", "hookverify", "manifest", "rehearse"), module+"/api", module+"/client", module+"/connectors"), "the command line is a client, starts the program, checks and rehearses documents, and prints what the ledger's verification found"},
		{module + "/clavigertest", []string{anything}, "a test tool"},
		{module + "/bench", []string{anything}, "a measuring tool"},
	}
}

// testTools are the rooms that no product code may import.
var testTools = []string{module + "/clavigertest", module + "/bench"}

func roomOf(path string) (room, bool) {
	best, found := room{}, false
	for _, r := range rooms() {
		if within(path, r.path) && (!found || len(r.path) > len(best.path)) && (r.path != module || path == module) {
			best, found = r, true
		}
	}
	return best, found
}

// within reports whether the package path is the given one or below it.
func within(path, parent string) bool {
	return path == parent || strings.HasPrefix(path, parent+"/")
}

func withinAny(path string, parents []string) bool {
	return slices.ContainsFunc(parents, func(p string) bool { return within(path, p) })
}

// source is one package of the project: what the Go tool says of it, and its product
// files, parsed and type-checked.
type source struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
	Export     string // file of the compiled package, for the type checker
	Standard   bool

	set   *token.FileSet
	files []*ast.File
	info  *types.Info
	err   error // of the type checker
}

// tool reports whether the package serves tests and measurements only.
func (s *source) tool() bool { return withinAny(s.ImportPath, testTools) }

// at answers a position as file:line, the file relative to the project.
func (s *source) at(pos token.Pos) string {
	p := s.set.Position(pos)
	root, err := os.Getwd()
	if err != nil {
		return p.String()
	}
	if rel, err := filepath.Rel(root, p.Filename); err == nil {
		p.Filename = filepath.ToSlash(rel)
	}
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}

// project is the whole tree, loaded once for all tests of this package.
type project struct {
	packages []*source
	exports  map[string]string
	set      *token.FileSet
	imports  types.Importer // reads what was compiled, each package once
}

// fixtureImports are the standard packages that the fixtures of forbidden code use,
// beside those that the project uses.
var fixtureImports = []string{"crypto/des", "crypto/md5", "crypto/rc4", "crypto/sha1", "math/rand", "math/rand/v2", "net/http/httptest", "net/http/httputil"}

var loadProject = sync.OnceValues(func() (*project, error) {
	args := append([]string{"list", "-e", "-export", "-deps", "-json=ImportPath,Dir,GoFiles,Imports,Export,Standard", "./..."}, fixtureImports...)
	cmd := exec.Command("go", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, stderr.String())
	}
	p := &project{exports: map[string]string{}, set: token.NewFileSet()}
	p.imports = importer.ForCompiler(p.set, "gc", func(path string) (io.ReadCloser, error) {
		if p.exports[path] == "" {
			return nil, fmt.Errorf("%s is not compiled", path)
		}
		return os.Open(p.exports[path])
	})
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		s := &source{}
		if err := dec.Decode(s); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		p.exports[s.ImportPath] = s.Export
		if within(s.ImportPath, module) && !s.Standard && len(s.GoFiles) > 0 {
			p.packages = append(p.packages, s)
		}
	}
	for _, s := range p.packages {
		contents := map[string]any{}
		for _, name := range s.GoFiles {
			contents[filepath.Join(s.Dir, name)] = nil
		}
		if err := p.check(s, contents); err != nil {
			return nil, err
		}
	}
	return p, nil
})

// check parses and type-checks a package from files by name; a nil content is read
// from disk.
func (p *project) check(s *source, contents map[string]any) error {
	s.set = p.set
	for name, content := range contents {
		f, err := parser.ParseFile(s.set, name, content, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		s.files = append(s.files, f)
	}
	slices.SortFunc(s.files, func(a, b *ast.File) int {
		return strings.Compare(s.set.Position(a.Package).Filename, s.set.Position(b.Package).Filename)
	})
	s.info = &types.Info{
		Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{},
		Defs: map[*ast.Ident]types.Object{}, Selections: map[*ast.SelectorExpr]*types.Selection{},
	}
	conf := types.Config{Importer: p.imports, Error: func(err error) { s.err = errors.Join(s.err, err) }}
	_, _ = conf.Check(s.ImportPath, s.set, s.files, s.info) // s.err has it
	return nil
}

// load answers the project, or ends the test.
func load(t *testing.T) *project {
	t.Helper()
	p, err := loadProject()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestArchitecture_Imports(t *testing.T) {
	for _, s := range load(t).packages {
		for _, broken := range importFaults(s) {
			t.Error(broken)
		}
	}
	for _, c := range []struct {
		pkg, imported string
		broken        bool
	}{
		{internal + "seal", module, false},
		{internal + "seal", internal + "inject", true},
		{internal + "seal", internal + "seal/aad", false},
		{module, internal + "store", true},
		{module, "net/netip", false},
		{internal + "broker", internal + "seal", true},
		{internal + "broker", internal + "surface/native", true},
		{internal + "surface/native", internal + "store", true},
		{internal + "surface/native", internal + "surface/embedded", true},
		{internal + "app", internal + "surface/native", false},
		{internal + "app", module + "/clavigertest/vendor", true},
		{internal + "nowhere", module, true},
		{module + "/clavigertest/vendor", internal + "catalog", false},
	} {
		if got := importFaults(&source{ImportPath: c.pkg, Imports: []string{c.imported}}); (len(got) > 0) != c.broken {
			t.Errorf("%s importing %s: found %v", c.pkg, c.imported, got)
		}
	}
}

// importFaults answers, in words, the imports that a package may not have.
func importFaults(s *source) (out []string) {
	r, ok := roomOf(s.ImportPath)
	if !ok {
		return []string{s.ImportPath + " is in no room: add it to the table in arch_test.go with the reason for what it may import"}
	}
	for _, imported := range s.Imports {
		if !within(imported, module) {
			continue
		}
		if withinAny(imported, testTools) && !s.tool() {
			out = append(out, fmt.Sprintf("%s imports the test tool %s: product code carries no test code", s.ImportPath, imported))
		}
		own := within(imported, r.path) && r.path != module
		listed := slices.ContainsFunc(r.may, func(m string) bool {
			return m == anything || imported == m || m != module && within(imported, m)
		})
		if !own && !listed {
			out = append(out, fmt.Sprintf("%s imports %s, but it may import only %v: %s", s.ImportPath, imported, r.may, r.reason))
		}
	}
	return out
}

func TestArchitecture_RootIsStandardLibraryOnly(t *testing.T) {
	for _, s := range load(t).packages {
		if s.ImportPath != module {
			continue
		}
		for _, imported := range s.Imports {
			if strings.Contains(strings.SplitN(imported, "/", 2)[0], ".") {
				t.Errorf("the vocabulary imports %s: it has the standard library and nothing else", imported)
			}
		}
	}
}

// The table itself: no room twice, no import of a room that the table does not have.
func TestArchitecture_Table(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range rooms() {
		if seen[r.path] || r.reason == "" {
			t.Errorf("%s stands twice or has no reason", r.path)
		}
		seen[r.path] = true
	}
	for _, r := range rooms() {
		for _, m := range r.may {
			if m != anything && !seen[m] {
				t.Errorf("%s may import %s, which is no room", r.path, m)
			}
			if m == internal+"seal" && r.path != internal+"vault" {
				t.Errorf("%s may import seal: only the vault may, and app, which wires it", r.path)
			}
		}
	}
	for path, want := range map[string]string{
		module: module, internal + "egress/x": internal + "egress", internal + "nowhere": "", module + "/clavigertest/postgres": module + "/clavigertest",
	} {
		if r, _ := roomOf(path); r.path != want {
			t.Errorf("%s is in room %q, want %q", path, r.path, want)
		}
	}
}
