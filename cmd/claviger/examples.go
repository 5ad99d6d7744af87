package main

import (
	_ "embed" // for the examples
	"strings"
)

// exampleLines are lines that work as they stand, for the help of the commands that they
// begin with; what is known without "system" too is written so.
//
//go:embed examples.txt
var exampleLines string

// example answers the lines that begin with a command.
func example(path string) string {
	var out []string
	for _, name := range []string{path, strings.Replace(path, "claviger system ", "claviger ", 1)} {
		for line := range strings.Lines(exampleLines) {
			if strings.HasPrefix(strings.TrimSpace(line)+" ", name+" ") {
				out = append(out, "  "+strings.TrimSpace(line))
			}
		}
		if len(out) > 0 {
			break
		}
	}
	return strings.Join(out, "\n")
}
