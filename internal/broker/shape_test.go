package broker

import (
	"maps"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"pgregory.net/rapid"

	"claviger"
	"claviger/internal/catalog"
)

const regionalConnector = `
key: regional
name: Regional
kind: http
baseUrl: https://${region}.regional.example/v2
variables:
  - {key: region, label: Region, type: hostLabel, required: true}
allowedHosts: ["*.regional.example"]
auth:
  - key: key
    type: apiKey
    fields:
      - {key: apiKey, label: API key, secret: true, required: true}
    inject:
      - {in: header, name: X-API-Key, value: "${apiKey}"}
    test: {method: GET, path: /me, expectStatus: [200]}
    permissions: none
  - key: other
    type: apiKey
    fields:
      - {key: apiKey, label: API key, secret: true, required: true}
    inject:
      - {in: query, name: key, value: "${apiKey}"}
    test: {method: GET, path: /me, expectStatus: [200]}
    permissions: none
`

func regional(t *testing.T) *claviger.Connector {
	t.Helper()
	kept, err := catalog.Load(fstest.MapFS{"regional.yaml": {Data: []byte(regionalConnector)}}, catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	connector, _ := kept.Get("regional")
	return connector
}

func TestShapeIsSharedByEqualsAlone(t *testing.T) {
	b := New(Config{})
	connector, changed := regional(t), regional(t)
	at := func(k *claviger.Connector, org, method, region string) *shape {
		t.Helper()
		s, err := b.shape(k, claviger.OrganizationID(org), method, map[string]string{"region": region})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := at(connector, "org_a", "key", "eu")
	if at(connector, "org_a", "key", "eu") != first {
		t.Error("equals do not share")
	}
	for name, other := range map[string]*shape{
		"another connector":    at(changed, "org_a", "key", "eu"),
		"another organization": at(connector, "org_b", "key", "eu"),
		"another auth method":  at(connector, "org_a", "other", "eu"),
		"another region":       at(connector, "org_a", "key", "us"),
	} {
		if other == first {
			t.Errorf("%s: the same shape", name)
		}
	}
	if us := at(connector, "org_a", "key", "us"); us.base.Host != "us.regional.example" || us.dest.Origin != "https://us.regional.example" {
		t.Errorf("%s %s", us.base, us.dest.Origin)
	}
	if b.Evict(claviger.Change{Kind: "connector"}); at(connector, "org_a", "key", "eu") == first {
		t.Error("a change of a connector left its shape")
	}
	if _, err := b.shape(connector, "org_a", "none", nil); !claviger.IsKind(err, claviger.KindInvalid) {
		t.Errorf("an unknown auth method: %v", err)
	}
}

func TestShapeOfLongSettingsIsNotKept(t *testing.T) {
	b := New(Config{})
	settings := map[string]string{"region": "eu", "note": strings.Repeat("x", maxSharedSettings)}
	for range 2 {
		if _, err := b.shape(regional(t), "org_a", "key", settings); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(b.shapes.items); n != 0 {
		t.Errorf("%d kept", n)
	}
}

func TestSettingsTextTellsSettingsApart(t *testing.T) {
	settings := rapid.MapOf(rapid.StringMatching(`[a1:]{0,3}`), rapid.StringMatching(`[a1:]{0,3}`))
	rapid.Check(t, func(t *rapid.T) {
		x, y := settings.Draw(t, "x"), settings.Draw(t, "y")
		if (settingsText(x) == settingsText(y)) != maps.Equal(x, y) {
			t.Errorf("%v %v: %q %q", x, y, settingsText(x), settingsText(y))
		}
	})
}

func TestCompactChangesNothingThatIsRead(t *testing.T) {
	b := New(Config{})
	full := claviger.Connection{
		ID: "conn_1", Organization: "org_1", Workspace: "ws_1", Owner: "usr_1", Connector: "regional", ConnectorVersion: 1, AuthMethod: "key",
		Name: "main", Usage: claviger.UsageAPI, Visibility: claviger.VisibilityWorkspace, Status: claviger.StatusActive, Health: claviger.HealthHealthy,
		LastError: &claviger.Fault{Code: "c", Message: "m"}, Account: claviger.Account{ID: "acct", Name: "Account"}, GrantedScopes: []string{"read"},
		Settings: map[string]string{"region": "eu"}, Metadata: map[string]string{"a": "b"}, Tags: map[string]string{"c": "d"},
		SecretKeys: []string{"apiKey"}, SecretPaths: []string{"kv://x"}, Revision: 3, Destination: "regional https://eu.regional.example",
		Version: 4, ExpiresAt: time.Unix(1, 0), RefreshAt: time.Unix(2, 0), LastUsedAt: time.Unix(3, 0), CreatedAt: time.Unix(4, 0),
	}
	odd := full
	odd.Usage, odd.Visibility, odd.Status, odd.Health = claviger.UsageCallback, claviger.VisibilityPersonal, claviger.StatusDisabled, claviger.HealthUnknown
	odd.SecretKeys, odd.Destination, odd.Account, odd.Owner = []string{"apiKey", "more"}, "regional https://us.regional.example", claviger.Account{}, ""
	for name, conn := range map[string]claviger.Connection{"usual": full, "odd": odd} {
		l, err := b.ready(conn, claviger.Sealed("sealed"), regional(t))
		if err != nil {
			t.Fatal(err)
		}
		before := l.resource
		l.compact()
		if !reflect.DeepEqual(l.conn, conn) {
			t.Errorf("%s:\n%+v\nwas\n%+v", name, l.conn, conn)
		}
		if l.resource != before {
			t.Errorf("%s:\n%+v\nwas\n%+v", name, l.resource, before)
		}
	}
}
