package hookverify_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"claviger/internal/hookverify"
)

var update = flag.Bool("update", false, "write the table of schemes in docs/webhooks.md anew")

const docsPage = "../../docs/webhooks.md"

// The page lists what there is:
//
//	go test ./internal/hookverify -run TestDocs -update
func TestDocs(t *testing.T) {
	page := string(must[[]byte](t)(os.ReadFile(docsPage)))
	before, rest, ok := strings.Cut(page, "<!-- schemes -->\n")
	_, after, okEnd := strings.Cut(rest, "<!-- /schemes -->")
	if !ok || !okEnd {
		t.Fatal("the page has no place for the table")
	}
	want := before + "<!-- schemes -->\n" + table(builtin(t).Schemes()) + "<!-- /schemes -->" + after
	if *update {
		if err := os.WriteFile(docsPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != page {
		t.Errorf("%s is not what the documents say: run this test with -update", docsPage)
	}
}

func table(schemes []*hookverify.Scheme) string {
	var b strings.Builder
	b.WriteString("| scheme | vendor | proof | time | settings | good to know |\n|---|---|---|---|---|---|\n")
	for _, s := range schemes {
		var settings, notes []string
		for _, x := range s.Settings {
			key := "`" + x.Key + "`"
			if !x.Required {
				key += " (optional)"
			}
			settings = append(settings, key)
		}
		stamp := ""
		if s.Timed() {
			stamp = strings.NewReplacer("h0m0s", "h", "m0s", "m").Replace(s.Tolerance().String())
		}
		if s.Verifiable() && !s.BodySigned() {
			notes = append(notes, "Body not signed.")
		}
		for _, note := range []string{s.Weak, s.Note} {
			if note != "" {
				notes = append(notes, note)
			}
		}
		if s.AsksAsAccount() {
			notes = append(notes, "The vendor tells the key to the account: method `basic`.")
		} else if s.FetchesKeys() {
			notes = append(notes, "The vendor publishes the key.")
		}
		fmt.Fprintf(&b, "| [`%s`](%s) | %s | %s | %s | %s | %s |\n", s.Key, s.DocsURL, s.Name, s.Proof(), stamp, strings.Join(settings, ", "), strings.Join(notes, " "))
	}
	return b.String()
}
