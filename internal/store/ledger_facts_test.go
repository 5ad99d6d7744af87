package store

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"claviger"
)

func TestFactsReadBackAsTheyWere(t *testing.T) {
	text := rapid.StringMatching(`[a=\\n\n]{0,4}`)
	rapid.Check(t, func(t *rapid.T) {
		var want, got claviger.Entry
		for _, f := range factsOf(&want) {
			*f.value = text.Draw(t, f.name)
		}
		column := string(appendFacts(nil, &want))
		readFacts(&got, column)
		wants := factsOf(&want)
		for i, f := range factsOf(&got) {
			if *f.value != *wants[i].value {
				t.Errorf("%s: %q, want %q, of %q", f.name, *f.value, *wants[i].value, column)
			}
			probe := text.Draw(t, "probe")
			if probe == "" {
				continue // an empty value in a filter asks for nothing
			}
			if found := strings.Contains(column, factLine(f.name, probe)); found != (probe == *f.value) {
				t.Errorf("%s = %q in %q: %v", f.name, probe, column, found)
			}
		}
	})
}

func TestFactsOfAnotherFormAreDamage(t *testing.T) {
	for _, column := range []string{
		"", "x", "host=a\n", "\nhost=a", "\nhost=", "\nhost=\n", "\nhost", "\nhost=a\n\n", "\nhost=a\nhost=b\n", "\nhost=a\nconnector=b\n",
		"\nhost=a\nmore=b\n", "\nHost=a\n", "\nhost=\\\n", "\nhost=\\a\n", "\n host=a\n", "\nhost=a\n ",
	} {
		var e claviger.Entry
		readFacts(&e, column)
		if e.Code != entryDamaged {
			t.Errorf("%q is taken for %+v", column, e)
		}
	}
}

// FuzzReadFacts looks for a column that reads as an entry which would be written in
// another form: what was added to it would be vouched for by the entry's MAC.
func FuzzReadFacts(f *testing.F) {
	f.Add("\n")
	f.Add("\nactor_kind=api_key\nhost=a\\n\\\\b\ncode=x\n")
	f.Add("\nhost=a\nhost=b\n")
	f.Fuzz(func(t *testing.T, column string) {
		var e claviger.Entry
		readFacts(&e, column)
		if again := string(appendFacts(nil, &e)); e.Code != entryDamaged && again != column {
			t.Errorf("%q is written %q", column, again)
		}
	})
}
