package main

import (
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// progress tells how far long work is: on one line that changes where a person sits at a
// terminal, else as plain lines, each once. It goes to standard error: standard output is
// the result's.
type progress struct {
	w        io.Writer
	terminal bool
	last     string
}

func (p *program) progress() *progress {
	f, ok := p.stderr.(*os.File)
	return &progress{w: p.stderr, terminal: ok && term.IsTerminal(int(f.Fd()))}
}

// say tells the state of things; the same twice is said once.
func (g *progress) say(text string) {
	text = escape(text)
	if text == g.last {
		return
	}
	before := utf8.RuneCountInString(g.last)
	g.last = text
	if !g.terminal {
		_, _ = io.WriteString(g.w, text+"\n")
		return
	}
	// What is left of a longer line is overwritten.
	_, _ = io.WriteString(g.w, "\r"+text+strings.Repeat(" ", max(before-utf8.RuneCountInString(text), 0)))
}

// end leaves the line.
func (g *progress) end() {
	if g.terminal && g.last != "" {
		_, _ = io.WriteString(g.w, "\n")
	}
}
