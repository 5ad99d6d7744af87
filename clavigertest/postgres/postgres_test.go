package postgres

import (
	"os"
	"path/filepath"
	"testing"
)

func TestBinaryPrefersPATH(t *testing.T) {
	folder := t.TempDir()
	program := filepath.Join(folder, "initdb")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder)
	if got, err := Binary("initdb"); err != nil || got != program {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := Binary("no-such-program"); err == nil {
		t.Error("a program that is not installed is found")
	}
}

func TestDatabasesAreFreshAndGone(t *testing.T) {
	var first string
	t.Run("made", func(t *testing.T) {
		first = URL(t)
		second := URL(t)
		if first == second {
			t.Fatal("two tests share a database")
		}
		for _, url := range []string{first, second} {
			if err := psql(url, "CREATE TABLE t (id int)"); err != nil {
				t.Fatal(err)
			}
		}
	})
	if err := psql(first, "SELECT 1"); err == nil {
		t.Error("the database outlives its test")
	}
}
