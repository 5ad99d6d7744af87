package egress

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"

	"pgregory.net/rapid"

	"claviger"
)

const awkward = "s3cr3t/+&=\"<é>\n\\key~value"

// echoes are the forms in which servers repeat what they got.
func echoes(secret string) map[string]string {
	marshaled, _ := json.Marshal(secret)
	var plain bytes.Buffer
	enc := json.NewEncoder(&plain)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(secret)
	var ascii strings.Builder
	for _, unit := range utf16.Encode([]rune(strings.Trim(plain.String(), "\n"))) {
		if unit < 0x80 {
			ascii.WriteByte(byte(unit))
		} else {
			fmt.Fprintf(&ascii, `\u%04x`, unit)
		}
	}
	return map[string]string{
		"raw":                   secret,
		"query":                 url.QueryEscape(secret),
		"path":                  url.PathEscape(secret),
		"encodeURIComponent":    strings.ReplaceAll(url.QueryEscape(secret), "+", "%20"),
		"query, lower case":     lowerEscapes(url.QueryEscape(secret)),
		"base64":                base64.StdEncoding.EncodeToString([]byte(secret)),
		"base64, unpadded":      base64.RawStdEncoding.EncodeToString([]byte(secret)),
		"base64 URL":            base64.URLEncoding.EncodeToString([]byte(secret)),
		"base64 URL, unpadded":  base64.RawURLEncoding.EncodeToString([]byte(secret)),
		"basic":                 base64.StdEncoding.EncodeToString([]byte("user:" + secret)),
		"basic, one more":       base64.StdEncoding.EncodeToString([]byte("users:" + secret)),
		"basic, two more":       base64.StdEncoding.EncodeToString([]byte("a.user:" + secret)),
		"basic, as user":        base64.StdEncoding.EncodeToString([]byte(secret + ":x")),
		"hex":                   hex.EncodeToString([]byte(secret)),
		"hex, upper case":       strings.ToUpper(hex.EncodeToString([]byte(secret))),
		"JSON":                  string(marshaled),
		"JSON, plain":           plain.String(),
		"JSON, slashes escaped": strings.ReplaceAll(plain.String(), "/", `\/`),
		"JSON, ASCII":           ascii.String(),
	}
}

// remains reports whether twelve characters in a row of a secret's form are left.
func remains(text, form string) bool {
	for i := 0; i+12 <= len(form); i++ {
		if strings.Contains(text, form[i:i+12]) {
			return true
		}
	}
	return false
}

func TestAbuse_125_EchoesAreScrubbed(t *testing.T) {
	for _, secret := range []string{awkward, "ak_live_4f9c81d27b6e4a0e9d35c1a8", "abcdef", "ünïcödé🔑key", strings.Repeat("0123456789", 500) + "x"} {
		scrubber := NewScrubber(claviger.NewSecretString("unrelated"), claviger.NewSecretString(secret))
		for name, form := range echoes(secret) {
			for around, text := range map[string]string{"alone": form, "inside": "before " + form + " after", "twice": form + "|" + form} {
				clean, hits := scrubber.Bytes([]byte(text))
				if hits == 0 || !strings.Contains(string(clean), Mark) || strings.Contains(string(clean), form) || len(secret) > 20 && remains(string(clean), form) {
					t.Errorf("%.10q, %s, %s: %.60q, %d hits", secret, name, around, clean, hits)
				}
				if around == "inside" && !(bytes.HasPrefix(clean, []byte("before ")) && bytes.HasSuffix(clean, []byte(" after"))) {
					t.Errorf("%s: the text around changed: %.60q", name, clean)
				}
				for size := range []int{1, 2, 7, 64, 5000} {
					masked, reader := readScrubbed(t, scrubber, &chunks{text: text, size: size + 1})
					if len(masked) != len(text) || strings.Contains(masked, form) || reader.Hits() == 0 {
						t.Fatalf("%.10q, %s, %s in pieces of %d: %.60q, %d hits", secret, name, around, size+1, masked, reader.Hits())
					}
				}
			}
		}
	}
}

func readScrubbed(t testing.TB, s *Scrubber, source io.Reader) (string, *ScrubReader) {
	t.Helper()
	r := s.Reader(source)
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(out), r
}

// chunks answers a text in pieces.
type chunks struct {
	text string
	size int
}

func (c *chunks) Read(p []byte) (int, error) {
	if c.text == "" {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.size)], c.text)
	c.text = c.text[n:]
	return n, nil
}

func TestAbuse_125_Headers(t *testing.T) {
	s := NewScrubber(claviger.NewSecretString("sk_live_secret"))
	h := http.Header{
		"X-Echo":           {"a", "key=sk_live_secret;", "sk_live_secret sk_live_secret"},
		"Location":         {"https://x.example/?k=" + url.QueryEscape("sk_live_secret")},
		"Www-Authenticate": {"Basic " + base64.StdEncoding.EncodeToString([]byte("u:sk_live_secret"))},
		"Etag":             {"untouched"},
	}
	hits := s.Header(h)
	if hits != 5 || h["X-Echo"][0] != "a" || h["X-Echo"][1] != "key="+Mark+";" || h["X-Echo"][2] != Mark+" "+Mark || h.Get("Etag") != "untouched" {
		t.Errorf("%d hits: %v", hits, h)
	}
	if text := fmt.Sprint(h); strings.Contains(text, "sk_live") || strings.Contains(text, "c2tfbGl2ZV9zZWNyZXQ") {
		t.Errorf("left %v", h)
	}
	if hits := s.Header(h); hits != 0 {
		t.Errorf("%d hits the second time", hits)
	}
}

func TestScrubberKeepsOtherText(t *testing.T) {
	s := NewScrubber(claviger.NewSecretString("short"), claviger.NewSecretString("sk_live_secret"), claviger.Secret{})
	for _, text := range []string{"", "x", "short", "sk_live_secre", "sk_live_sk_live_secre", strings.Repeat("sk_live_", 10000)} {
		if clean, hits := s.Bytes([]byte(text)); hits != 0 || string(clean) != text {
			t.Errorf("%.20q changed to %.20q", text, clean)
		}
		if out, _ := readScrubbed(t, s, strings.NewReader(text)); out != text {
			t.Errorf("%.20q is read as %.20q", text, out)
		}
	}
	none := NewScrubber()
	if out, _ := readScrubbed(t, none, strings.NewReader("text")); out != "text" {
		t.Errorf("without secrets: %q", out)
	}
	if text := fmt.Sprintf("%v %+v %#v %x", s, s, s, s); strings.Contains(text, "sk_live") || strings.Contains(text, hex.EncodeToString([]byte("sk_live"))) {
		t.Errorf("printed as %s", text)
	}
}

// TestScrubReaderModel compares the stream, cut at random, with the simplest way to
// do the same.
func TestScrubReaderModel(t *testing.T) {
	secrets := []string{"aabaab", "abaabaab", "bbbbbbbb"}
	var values []claviger.Secret
	for _, s := range secrets {
		values = append(values, claviger.NewSecretString(s))
	}
	scrubber := NewScrubber(values...)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`([ab]{0,12}|aabaab|abaabaab|bbbbbbbb|x){0,20}`).Draw(t, "text")
		source := &chunks{text: text, size: rapid.IntRange(1, 30).Draw(t, "size")}
		r := scrubber.Reader(source)
		var out []byte
		buf := make([]byte, rapid.SampledFrom([]int{1, 3, 40, 4096}).Draw(t, "buffer"))
		for {
			n, err := r.Read(buf)
			out = append(out, buf[:n]...)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if len(out) != len(text) {
			t.Fatalf("%q became %q", text, out)
		}
		for i := range out {
			if out[i] != text[i] && !strings.ContainsRune(Mark, rune(out[i])) {
				t.Fatalf("%q became %q", text, out)
			}
		}
		for _, s := range secrets {
			if bytes.Contains(out, []byte(s)) {
				t.Fatalf("%q is left in %q of %q", s, out, text)
			}
		}
	})
}

func TestScrubReaderIsPrompt(t *testing.T) {
	s := NewScrubber(claviger.NewSecretString("data-secret"))
	in, out := io.Pipe()
	r := s.Reader(in)
	buf := make([]byte, 1000)
	for _, event := range []string{"data: 1\n\n", "data: 2\n\n"} {
		go func() { _, _ = io.WriteString(out, event) }()
		n, err := r.Read(buf)
		if err != nil || string(buf[:n]) != event {
			t.Fatalf("%q, %v; want the whole event at once", buf[:n], err)
		}
	}
	go func() { _, _ = io.WriteString(out, "end dat") }()
	n, err := r.Read(buf)
	if err != nil || string(buf[:n]) != "end " {
		t.Fatalf("%q, %v; want all but what may begin the secret", buf[:n], err)
	}
	go func() { _, _ = io.WriteString(out, "a-secret!"); _ = out.Close() }()
	rest, err := io.ReadAll(r)
	if err != nil || string(rest) != Mark[:11]+"!" || r.Hits() != 1 {
		t.Fatalf("%q, %v", rest, err)
	}
}

func TestScrubReaderErrors(t *testing.T) {
	s := NewScrubber(claviger.NewSecretString("sk_live_secret"))
	boom := errors.New("boom")
	r := s.Reader(io.MultiReader(strings.NewReader("abc sk_li"), iotest.ErrReader(boom)))
	out, err := io.ReadAll(r)
	if string(out) != "abc sk_li" || !errors.Is(err, boom) {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := s.Reader(silent{}).Read(make([]byte, 100)); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a source that answers nothing: %v", err)
	}
	if n, err := s.Reader(strings.NewReader("x")).Read(nil); n != 0 || err != nil {
		t.Errorf("no room: %d, %v", n, err)
	}
}

type silent struct{}

func (silent) Read([]byte) (int, error) { return 0, nil }

func FuzzScrubber(f *testing.F) {
	f.Add("sk_live_secret", "text with sk_live_secret", 3)
	f.Add("aaaaaa", "aaaaaaaaaaaaaaaaaaaaaaa", 1)
	f.Fuzz(func(t *testing.T, secret, text string, size int) {
		if len(secret) < minSecret || len(secret) > maxPiece || size < 1 {
			return
		}
		s := NewScrubber(claviger.NewSecretString(secret))
		out, _ := readScrubbed(t, s, &chunks{text: text, size: size})
		if len(out) != len(text) || strings.Contains(out, secret) && !strings.Contains(Mark+strings.Repeat("*", 100)+Mark, secret) {
			t.Fatalf("%q in %q: %q", secret, text, out)
		}
	})
}
