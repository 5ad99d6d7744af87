package pagekit

import (
	"encoding/hex"
	"fmt"
	"math"
)

// OwnColor is the accent of pages whose organization has none.
const OwnColor = "1f5a66"

// The backgrounds that an accent is read on, the least forgiving of each theme; page.css of package connect
// has the same.
var (
	lightGround = shade{0xf4, 0xf5, 0xf7}
	darkGround  = shade{0x22, 0x2a, 0x32}
)

// enough is the contrast of text (WCAG 2.2, success criterion 1.4.3), and a little more,
// for rounding.
const enough = 4.6

// shade is a colour: red, green and blue.
type shade [3]byte

var white, black = shade{255, 255, 255}, shade{}

// String answers the shade as style sheets write it.
func (s shade) String() string { return "#" + hex.EncodeToString(s[:]) }

// luminance is WCAG's relative luminance.
func (s shade) luminance() float64 {
	var c [3]float64
	for i, v := range s {
		if c[i] = float64(v) / 255; c[i] <= 0.04045 {
			c[i] /= 12.92
		} else {
			c[i] = math.Pow((c[i]+0.055)/1.055, 2.4)
		}
	}
	return 0.2126*c[0] + 0.7152*c[1] + 0.0722*c[2]
}

// contrast is WCAG's contrast ratio, 1 to 21.
func contrast(a, b shade) float64 {
	x, y := a.luminance()+0.05, b.luminance()+0.05
	return max(x, y) / min(x, y)
}

// legible moves a colour towards another until it can be read on a ground.
func legible(s, towards, ground shade) shade {
	const steps = 64
	for step := range steps {
		mixed := s
		for i := range s {
			mixed[i] = byte(int(s[i]) + (int(towards[i])-int(s[i]))*step/steps)
		}
		if contrast(mixed, ground) >= enough {
			return mixed
		}
	}
	return towards
}

// Accent answers the style sheet of a colour, six hexadecimal digits in lower case: text
// on it is black or white, whichever reads better, and as text it is darkened or lightened
// as far as the theme's ground asks. ok is false if it is no colour.
func Accent(digits string) (sheet string, ok bool) {
	raw, err := hex.DecodeString(digits)
	if err != nil || len(raw) != len(shade{}) || hex.EncodeToString(raw) != digits {
		return "", false
	}
	s, on := shade(raw), white
	if contrast(s, black) > contrast(s, white) {
		on = black
	}
	return fmt.Sprintf(":root { --accent: %s; --on-accent: %s; --accent-text: %s; }\n@media (prefers-color-scheme: dark) { :root { --accent-text: %s; } }\n",
		s, on, legible(s, black, lightGround), legible(s, white, darkGround)), true
}
