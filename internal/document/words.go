package document

import (
	"strconv"
	"strings"
)

// Quote shows a word of the document in ASCII, so that a letter that only looks
// like the right one is seen for what it is.
func Quote(s string) string {
	if len(s) > 64 {
		s = s[:64]
	}
	return strconv.QuoteToASCII(s)
}

// Nearest answers the known word that a misspelt one most likely means, or "".
func Nearest(word string, known []string) string {
	if len(word) > 64 {
		return ""
	}
	best, distance := "", 1+len(word)/3
	for _, k := range known {
		if d := edits(Fold(word), Fold(k)); d <= distance && (best == "" || d < distance) {
			best, distance = k, d
		}
	}
	return best
}

// lookalikes maps letters of other scripts to the ASCII letter that they imitate.
var lookalikes = strings.NewReplacer(
	"а", "a", "е", "e", "о", "o", "р", "p", "с", "c", "у", "y", "х", "x", "і", "i", "ѕ", "s", "ј", "j", "һ", "h",
	"α", "a", "ο", "o", "ρ", "p", "ν", "v", "ſ", "s", "K", "k", "ı", "i", "օ", "o", "ս", "u", "ո", "n", "ց", "g", "ｂ", "b",
	"_", "", "-", "",
)

// Fold answers a word without case, hyphens and underscores, and with ASCII letters
// for those of other scripts that look like them: two words that fold to one can be
// taken for one another.
func Fold(s string) string { return lookalikes.Replace(strings.ToLower(s)) }

// edits is the Levenshtein distance of two short words.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next := min(row[j]+1, row[j-1]+1, diagonal+cost)
			diagonal, row[j] = row[j], next
		}
	}
	return row[len(b)]
}
