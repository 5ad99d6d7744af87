package main

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"claviger/internal/app"
)

// A start whose address is taken changes nothing: no keys, no organization, no link that
// would be shown this once and be of no use.
func TestATakenPortChangesNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	other := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	for name, settings := range map[string]app.Settings{
		"addr":       {Addr: taken.Addr().String(), AdminAddr: other},
		"admin.addr": {Addr: other, AdminAddr: taken.Addr().String()},
	} {
		var out, errs bytes.Buffer
		settings.Data = filepath.Join(t.TempDir(), "data")
		err := (&program{stdout: &out, stderr: &errs}).serve(t.Context(), settings, true)
		if err == nil || !strings.Contains(err.Error(), name+": the address cannot be listened on: "+taken.Addr().String()) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(settings.Data); !errors.Is(err, fs.ErrNotExist) || out.Len() > 0 {
			t.Errorf("%s: %v, shown: %s", name, err, &out)
		}
		again, err := net.Listen("tcp", other)
		if err != nil {
			t.Fatalf("%s: the other address was not given back: %v", name, err)
		}
		_ = again.Close()
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
