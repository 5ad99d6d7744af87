package catalog_test

import (
	"strings"
	"testing"

	"claviger/internal/catalog"
)

// A name of one label is a host only where the operator opened it: localhost, or a
// container beside this one.
func TestLocalNameNeedsTheOperator(t *testing.T) {
	opened := catalog.Options{AllowPlain: func(host string) bool { return host == "crm" }}
	for name, c := range map[string]struct {
		base, hosts string
		options     catalog.Options
		ok          bool
	}{
		"opened":               {"http://crm:8080/v2", `["crm"]`, opened, true},
		"opened, over TLS":     {"https://crm/v2", `["crm"]`, opened, true},
		"opened, hosts absent": {"http://crm:8080/v2", "", opened, true},
		"not opened":           {"https://crm/v2", `["crm"]`, catalog.Options{}, false},
		"another opened":       {"https://localhost/v2", `["localhost"]`, opened, false},
		"number":               {"https://2130706433/v2", `["2130706433"]`, catalog.Options{AllowPlain: func(string) bool { return true }}, false},
		"capitals":             {"http://CRM:8080/v2", `["CRM"]`, catalog.Options{AllowPlain: func(string) bool { return true }}, false},
		"wildcard":             {"http://crm:8080/v2", `["*.crm"]`, catalog.Options{AllowPlain: func(string) bool { return true }}, false},
	} {
		t.Run(name, func(t *testing.T) {
			text := "key: crm\nname: CRM\nkind: http\nbaseUrl: " + c.base + "\nauth: [{key: none, type: none, label: None}]\n"
			if c.hosts != "" {
				text += "allowedHosts: " + c.hosts + "\n"
			}
			conn, faults := catalog.Parse("crm.yaml", []byte(text), c.options)
			if (len(faults) == 0) != c.ok {
				t.Fatal(faults)
			}
			if !c.ok {
				return
			}
			if base, err := catalog.Base(conn, nil); err != nil || !strings.HasPrefix(base.Host, "crm") {
				t.Errorf("%v %v", base, err)
			}
		})
	}
}
