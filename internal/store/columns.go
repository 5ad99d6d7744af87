package store

import (
	"encoding/json"
	"fmt"
	"time"

	"claviger"
)

// millis is how a time is kept: milliseconds since 1970, 0 for the zero time.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// fromMillis is the inverse, in UTC.
func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// filled answers b, never nil: a column that may not be null.
func filled(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// document is how a map or a list is kept: JSON, or nothing for an empty one.
func document[T ~map[string]string | ~[]string](v T) string {
	if len(v) == 0 {
		return ""
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic("store: strings and maps of strings always have a JSON form")
	}
	return string(b)
}

// undocument is the inverse.
func undocument[T any](text string, into *T) error {
	if text == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		return fmt.Errorf("store: a kept document is damaged: %w", err)
	}
	return nil
}

// The bounds of a page. MaxPage is one more than any surface shows: asking for
// one row too many tells whether there is a next page.
const (
	DefaultPage = 20
	MaxPage     = 101
)

// Page asks for a part of a list, newest first (connectors and secrets: by key
// and by path). After is the id (key, path) of the last row that the caller has.
type Page struct {
	After string
	Limit int // 1 to MaxPage; less is DefaultPage, more is MaxPage
}

func (p Page) limit() int64 {
	switch {
	case p.Limit <= 0:
		return DefaultPage
	case p.Limit > MaxPage:
		return MaxPage
	}
	return int64(p.Limit)
}

// tail ends a list statement that is ordered from the newest id down.
func (p Page) tail(w *where, column string) {
	if p.After != "" {
		w.and(column+" < ?", p.After)
	}
	w.raw(" ORDER BY "+column+" DESC LIMIT ?", p.limit())
}

// tailUp ends a list statement that is ordered from the lowest key up.
func (p Page) tailUp(w *where, column string) {
	if p.After != "" {
		w.and(column+" > ?", p.After)
	}
	w.raw(" ORDER BY "+column+" LIMIT ?", p.limit())
}

// scoped begins the conditions of a table whose rows belong to a workspace, by the
// column that names it, or, with none, of a table that all workspaces of the
// organization read.
func scoped(s claviger.Scope, workspaceColumn string) (*where, error) {
	if s.Organization() == "" {
		return nil, ErrNoScope
	}
	w := &where{}
	w.and("organization = ?", string(s.Organization()))
	if workspaceColumn != "" {
		w.equal(workspaceColumn, string(s.Workspace()))
	}
	return w, nil
}

// wide begins the conditions of a table whose rows belong to the organization as
// a whole. A scope that is bound to a workspace does not reach them.
func wide(s claviger.Scope) (*where, error) {
	if err := organizationWide(s); err != nil {
		return nil, err
	}
	return scoped(s, "")
}

// organizationWide refuses a scope that is empty or bound to a workspace.
func organizationWide(s claviger.Scope) error {
	switch {
	case s.Organization() == "":
		return ErrNoScope
	case s.Workspace() != "":
		return ErrNotFound
	}
	return nil
}

// covers refuses what a row to be written would put outside of the scope.
func covers(s claviger.Scope, organization claviger.OrganizationID, workspace claviger.WorkspaceID) error {
	switch {
	case s.Organization() == "":
		return ErrNoScope
	case !s.Covers(organization, workspace):
		return ErrNotFound
	}
	return nil
}
