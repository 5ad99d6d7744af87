package claviger_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The proportions of the house.
const (
	longestFile     = 500
	longestFunction = 60
	longestEver     = 120
)

// longFunctions are those that may be longer than longestFunction, and why splitting
// them would not help a reader.
var longFunctions = map[string]string{}

// goFiles answers every Go file of the project, tests included, parsed.
func goFiles(t *testing.T) (*token.FileSet, map[string]*ast.File) {
	t.Helper()
	set, files := token.NewFileSet(), map[string]*ast.File{}
	walkTree(t, func(name string, content []byte) {
		if !strings.HasSuffix(name, ".go") {
			return
		}
		f, err := parser.ParseFile(set, name, content, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		files[name] = f
	})
	return set, files
}

// walkTree calls f with every text file of the project that git would keep.
func walkTree(t *testing.T, f func(name string, content []byte)) {
	t.Helper()
	skip := []string{".git", "bin", "dist", "claviger-data", "node_modules"}
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains(skip, d.Name()):
			return fs.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		content, err := os.ReadFile(filepath.FromSlash(name))
		if err == nil && !bytes.ContainsRune(content[:min(len(content), 8000)], 0) {
			f(name, content)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestHouse_Sizes(t *testing.T) {
	set, files := goFiles(t)
	for name, f := range files {
		if lines := set.File(f.Package).LineCount(); lines > longestFile {
			t.Errorf("%s has %d lines, more than %d: split it by flow", name, lines, longestFile)
		}
		for _, decl := range f.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			lines := set.Position(fn.End()).Line - set.Position(fn.Pos()).Line + 1
			key := path.Dir(name) + "." + fn.Name.Name
			if lines > longestEver {
				t.Errorf("%s: %s has %d lines, more than %d", name, fn.Name.Name, lines, longestEver)
			} else if lines > longestFunction && !strings.HasSuffix(name, "_test.go") && longFunctions[key] == "" {
				t.Errorf("%s: %s has %d lines, more than %d: split it, or list %q with the reason", name, fn.Name.Name, lines, longestFunction, key)
			}
		}
	}
}

func TestHouse_NamesAndInit(t *testing.T) {
	_, files := goFiles(t)
	vague := []string{"util", "utils", "common", "helper", "helpers", "misc", "base", "shared"}
	for name, f := range files {
		if slices.Contains(vague, f.Name.Name) || slices.Contains(vague, path.Base(path.Dir(name))) {
			t.Errorf("%s: a package named %s says nothing of what is in it", name, f.Name.Name)
		}
		for _, decl := range f.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s has an init function: registration is explicit here", name)
			}
		}
	}
}

func TestHouse_Documented(t *testing.T) {
	_, files := goFiles(t)
	packages := map[string]bool{}
	for name, f := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		packages[path.Dir(name)] = packages[path.Dir(name)] || f.Doc != nil
		for _, decl := range f.Decls {
			for _, missing := range undocumented(decl) {
				t.Errorf("%s: %s is exported and has no comment: write its contract", name, missing)
			}
		}
	}
	for dir, documented := range packages {
		if !documented {
			t.Errorf("the package in %s has no comment that says what, why and what it trusts", dir)
		}
	}
}

// undocumented answers the exported names of a declaration that have no comment. In
// a group, a comment on the group or at the end of the line will do.
func undocumented(decl ast.Decl) []string {
	var out []string
	switch d := decl.(type) {
	case *ast.FuncDecl:
		exportedOwner := d.Recv == nil || ast.IsExported(lastName(receiver(d.Recv.List[0].Type)))
		if d.Name.IsExported() && exportedOwner && d.Doc == nil {
			out = append(out, d.Name.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				if spec.Name.IsExported() && spec.Doc == nil && (d.Doc == nil || d.Lparen.IsValid()) && spec.Comment == nil {
					out = append(out, spec.Name.Name)
				}
			case *ast.ValueSpec:
				for _, id := range spec.Names {
					if id.IsExported() && spec.Doc == nil && d.Doc == nil && spec.Comment == nil {
						out = append(out, id.Name)
					}
				}
			}
		}
	}
	return out
}

// receiver strips the pointer and the type parameters of a receiver's type.
func receiver(e ast.Expr) ast.Expr {
	switch e := deref(e).(type) {
	case *ast.IndexExpr:
		return e.X
	case *ast.IndexListExpr:
		return e.X
	default:
		return e
	}
}

// The tree must read the same wherever it stands: no file names the machine that it
// was written on.
func TestHouse_NoMachineIsNamed(t *testing.T) {
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	var private []string
	if strings.Count(filepath.ToSlash(root), "/") > 1 { // one segment, such as /src, is a common word
		private = append(private, filepath.ToSlash(root))
	}
	out, err := exec.Command("go", "env", "GOPROXY", "GOSUMDB", "GOPRIVATE").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range strings.FieldsFunc(string(out), func(r rune) bool { return strings.ContainsRune(",| \n", r) }) {
		if u, err := url.Parse(word); err == nil && u.Hostname() != "" {
			private = append(private, u.Hostname())
		}
	}
	homes := regexp.MustCompile(`(^|[\s"'=(])/(home|Users)/[a-z]+/`)
	walkTree(t, func(name string, content []byte) {
		for _, p := range private {
			if bytes.Contains(content, []byte(p)) {
				t.Errorf("%s names %q, which is of this machine", name, p)
			}
		}
		if m := homes.Find(content); m != nil {
			t.Errorf("%s names somebody's home, %q", name, bytes.TrimSpace(m))
		}
	})
}

// A page that points nowhere is worse than one that says nothing. Links to other
// sites are not followed: a test needs no network.
func TestHouse_LinksResolve(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	found := 0
	walkTree(t, func(name string, content []byte) {
		if !strings.HasSuffix(name, ".md") {
			return
		}
		for _, m := range link.FindAllSubmatch(content, -1) {
			target, _, _ := strings.Cut(string(m[1]), "#")
			if target == "" || strings.Contains(target, "://") {
				continue
			}
			found++
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), filepath.FromSlash(target))); err != nil {
				t.Errorf("%s links to %s, which does not exist", name, target)
			}
		}
	})
	if found == 0 {
		t.Error("no link was found, so nothing is proven")
	}
}

// docs/settings.md names each setting that the program has, and no other.
func TestHouse_SettingsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("docs/settings.md")
	if err != nil {
		t.Fatal(err)
	}
	variable := regexp.MustCompile(`CLAVIGER_[A-Z]+(_[A-Z]+)*`)
	documented := map[string]bool{}
	for _, name := range variable.FindAllString(string(page), -1) {
		documented[name] = true
	}
	settings := map[string]bool{"CLAVIGER_URL": true, "CLAVIGER_API_KEY": true, "CLAVIGER_PROFILE": true} // of the command line
	for _, s := range load(t).packages {
		if s.ImportPath != internal+"app" {
			continue
		}
		for _, key := range settingKeys(s) {
			settings["CLAVIGER_"+strings.ToUpper(strings.ReplaceAll(key, ".", "_"))] = true
		}
	}
	if len(settings) == 3 {
		t.Fatal("no setting was found in internal/app")
	}
	for name := range settings {
		if !documented[name] {
			t.Errorf("docs/settings.md says nothing of %s", name)
		}
	}
	for name := range documented {
		if !settings[name] {
			t.Errorf("docs/settings.md names %s, which is no setting", name)
		}
	}
}

// settingKeys answers the constant Key of every literal of type Setting.
func settingKeys(s *source) (keys []string) {
	for _, file := range s.files {
		ast.Inspect(file, func(n ast.Node) bool {
			lit, ok := n.(*ast.CompositeLit)
			if !ok {
				return true
			}
			named, ok := types.Unalias(s.info.Types[lit].Type).(*types.Named)
			if !ok || named.Obj().Name() != "Setting" {
				return true
			}
			for _, e := range lit.Elts {
				if kv, ok := e.(*ast.KeyValueExpr); ok && lastName(kv.Key) == "Key" && s.info.Types[kv.Value].Value != nil {
					keys = append(keys, constant.StringVal(s.info.Types[kv.Value].Value))
				}
			}
			return true
		})
	}
	return keys
}

// modernc.org/sqlite is generated against one version of modernc.org/libc, and
// another one corrupts memory in ways that tests do not see.
func TestHouse_SQLiteHasItsOwnLibc(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.GoMod}}", "modernc.org/sqlite").Output()
	if err != nil {
		t.Fatal(err)
	}
	want := requiredVersion(t, strings.TrimSpace(string(out)), "modernc.org/libc")
	if got := requiredVersion(t, "go.mod", "modernc.org/libc"); got != want || want == "" {
		t.Errorf("go.mod requires modernc.org/libc %s, modernc.org/sqlite was made with %s", got, want)
	}
}

func requiredVersion(t *testing.T, gomod, mod string) string {
	t.Helper()
	content, err := os.ReadFile(gomod)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^\s*(?:require )?` + regexp.QuoteMeta(mod) + ` (\S+)`).FindSubmatch(content)
	if m == nil {
		return ""
	}
	return string(m[1])
}

// Keys that somebody pasted into a file, and our own that look alive: a key of ours
// carries a checksum, which an example must not satisfy by length and alphabet alone.
func TestAbuse_187_NoSecretInTheRepository(t *testing.T) {
	patterns := []*regexp.Regexp{
		regexp.MustCompile(`clv_[a-z]+_[0-9A-Za-z]{40,}`),
		regexp.MustCompile(`\bgh[pousr]_[0-9A-Za-z]{36}\b`),
		regexp.MustCompile(`\bsk_live_[0-9A-Za-z]{20,}`),
		regexp.MustCompile(`\bSG\.[\w-]{22}\.[\w-]{43}\b`),
		regexp.MustCompile(`\bxox[abprs]-\d{10,}-[0-9A-Za-z-]{20,}`),
		regexp.MustCompile(`\bAKIA[0-9A-Z]{16}\b`),
		regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----\n[A-Za-z0-9+/=\n]{100,}`),
	}
	walkTree(t, func(name string, content []byte) {
		for _, p := range patterns {
			if m := p.Find(content); m != nil && !bytes.Contains(m, []byte("abcdefghijkl")) { // plainly made up
				t.Errorf("%s holds what looks like a live secret: %.12s...", name, m)
			}
		}
	})
	planted := "key: clv_key_" + strings.Repeat("a1B2", 12) + fmt.Sprintf(", %s%s", "ghp_", strings.Repeat("x9", 18))
	for _, p := range patterns[:2] {
		if !p.MatchString(planted) {
			t.Errorf("%s does not find a planted key", p)
		}
	}
}
