package manifest_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"claviger/internal/manifest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// testdata/rules.txtar has a case for each rule: lines "FILE: old => new" change the
// example (\n stands for a line's end, an empty old text for the whole file, (nothing) for no
// new text), and
// lines that begin with "= " are the faults it is then told. "policy fallback" lets
// an api slot serve a bridge.
func TestEveryRule(t *testing.T) {
	const golden = "testdata/rules.txtar"
	archive, err := txtar.ParseFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for i := range archive.Files {
		c := &archive.Files[i]
		t.Run(c.Name, func(t *testing.T) {
			var input, want strings.Builder
			changes, policy := map[string]string{}, manifest.Policy{}
			base := checkout(t, nil)
			for line := range strings.Lines(string(c.Data)) {
				if strings.HasPrefix(line, "= ") {
					want.WriteString(line[2:])
					continue
				}
				input.WriteString(line)
				if line == "policy fallback\n" {
					policy.ServiceFallback = true
					continue
				}
				file, change, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
				old, now, also := strings.Cut(change, " => ")
				if !ok || !also {
					t.Fatalf("%q is no change", line)
				}
				old, now = strings.ReplaceAll(old, `\n`, "\n"), strings.ReplaceAll(now, `\n`, "\n")
				if _, changed := changes[file]; !changed && old != "" {
					changes[file] = text(t, base, file)
				}
				if now == "(nothing)" {
					now = ""
				}
				if old == "" {
					changes[file] = now
				} else {
					changes[file] = replaced(t, changes[file], old, now)
				}
			}
			faults := manifest.Validate(load(t, checkout(t, changes)), policy)
			for _, f := range faults {
				told[f.Code] = true
			}
			got := strings.ReplaceAll(list(faults), folder, "")
			if *update {
				c.Data = []byte(input.String())
				for line := range strings.Lines(got) {
					c.Data = append(c.Data, "= "+line...)
				}
				return
			}
			if got != want.String() {
				t.Errorf("told\n%s\nwant\n%s", got, want.String())
			}
			if faultless := strings.HasPrefix(c.Name, "fine "); faultless != (got == "") {
				t.Errorf("the case %q is told %q", c.Name, got)
			}
		})
	}
	if *update {
		if err := os.WriteFile(golden, txtar.Format(archive), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, code := range []string{
		manifest.CodeSyntax, manifest.CodeLimit, manifest.CodeDuplicate, manifest.CodeUnknown, manifest.CodeMissing, manifest.CodeType, manifest.CodeValue,
		manifest.CodeLiteralSecret, manifest.CodeReference, manifest.CodeForeign, manifest.CodeMissingSlot, manifest.CodeDelegated, manifest.CodeMethodUsage,
		manifest.CodeDefault, manifest.CodeMismatch, manifest.CodeUnresolved, manifest.CodeEnv, manifest.CodeSchedule, manifest.CodeNoOperation,
	} {
		if !told[code] {
			t.Errorf("no case is told %s", code)
		}
	}
}
