package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// show prints v as JSON if that was asked for, else calls text.
func (p *program) show(v any, text func()) error {
	if !p.json {
		text()
		return nil
	}
	b, err := indent(v)
	if err != nil {
		return err
	}
	_, err = p.stdout.Write(b)
	return err
}

// indent encodes v for a terminal: readable, and unable to do anything to it.
func indent(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return escapeJSON(b.Bytes()), nil
}

// table prints rows under their heading, or the sentence none if there are no rows.
func (p *program) table(none string, heading []string, rows [][]string) {
	if len(rows) == 0 {
		p.printf("%s\n", none)
		return
	}
	w := tabwriter.NewWriter(p.stdout, 2, 8, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, strings.ToUpper(strings.Join(heading, "\t")))
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = escape(cell)
		}
		_, _ = fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	_ = w.Flush()
}

// fields prints name and value pairs, leaving empty values out.
func (p *program) fields(pairs [][2]string) {
	w := tabwriter.NewWriter(p.stdout, 2, 8, 2, ' ', 0)
	for _, kv := range pairs {
		if kv[1] != "" {
			_, _ = fmt.Fprintf(w, "%s:\t%s\n", kv[0], escape(kv[1]))
		}
	}
	_ = w.Flush()
}

// unsafe reports whether printing r could do more than show a character: move the
// cursor, change colours, start a terminal's command (C0, DEL, C1), or make text
// read in another order than it stands (bidirectional controls, separators).
func unsafe(r rune) bool {
	switch {
	case r < 0x20, r >= 0x7f && r < 0xa0:
		return true
	case r == 0x061c, r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x206f, r == 0xfeff:
		return true
	case r >= 0xe0000 && r <= 0xe007f: // invisible tags
		return true
	}
	return false
}

// escape makes text from elsewhere safe to print on one line. Bytes that are no
// UTF-8 and unsafe characters are written as a Go string would.
func escape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case unsafe(r) && r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		case unsafe(r) && r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		case unsafe(r):
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// escapeJSON does the same to a JSON text, whose meaning stays: such characters
// stand only inside its strings. Its line breaks are kept.
func escapeJSON(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			out = append(out, `\ufffd`...)
		case r != '\n' && unsafe(r) && r <= 0xffff:
			out = fmt.Appendf(out, `\u%04x`, r)
		case unsafe(r) && r != '\n':
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+(r-0x10000)>>10, 0xdc00+(r-0x10000)&0x3ff)
		default:
			out = append(out, text[i:i+n]...)
		}
		i += n
	}
	return out
}
