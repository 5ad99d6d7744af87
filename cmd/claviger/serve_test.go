package main

import (
	"bytes"
	"net"
	"regexp"
	"testing"

	"claviger/internal/app"
)

// What a first start makes is shown even if the start then fails: it is in the database,
// and is never shown again.
func TestFirstStartIsShownEvenIfThePortIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	key := regexp.MustCompile(`(?s)API key:\s+clv_key_\w+.*/console/setup/clv_setup_\w+\n`)
	settings := app.Settings{Addr: taken.Addr().String(), AdminAddr: "127.0.0.1:0", Data: t.TempDir()}
	for _, first := range []bool{true, false} {
		var out, errs bytes.Buffer
		p := &program{stdout: &out, stderr: &errs}
		if err := p.serve(t.Context(), settings, false); err == nil {
			t.Fatal("started on a port that is taken")
		}
		if key.Match(out.Bytes()) != first {
			t.Errorf("first start %v:\n%s%s", first, &out, &errs)
		}
	}
}

func TestEveryCommandIsListedOnce(t *testing.T) {
	help, _ := newShell(t).want(0, "", "--help")
	for _, name := range []string{"serve", "quickstart", "connection", "secret", "audit"} {
		if n := len(regexp.MustCompile(`(?m)^  `+name+` `).FindAllString(help, -1)); n != 1 {
			t.Errorf("%s is listed %d times", name, n)
		}
	}
}
