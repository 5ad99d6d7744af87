package broker

import (
	"net/url"
	"slices"
	"strings"

	"claviger"
)

// destination is what a credential is bound to: the connector it was given for, and the
// origins it may travel to, between spaces. The first is that of its calls; those of
// an OAuth grant follow.
func destination(connector *claviger.Connector, method *claviger.AuthMethod, base *url.URL, settings map[string]string) string {
	return strings.Join(append([]string{connector.Key, claviger.Origin(base)}, grantPlaces(method, settings)...), " ")
}

// grantPlaces answers where the secrets of a method's grant go, tokens and the client's
// own among them; nothing if it has none.
func grantPlaces(method *claviger.AuthMethod, settings map[string]string) []string {
	if method == nil || method.OAuth == nil {
		return nil
	}
	return method.OAuth.Places(func(name string) (string, bool) {
		value, ok := settings[name]
		return value, ok
	})
}

// within reports whether all places of the shape are among those that a credential was
// given for, which is bound to them.
func (s *shape) within(bound string) bool {
	if bound == s.place {
		return true
	}
	given, wanted := strings.Fields(bound), strings.Fields(s.place)
	return len(given) > 1 && slices.Equal(given[:2], wanted[:2]) && among(wanted[2:], given[2:])
}

func among(wanted, given []string) bool {
	return !slices.ContainsFunc(wanted, func(place string) bool { return !slices.Contains(given, place) })
}

// grantMoved refuses to send the secrets of a connection's grant to where they were not
// given for, while it is refreshed or revoked; nil if they are not.
func grantMoved(conn *claviger.Connection, method *claviger.AuthMethod) *claviger.Error {
	given := strings.Fields(conn.Destination)
	if among(grantPlaces(method, conn.Settings), given[min(2, len(given)):]) {
		return nil
	}
	return claviger.Errorf(claviger.KindConflict, "destination_changed",
		"The connector now sends the tokens of %s to another host than they were given for. Connect again to approve of it.", conn.Connector)
}
