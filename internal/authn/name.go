package authn

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"claviger"
)

// maxName bounds names and client ids, in characters.
const maxName = 255

// CanonicalName answers a name as it is shown (NFC, trimmed) and the canonical form
// under which it is unique (case-folded besides), so that "Acme", " acme" and the
// two encodings of "é" name one workspace. param is the field to blame.
//
// Refused with KindInvalid: no text, more than 255 characters, control, invisible
// and direction-changing characters, and letters of scripts that are not written
// together ("Аcme" with a Cyrillic А), which look like another name.
func CanonicalName(param, name string) (shown, canonical string, err error) {
	if !utf8.ValidString(name) {
		return "", "", claviger.Invalid(param, "invalid_name", "The name is not UTF-8.")
	}
	if len(name) > 4*maxName { // before normalisation, which costs time
		return "", "", claviger.Invalid(param, "invalid_name", "The name has more than %d characters.", maxName)
	}
	shown = strings.TrimFunc(norm.NFC.String(name), unicode.IsSpace)
	switch {
	case shown == "":
		return "", "", claviger.Invalid(param, "required", "The name is empty.")
	case utf8.RuneCountInString(shown) > maxName:
		return "", "", claviger.Invalid(param, "invalid_name", "The name has more than %d characters.", maxName)
	case strings.ContainsFunc(shown, invisible):
		return "", "", claviger.Invalid(param, "invalid_name", "The name has control or invisible characters.")
	case mixesScripts(shown):
		return "", "", claviger.Invalid(param, "confusable_name", "The name mixes letters of different scripts, which can look like another name.")
	}
	return shown, norm.NFC.String(cases.Fold().String(shown)), nil
}

// invisible reports what cannot be seen in a name: controls, format characters such
// as zero-width joiners and direction marks, private use, lone surrogates, and
// spaces other than the plain one.
func invisible(r rune) bool {
	return unicode.In(r, unicode.C, unicode.Zl, unicode.Zp, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point) ||
		unicode.IsSpace(r) && r != ' ' || r == utf8.RuneError
}

// mixesScripts applies the "highly restrictive" level of Unicode TR 39, section 5.2:
// one script, or Latin with the scripts of Chinese, Japanese or Korean.
func mixesScripts(s string) bool {
	together := [][]*unicode.RangeTable{
		{unicode.Latin, unicode.Han, unicode.Hiragana, unicode.Katakana},
		{unicode.Latin, unicode.Han, unicode.Bopomofo},
		{unicode.Latin, unicode.Han, unicode.Hangul},
	}
	var one *unicode.RangeTable
	mixed := false
	for _, r := range s {
		if !unicode.IsLetter(r) || unicode.In(r, unicode.Common, unicode.Inherited) {
			continue
		}
		if one == nil {
			one = scriptOf(r)
		}
		mixed = mixed || one == nil || !unicode.Is(one, r)
	}
	if !mixed {
		return false
	}
	for _, set := range together {
		if !strings.ContainsFunc(s, func(r rune) bool {
			return unicode.IsLetter(r) && !unicode.In(r, unicode.Common, unicode.Inherited) && !unicode.In(r, set...)
		}) {
			return false
		}
	}
	return true
}

func scriptOf(r rune) *unicode.RangeTable {
	if unicode.Is(unicode.Latin, r) { // by far the most common
		return unicode.Latin
	}
	for _, table := range unicode.Scripts {
		if unicode.Is(table, r) {
			return table
		}
	}
	return nil
}
