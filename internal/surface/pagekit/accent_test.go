package pagekit

import (
	"encoding/hex"
	"regexp"
	"testing"

	"pgregory.net/rapid"
)

func TestAccent_IsLegibleWhateverTheColor(t *testing.T) {
	sheetOf := regexp.MustCompile(`(?s)--accent: #(\w{6}); --on-accent: #(\w{6}); --accent-text: #(\w{6});.*dark.*--accent-text: #(\w{6});`)
	read := func(t *rapid.T, digits string) shade {
		raw, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatal(err)
		}
		return shade(raw)
	}
	rapid.Check(t, func(t *rapid.T) {
		digits := rapid.StringMatching(`[0-9a-f]{6}`).Draw(t, "digits")
		sheet, ok := Accent(digits)
		m := sheetOf.FindStringSubmatch(sheet)
		if !ok || m == nil || m[1] != digits {
			t.Fatalf("%s has the sheet %q", digits, sheet)
		}
		for name, pair := range map[string][2]shade{
			"text on the accent": {read(t, m[2]), read(t, m[1])}, "the accent as text": {read(t, m[3]), lightGround}, "and in the dark": {read(t, m[4]), darkGround},
		} {
			if c := contrast(pair[0], pair[1]); c < 4.5 {
				t.Errorf("%s: %s of %s is %.2f", digits, name, pair[0], c)
			}
		}
	})
	for _, bad := range []string{"", "fff", "FFFFFF", "gggggg", "1f5a66;", "1f5a6600", "../../x"} {
		if sheet, ok := Accent(bad); ok {
			t.Errorf("%q has the sheet %q", bad, sheet)
		}
	}
}
