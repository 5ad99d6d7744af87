package clavigertest_test

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	"claviger/clavigertest"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// database opens a server's database as somebody with its password or file would. The
// store has registered SQLite's driver.
func database(t *testing.T, s *clavigertest.Server) *sql.DB {
	t.Helper()
	driver, source := "pgx", s.Settings.DatabaseURL
	if strings.HasPrefix(source, "sqlite:") {
		driver, source = "sqlite", "file:"+s.DatabasePath()+"?_pragma=busy_timeout(60000)"
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// exec runs a statement that must change at least one row.
func exec(t *testing.T, db *sql.DB, statement string, args ...any) {
	t.Helper()
	result, err := db.ExecContext(t.Context(), statement, args...)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	if n, _ := result.RowsAffected(); n == 0 {
		t.Fatalf("%s: no row", statement)
	}
}

// tables answers the names of all tables.
func tables(t *testing.T, s *clavigertest.Server, db *sql.DB) []string {
	t.Helper()
	query := "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
	if strings.HasPrefix(s.Settings.DatabaseURL, "sqlite:") {
		query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
	}
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var out []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		out = append(out, name)
	}
	if err := rows.Err(); err != nil || len(out) < 10 {
		t.Fatalf("%d tables: %v", len(out), err)
	}
	slices.Sort(out)
	return out
}

// contents answers every value of a table's rows, each row as one text, sorted.
func contents(t *testing.T, db *sql.DB, table string) []string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "SELECT * FROM "+table)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		var row strings.Builder
		for i, v := range values {
			if b, ok := v.([]byte); ok {
				v = string(b)
			}
			fmt.Fprintf(&row, "%s=%v\x1f", columns[i], v)
		}
		out = append(out, row.String())
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}
