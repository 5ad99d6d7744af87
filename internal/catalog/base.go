package catalog

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"claviger"
	"claviger/internal/document"
)

// base compiles baseUrl and allowedHosts: where this connector's credentials may
// travel. The host is checked as the template's text, label by label, so that no
// value of a variable can reach past the label it fills.
func (c *checker) base(o object, conn *claviger.Connector) {
	for i, host := range o.texts("allowedHosts", 32) {
		if !hostPattern(host) && !c.openedName(host) {
			c.fault(o.n.Get("allowedHosts").Items[i], index("allowedHosts", i), CodeHost, `an exact host, or "*." and a name of its owner, in lower case`, "%s is not accepted as a host", document.Quote(host))
		}
		conn.AllowedHosts = append(conn.AllowedHosts, host)
	}
	conn.BaseURL = c.address(o.need("baseUrl"), "baseUrl", conn)
}

// address compiles a base URL, the connector's or that of one method.
func (c *checker) address(n *document.Node, at string, conn *claviger.Connector) claviger.Template {
	none := claviger.Template{}
	if n == nil || !c.is(n, at, document.String) {
		return none
	}
	text := strings.TrimSuffix(n.Text, "/")
	t := c.template(&document.Node{Kind: document.String, Line: n.Line, Column: n.Column, Text: text}, at, c.variableName)
	host, ok := c.https(n, at, text)
	if !ok {
		return none
	}
	c.covered(n, at, host, conn)
	return t
}

// https checks the parts of an address and answers its host.
func (c *checker) https(n *document.Node, at, text string) (host string, ok bool) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok || scheme != "https" && scheme != "http" {
		c.fault(n, at, CodeHost, "start with https://", "must be an https address")
		return "", false
	}
	authority, path := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	if path != "" {
		c.path(n, at, path)
		c.positions(path, n, at)
	}
	if host, ok = c.authority(n, at, authority); ok {
		c.plainHTTP(n, at, scheme, host)
	}
	return host, ok
}

// plainHTTP refuses the scheme http unless the operator opened the host.
func (c *checker) plainHTTP(n *document.Node, at, scheme, host string) {
	if scheme == "http" && !c.opened(host) {
		c.fault(n, at, CodeHost, "use https, or let the operator open the host with CLAVIGER_EGRESS_ALLOW", "plain http is not open for this host")
	}
}

// opened reports whether the operator opened a host that is written out.
func (c *checker) opened(host string) bool {
	return c.opts.AllowPlain != nil && !strings.Contains(host, "${") && c.opts.AllowPlain(host)
}

// openedName reports whether the operator opened a name that only its own network
// knows, such as localhost or that of a container.
func (c *checker) openedName(host string) bool { return dnsName(host) && c.opened(host) }

// authority takes the host out of host[:port] and checks the port.
func (c *checker) authority(n *document.Node, at, authority string) (host string, ok bool) {
	if strings.ContainsAny(authority, `@?#\%`) {
		c.fault(n, at, CodeHost, "only a host and a port before the path", "must not have a user, a query or a fragment")
		return "", false
	}
	host, port := authority, ""
	if v6, rest, found := strings.Cut(strings.TrimPrefix(authority, "["), "]"); found && authority[0] == '[' {
		host, port = v6, rest
		if port != "" && port[0] != ':' {
			host = ""
		}
		port = strings.TrimPrefix(port, ":")
	} else if i := strings.LastIndexByte(authority, ':'); i >= 0 {
		host, port = authority[:i], authority[i+1:]
		if port == "" {
			host = ""
		}
	}
	if p, err := strconv.Atoi(port); port != "" && (err != nil || p < 1 || p > 65535 || strconv.Itoa(p) != port) {
		c.fault(n, at, CodeHost, "a decimal number, no variable", "the port is not valid")
		return "", false
	}
	if host == "" {
		c.fault(n, at, CodeHost, "", "the host is missing")
		return "", false
	}
	return host, true
}

// covered checks the host, with its variables, against allowedHosts.
func (c *checker) covered(n *document.Node, at, host string, conn *claviger.Connector) {
	if name, ok := wholeHole(host); ok {
		c.wholeHost(n, at, c.variables[name], conn)
		return
	}
	sample, literal, ok := c.labels(n, at, host)
	if !ok {
		return
	}
	if literal && conn.AllowedHosts == nil {
		conn.AllowedHosts = []string{host}
	}
	if !literal && !coversPattern(sample, conn.AllowedHosts) || !hostAllowed(sample, conn.AllowedHosts) {
		c.fault(n, at, CodeHost, "add it to allowedHosts", "allowedHosts does not cover the host of baseUrl")
	}
}

// labels checks a host label by label and answers an example of it, in which "x"
// stands for each variable; literal tells that it has none.
func (c *checker) labels(n *document.Node, at, host string) (sample string, literal, ok bool) {
	labels, written := strings.Split(host, "."), 0
	probe := make([]string, len(labels))
	for i, label := range labels {
		probe[i] = label
		if !strings.Contains(label, "${") {
			written++
			continue
		}
		name, whole := wholeHole(label)
		v := c.variables[name]
		if !whole || v == nil || v.Type == claviger.VariableHostname || v.Type == claviger.VariablePathSegment {
			c.fault(n, at, CodeHost, "use a variable of type hostLabel, uuid or enum, between dots", "a variable in the host must fill one whole label")
			return "", false, false
		}
		for _, value := range v.Values {
			if !hostLabel(value) {
				c.fault(n, at, CodeHost, "", "the variable %s stands in the host, but one of its values is no host label", document.Quote(name))
				return "", false, false
			}
		}
		probe[i] = "x"
	}
	literal = written == len(labels)
	fixed := labels[max(0, len(labels)-2):]
	if publicSuffix(strings.Join(fixed, ".")) { // the vendor's own name is one label more
		fixed = labels[max(0, len(labels)-3):]
	}
	if !literal && (written < 2 || strings.Contains(strings.Join(fixed, "."), "${")) {
		c.fault(n, at, CodeHost, "", "the last two labels of the host must be written out, and be a name of the vendor's own")
		return "", false, false
	}
	if sample = strings.Join(probe, "."); !plainHost(sample) && !(literal && c.openedName(sample)) {
		c.fault(n, at, CodeHost, "a full name in lower case", "the host is not valid")
		return "", false, false
	}
	return sample, literal, true
}

// wholeHost checks a host that is one variable. A hostname is pinned to each
// connection when it is made; an enum brings its hosts along.
func (c *checker) wholeHost(n *document.Node, at string, v *claviger.Variable, conn *claviger.Connector) {
	switch {
	case v == nil: // reported by the template
	case v.Type == claviger.VariableEnum:
		for _, value := range v.Values {
			if !plainHost(value) {
				c.fault(n, at, CodeHost, "", "the variable %s is the host, but one of its values is no host name", document.Quote(v.Key))
			} else if conn.AllowedHosts != nil && !hostAllowed(value, conn.AllowedHosts) {
				c.fault(n, at, CodeHost, "add it to allowedHosts", "allowedHosts does not cover %s", document.Quote(value))
			}
		}
		if conn.AllowedHosts == nil {
			conn.AllowedHosts = v.Values
		}
	case v.Type != claviger.VariableHostname:
		c.fault(n, at, CodeHost, "use a variable of type hostname or enum", "the whole host cannot be a variable of this type")
	}
}

// coversPattern reports whether a wildcard, not only an exact host, covers a host
// with variables.
func coversPattern(host string, patterns []string) bool {
	for _, p := range patterns {
		if strings.HasPrefix(p, "*.") && hostAllowed(host, []string{p}) {
			return true
		}
	}
	return false
}

// wholeHole answers the name if s is one bare hole and nothing else.
func wholeHole(s string) (name string, ok bool) {
	t, err := claviger.ParseTemplate(s)
	if err != nil {
		return "", false
	}
	return t.Hole()
}

// path checks the literal text of a path template: absolute, canonical, without
// dot segments, query, fragment and escapes.
func (c *checker) path(n *document.Node, at, text string) {
	literal := text
	for {
		i := strings.Index(literal, "${")
		j := strings.IndexByte(literal[max(i, 0):], '}')
		if i < 0 || j < 0 {
			break
		}
		literal = literal[:i] + "x" + literal[i+j+1:]
	}
	if !strings.HasPrefix(literal, "/") {
		c.fault(n, at, CodeValue, "for example /users/me", "a path must begin with /")
		return
	}
	for segment := range strings.SplitSeq(literal[1:], "/") {
		if segment == "." || segment == ".." || segment == "" && literal != "/" && !strings.HasSuffix(literal, "/") {
			c.fault(n, at, CodeValue, "", "a path must not have empty or dot segments")
			return
		}
	}
	if strings.Contains(literal, "//") {
		c.fault(n, at, CodeValue, "", "a path must not have empty or dot segments")
		return
	}
	for i := range len(literal) {
		if c0 := literal[i]; c0 != '/' && !unreserved(c0) && strings.IndexByte("!$&'()*+,=:@", c0) < 0 {
			c.fault(n, at, CodeValue, "parameters belong in query", "a path must not have the character %s", document.Quote(string(rune(c0))))
			return
		}
	}
}

// positions checks that the variables of a path are of types that fit a path.
func (c *checker) positions(path string, n *document.Node, at string) {
	inPath, err := claviger.ParseTemplate(path)
	if err != nil {
		return // reported for the whole
	}
	for _, name := range inPath.Names() {
		if v := c.variables[name]; v != nil && v.Type == claviger.VariableHostname {
			c.fault(n, at, CodeTemplate, "use pathSegment", "%s is a host name and cannot stand in a path", document.Quote(name))
		}
	}
}

// unreserved is the set of RFC 3986, section 2.3.
func unreserved(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("-._~", c) >= 0
}

// pathSegment reports whether s is one path segment that needs no escaping and is
// no dot segment.
func pathSegment(s string) bool {
	if s == "" || len(s) > 256 || s == "." || s == ".." {
		return false
	}
	for i := range len(s) {
		if !unreserved(s[i]) {
			return false
		}
	}
	return true
}

// Base answers the base URL of a connector for the given settings, which
// [CheckSettings] has accepted: scheme, host, port and path, without a trailing
// slash. The result is parsed from its text and its host compared with what the
// connector declares; anything else is an *Error of KindInvalid. An address that waits
// for what is discovered after connecting ([claviger.Connector.For]) has no host yet.
func Base(conn *claviger.Connector, settings map[string]string) (*url.URL, error) {
	if undiscovered(conn, settings) {
		return &url.URL{Scheme: "https"}, nil
	}
	var bad error
	text, err := conn.BaseURL.Render(func(name string) (string, bool) {
		for i := range conn.Variables {
			v := &conn.Variables[i]
			if v.Key != name {
				continue
			}
			value := settings[name]
			if value == "" {
				value = v.Default
			}
			if !fits(v, value) && bad == nil {
				bad = settingFault(v, value)
			}
			return value, true
		}
		return "", false
	}, nil)
	if bad != nil {
		return nil, bad
	}
	if err != nil {
		return nil, claviger.Invalid("settings", "invalid_format", "The connector's address needs a setting that is missing.").With(err)
	}
	u, err := url.Parse(text)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" || !declared(conn, u) ||
		!plainHost(u.Hostname()) && !slices.Contains(conn.AllowedHosts, u.Hostname()) {
		return nil, claviger.Invalid("settings", "invalid_format", "The settings do not make a valid address of this connector.")
	}
	return u, nil
}

// undiscovered reports whether the address names a variable that is still to be
// discovered.
func undiscovered(conn *claviger.Connector, settings map[string]string) bool {
	return slices.ContainsFunc(conn.Variables, func(v claviger.Variable) bool {
		return v.Discovered && settings[v.Key] == "" && slices.Contains(conn.BaseURL.Names(), v.Key)
	})
}

// declared reports whether a rendered base URL lies where the document says.
func declared(conn *claviger.Connector, u *url.URL) bool {
	text := conn.BaseURL.String()
	scheme, _, _ := strings.Cut(text, "://")
	if u.Scheme != scheme {
		return false
	}
	return hostAllowed(u.Hostname(), conn.AllowedHosts) || len(conn.AllowedHosts) == 0 && pinnedHost(conn)
}

// pinnedHost reports whether the whole host is a variable of type hostname.
func pinnedHost(conn *claviger.Connector) bool {
	_, rest, _ := strings.Cut(conn.BaseURL.String(), "://")
	for i := range conn.Variables {
		v := &conn.Variables[i]
		hole, tail := "${"+v.Key+"}", ""
		if v.Type == claviger.VariableHostname && strings.HasPrefix(rest, hole) {
			tail = rest[len(hole):]
			return tail == "" || tail[0] == '/' || tail[0] == ':'
		}
	}
	return false
}
