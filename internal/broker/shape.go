package broker

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"claviger"
	"claviger/internal/catalog"
	"claviger/internal/egress"
	"claviger/internal/inject"
)

// shape is what connections of one organization have in common if their connector, its
// version, their auth method and their settings are the same. A hundred thousand of
// them share one. It is never changed.
type shape struct {
	owner     claviger.OrganizationID
	connector *claviger.Connector
	method    *claviger.AuthMethod
	base      *url.URL
	dest      egress.Destination
	place     string                 // as [destination] answers it
	injected  []string               // canonical names of the headers that the method sets
	drop      func(name string) bool // the same names, however a caller spells them
	headers   http.Header            // that the connector sends where the caller has none
	queries   []string               // names of the query parameters that the method sets
	keys      []string               // of the method's fields, sorted
}

// shapeKey names a shape. A connector is never changed, so its address stands for its
// key, version and owner.
type shapeKey struct {
	connector    *claviger.Connector
	organization claviger.OrganizationID
	method       string
	settings     string
}

// maxSharedSettings bounds the settings, in bytes, by which a shape is kept.
const maxSharedSettings = 512

// shape answers the shape of an organization's connections.
func (b *Broker) shape(connector *claviger.Connector, org claviger.OrganizationID, method string, settings map[string]string) (*shape, error) {
	key := shapeKey{connector, org, method, settingsText(settings)}
	s, generation, ok := b.shapes.get(key)
	if ok {
		return s, nil
	}
	s, err := newShape(connector, org, method, settings)
	if err == nil && len(key.settings) <= maxSharedSettings {
		key.method = s.method.Key // the row's would be kept for this alone
		b.shapes.put(key, s, generation)
	}
	return s, err
}

func newShape(connector *claviger.Connector, org claviger.OrganizationID, methodKey string, settings map[string]string) (*shape, error) {
	method, ok := connector.Method(methodKey)
	if !ok {
		return nil, unknownMethod(connector, methodKey)
	}
	connector = connector.For(methodKey)
	base, err := catalog.Base(connector, settings)
	if err != nil {
		return nil, err
	}
	names := inject.Names(method)
	s := &shape{
		owner: org, connector: connector, method: method, base: base, place: destination(connector, method, base, settings),
		dest: egress.Destination{
			Key:    string(org) + "/" + connector.Key,
			Origin: claviger.Origin(base),
			Hosts:  connector.AllowedHosts,
		},
		injected: names.Headers, queries: names.Query, drop: egress.InjectedNames(names.Headers...),
	}
	for _, f := range method.Fields {
		s.keys = append(s.keys, f.Key)
	}
	slices.Sort(s.keys)
	if s.headers, err = catalog.DefaultHeaders(connector, settings); err != nil {
		return nil, err
	}
	return s, nil
}

// unknownMethod says which auth methods there are.
func unknownMethod(connector *claviger.Connector, key string) *claviger.Error {
	keys := make([]string, len(connector.Auth))
	for i := range connector.Auth {
		keys[i] = connector.Auth[i].Key
	}
	return claviger.Invalid("authMethod", "unknown_auth_method", "The connector %s has no auth method %q. It has %s.", connector.Key, key, strings.Join(keys, ", "))
}

// settingsText writes settings so that different ones never read the same.
func settingsText(settings map[string]string) string {
	if len(settings) == 0 {
		return ""
	}
	var text strings.Builder
	for _, k := range slices.Sorted(maps.Keys(settings)) {
		for _, v := range [...]string{k, settings[k]} {
			text.WriteString(strconv.Itoa(len(v)))
			text.WriteByte(':')
			text.WriteString(v)
		}
	}
	return text.String()
}

// compact lets a connection that is kept point to as little memory of its own as can
// be: the collector follows every pointer, again and again. What its shape says too it
// takes from there; its other short texts it puts into one.
func (l *live) compact() {
	c := &l.conn
	c.Connector, c.AuthMethod = l.connector.Key, l.method.Key
	c.Organization, c.Destination = known(c.Organization, l.owner), known(c.Destination, l.place)
	if slices.Equal(c.SecretKeys, l.keys) {
		c.SecretKeys = l.keys
	}
	c.Usage, c.Visibility = known(c.Usage, claviger.UsageAPI), known(c.Visibility, claviger.VisibilityWorkspace)
	c.Status, c.Health = known(c.Status, claviger.StatusActive), known(c.Health, claviger.HealthHealthy)
	own := string(c.ID) + string(c.Workspace) + c.Owner + c.Name + c.Account.ID + c.Account.Name
	cut := func(n int) (text string) { text, own = own[:n], own[n:]; return text }
	c.ID, c.Workspace = claviger.ConnectionID(cut(len(c.ID))), claviger.WorkspaceID(cut(len(c.Workspace)))
	c.Owner, c.Name = cut(len(c.Owner)), cut(len(c.Name))
	c.Account.ID, c.Account.Name = cut(len(c.Account.ID)), cut(len(c.Account.Name))
	host := l.resource.Host
	l.resource = c.Resource()
	l.resource.Host = host
}

// known answers usual, and with it usual's memory, if v is equal to it.
func known[T ~string](v, usual T) T {
	if v == usual {
		return usual
	}
	return v
}
