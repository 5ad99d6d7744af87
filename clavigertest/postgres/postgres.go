// Package postgres gives tests empty PostgreSQL databases.
//
// The cluster is the one that the environment names in CLAVIGER_TEST_POSTGRES;
// the program in cmd/postgres makes a temporary one around a command:
//
//	go run ./clavigertest/postgres/cmd/postgres -fast -- go test ./internal/store
//
// Databases are made and dropped with psql, so that the store stays the only
// package that speaks to a database. Nothing here is for production: the cluster's
// user is a superuser, and the temporary cluster asks for no password.
package postgres

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"testing"
	"time"
)

// Variable is the name of the environment variable that holds the postgres:// URL
// of a cluster's superuser.
const Variable = "CLAVIGER_TEST_POSTGRES"

// deadline bounds the making and the dropping of a database.
const deadline = time.Minute

// URL makes an empty database and answers its postgres:// URL. The database is
// dropped, whoever is still connected to it, when the test ends. Without a cluster
// the test fails: one that is skipped in silence proves nothing.
func URL(t testing.TB) string {
	t.Helper()
	cluster := os.Getenv(Variable)
	if cluster == "" {
		t.Fatalf("%s is not set: run `make test`, which starts PostgreSQL", Variable)
	}
	database, err := url.Parse(cluster)
	if err != nil {
		t.Fatalf("%s is no URL", Variable)
	}
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		t.Fatal(err)
	}
	name := "claviger_" + hex.EncodeToString(random[:])
	if err := psql(cluster, "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := psql(cluster, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	database.Path = "/" + name
	return database.String()
}

// Down cuts all connections to a database that [URL] made and lets nobody connect until
// up is called, as if its server were down.
func Down(t testing.TB, database string) (up func()) {
	t.Helper()
	cluster := os.Getenv(Variable)
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	name := path.Base(u.Path)
	run := func(statements ...string) {
		t.Helper()
		for _, statement := range statements {
			if err := psql(cluster, statement); err != nil {
				t.Fatal(err)
			}
		}
	}
	run("ALTER DATABASE "+name+" ALLOW_CONNECTIONS false", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+name+"'")
	return func() { t.Helper(); run("ALTER DATABASE " + name + " ALLOW_CONNECTIONS true") }
}

func psql(cluster, statement string) error {
	program, err := Binary("psql")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", cluster, "-c", statement).CombinedOutput()
	if err != nil {
		return fmt.Errorf("psql: %w: %s", err, out)
	}
	return nil
}

// Binary finds a program of PostgreSQL: in PATH, else in the newest of the
// versioned folders where Debian puts what is not in PATH.
func Binary(name string) (string, error) {
	if program, err := exec.LookPath(name); err == nil {
		return program, nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("%s is not installed; on Debian it is in the package postgresql", name)
	}
	newest := found[0]
	for _, program := range found[1:] {
		// Versions are numbers: 9 comes before 15.
		if a, b := version(program), version(newest); len(a) > len(b) || len(a) == len(b) && a > b {
			newest = program
		}
	}
	return newest, nil
}

func version(program string) string { return filepath.Base(filepath.Dir(filepath.Dir(program))) }
