package broker

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"claviger"
	"claviger/internal/store"
)

const (
	maxName       = 255
	maxLabels     = 50
	maxLabelKey   = 64
	maxLabelValue = 512
)

// checkName refuses a name that a person could not read or tell from another.
func checkName(param, s string) error {
	switch {
	case s == "":
		return claviger.Invalid(param, "required", "A name is needed.")
	case len(s) > maxName:
		return claviger.Invalid(param, "invalid_format", "A name has at most %d bytes.", maxName)
	case strings.TrimSpace(s) != s:
		return claviger.Invalid(param, "invalid_format", "A name neither begins nor ends with white space.")
	case !printable(s):
		return claviger.Invalid(param, "invalid_format", "A name has printable characters only.")
	}
	return nil
}

// printable refuses control and invisible characters, which hide in logs and lists.
func printable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// checkLabels bounds metadata and tags.
func checkLabels(param string, m map[string]string) error {
	if len(m) > maxLabels {
		return claviger.Invalid(param, "invalid_format", "At most %d entries are kept.", maxLabels)
	}
	for k, v := range m {
		if k == "" || len(k) > maxLabelKey || !printable(k) {
			return claviger.Invalid(param, "invalid_format", "A key has 1 to %d printable characters.", maxLabelKey)
		}
		if len(v) > maxLabelValue || !utf8.ValidString(v) || strings.ContainsRune(v, 0) {
			return claviger.Invalid(param+"."+k, "invalid_format", "A value has at most %d bytes of text.", maxLabelValue)
		}
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// conflict turns the store's unique violations into the caller's 409.
func conflict(err error) error {
	var c *store.Conflict
	if errors.As(err, &c) {
		e := claviger.Errorf(claviger.KindConflict, "already_exists", "There is one with this %s already. Choose another.", c.Field)
		if c.Field == "name" {
			e.Code = "name_taken"
		}
		e.Param = c.Field
		return e
	}
	if errors.Is(err, store.ErrStale) {
		return errStale
	}
	return err
}

func (p Page) limit() int {
	if p.Limit <= 0 {
		return 20
	}
	return min(p.Limit, 100)
}

// plusOne asks the store for one item more than wanted, to know whether there are more.
func (p Page) plusOne() store.Page { return store.Page{After: p.After, Limit: p.limit() + 1} }

// cut answers the wanted items of a list that plusOne asked for, and whether there are
// more.
func cut[T any](p Page, list []T) ([]T, bool) {
	if len(list) > p.limit() {
		return list[:p.limit()], true
	}
	return list, false
}

func (f ConnectionFilter) stored() store.ConnectionFilter {
	return store.ConnectionFilter{
		Workspace: f.Workspace, Connector: f.Connector, Status: f.Status, Health: f.Health,
		Owner: f.Owner, TagKey: f.TagKey, TagValue: f.TagValue, Search: f.Search,
	}
}
