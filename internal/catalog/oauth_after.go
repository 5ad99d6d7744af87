package catalog

import (
	"slices"
	"strings"

	"claviger"
	"claviger/internal/document"
)

// clientName allows the client's id, beside the document's variables, as a template name.
func (c *checker) clientName(name string) string {
	if name == ClientID {
		return ""
	}
	return c.variableName(name)
}

// revoke compiles how a token is ended; "none" says that the vendor has no call.
func (c *checker) revoke(o object, rules *claviger.OAuth) claviger.OAuthRevoke {
	n := o.n.Get("revoke")
	if n == nil {
		return claviger.OAuthRevoke{}
	}
	if n.Kind == document.String && n.Text == "none" {
		if !rules.Endpoints.Revoke.Empty() {
			c.fault(n, o.at("revoke"), CodeValue, "keep one of them", "there is a revokeUrl, so that there is a way to revoke")
		}
		return claviger.OAuthRevoke{}
	}
	r, ok := c.object(n, o.at("revoke"), "method", "token", "tokenParam", "tokenIn", "tokenHeader", "clientAuth", "authorization", "bodyFormat", "params")
	if !ok {
		return claviger.OAuthRevoke{}
	}
	if rules.Endpoints.Revoke.Empty() && rules.Issuer.Empty() {
		c.fault(n, o.at("revoke"), CodeMissing, "add revokeUrl", "there is no address to revoke at")
	}
	out := claviger.OAuthRevoke{
		Method: r.choice("method", false, "POST", "DELETE", "GET"), Token: r.choice("token", false, "access", "refresh"),
		TokenParam: r.text("tokenParam", 64), TokenIn: r.choice("tokenIn", false, "body", "query", "bearer", "header", "path", "none"),
		TokenHeader: r.text("tokenHeader", 100), BodyFormat: r.choice("bodyFormat", false, "form", "json"),
		ClientAuth: claviger.ClientAuth(r.choice("clientAuth", false, "client_secret_basic", "client_secret_post", "private_key_jwt", "tls_client_auth", "none")),
		Authorization: c.template(r.n.Get("authorization"), r.at("authorization"), func(name string) string {
			if name == ClientSecret {
				return "" // it goes to the authorization server, which knows it
			}
			return c.clientName(name)
		}),
	}
	for _, p := range c.params(r, "params", c.clientName) {
		out.Params = append(out.Params, claviger.OAuthParam(p))
	}
	c.revokeFit(r, out)
	return out
}

// revokeFit checks that the parts of the call belong together.
func (c *checker) revokeFit(r object, out claviger.OAuthRevoke) {
	if (out.TokenIn == "header") != (out.TokenHeader != "") {
		c.fault(r.n, r.at("tokenHeader"), CodeMissing, "", "tokenIn: header and tokenHeader belong together")
	}
	if n := r.n.Get("tokenHeader"); n != nil {
		c.headerName(n, r.at("tokenHeader"), out.TokenHeader)
	}
	if n := r.n.Get("authorization"); n != nil {
		c.headerText(n, r.at("authorization"))
		if out.ClientAuth != "" || out.TokenIn == "bearer" {
			c.fault(n, r.at("authorization"), CodeValue, "keep one of them", "the header is filled twice")
		}
		if !slices.Contains(out.Authorization.Names(), ClientSecret) {
			c.fault(n, r.at("authorization"), CodeLiteralSecret, "for example Client ${clientSecret}", "the header names no secret of the client")
		}
	}
	if out.TokenIn == "none" && len(out.Params) == 0 {
		c.fault(r.n, r.at("params"), CodeMissing, "what names the grant, for example {account: \"${accountId}\"}", "a call without the token needs parameters")
	}
}

// maxDiscoveries bounds the steps of one method.
const maxDiscoveries = 8

// discover compiles what becomes known once a person has consented.
func (c *checker) discover(o object, rules *claviger.OAuth) []claviger.Discovery {
	var out []claviger.Discovery
	if n := o.n.Get("discover"); n != nil && rules.Grant != claviger.GrantAuthorizationCode {
		c.fault(n, o.at("discover"), CodeValue, "remove it", "discover belongs to the grant authorizationCode")
	}
	for i, item := range o.list("discover", maxDiscoveries) {
		d, ok := c.object(item, index(o.at("discover"), i), "variable", "from", "path", "param", "url", "scheme")
		if !ok {
			continue
		}
		x := claviger.Discovery{
			Variable: d.needText("variable", 64), From: d.choice("from", true, "token", "callback", "request"), Path: d.jsonPath("path"),
			Param: d.text("param", 64), Scheme: d.text("scheme", 32), URL: c.endpoint(d, "url", true, c.variableName),
		}
		if v := c.variables[x.Variable]; v == nil {
			c.fault(item, d.at("variable"), CodeUnknown, "declare it under variables", "there is no variable %s", document.Quote(x.Variable))
		} else if v.Default != "" {
			c.fault(item, d.at("variable"), CodeValue, "remove the default", "what is discovered has no default")
		}
		if slices.ContainsFunc(out, func(y claviger.Discovery) bool { return y.Variable == x.Variable }) {
			c.fault(item, d.at("variable"), CodeDuplicate, "", "the variable %s is discovered twice", document.Quote(x.Variable))
		}
		if x.Scheme != "" && !tokenChars.MatchString(x.Scheme) {
			c.fault(d.n.Get("scheme"), d.at("scheme"), CodeValue, "for example OAuth", "is no scheme")
		}
		if (x.From == "callback") != (x.Param != "") || (x.From == "callback") == (x.Path != "") || (x.From == "request") != (d.n.Get("url") != nil) || x.Scheme != "" && x.From != "request" {
			c.fault(item, d.path, CodeMissing, "", "token has a path, callback a param, request a url and a path")
		}
		out = append(out, x)
	}
	return out
}

// methodsFit checks that what belongs to single methods fits the rest of the document.
func (c *checker) methodsFit(o object, conn *claviger.Connector) {
	for i := range conn.Variables {
		for _, key := range conn.Variables[i].Methods {
			if _, ok := conn.Method(key); !ok {
				c.fault(o.n.Get("variables").Items[i], index("variables", i)+".methods", CodeUnknown, "", "there is no auth method %s", document.Quote(key))
			}
		}
	}
	for i, item := range o.list("auth", o.c.opts.most(maxAuth)) {
		if i >= len(conn.Auth) || len(c.faults) > 0 {
			return // what follows reads what was compiled
		}
		m, path := &conn.Auth[i], index("auth", i)
		view := conn.For(m.Key)
		for _, name := range view.BaseURL.Names() {
			if !slices.ContainsFunc(view.Variables, func(v claviger.Variable) bool { return v.Key == name }) {
				c.fault(item, join(path, "baseUrl"), CodeTemplate, "name the method under the variable's methods", "the address of this method needs the variable %s, which is of other methods", document.Quote(name))
			}
		}
		if m.OAuth != nil {
			c.discoverFit(item.Get("oauth2"), path+".oauth2", conn, m.OAuth)
		}
	}
}

// discoverFit checks that a value that the vendor chooses cannot lead anywhere but to
// the connector's hosts, that the token is shown to nobody else on the way, and that
// nothing is needed before it is known.
func (c *checker) discoverFit(n *document.Node, path string, conn *claviger.Connector, rules *claviger.OAuth) {
	for i := range rules.Discover {
		d, at := &rules.Discover[i], index(path+".discover", i)
		place := n.Get("discover").Items[i]
		if v := c.variables[d.Variable]; v.Type == claviger.VariableHostname && len(conn.AllowedHosts) == 0 {
			c.fault(place, at, CodeHost, "add allowedHosts", "a host that the vendor tells must be one of allowedHosts, and there are none")
		}
		early := []claviger.Template{rules.Endpoints.Authorize, rules.Endpoints.Token, rules.Endpoints.PushedAuthorization, rules.Issuer}
		for _, t := range early {
			if slices.Contains(t.Names(), d.Variable) {
				c.fault(place, at, CodeTemplate, "use another variable there", "%s is needed before it is discovered", document.Quote(d.Variable))
			}
		}
		if d.From == "request" && !hostAllowed(hostText(d.URL), conn.AllowedHosts) && !slices.Contains(endpointHosts(rules), hostText(d.URL)) {
			c.fault(place, join(at, "url"), CodeHost, "a host of allowedHosts, or that of another address of this section", "the token would go to a host that does not get it otherwise")
		}
	}
}

// endpointHosts answers the hosts, as they are written, of a grant's addresses.
func endpointHosts(rules *claviger.OAuth) []string {
	e := &rules.Endpoints
	var out []string
	for _, t := range []claviger.Template{e.Authorize, e.Token, e.Refresh, e.Userinfo} {
		if !t.Empty() {
			out = append(out, hostText(t))
		}
	}
	return out
}

// hostText answers the host of an address as it is written, variables and all.
func hostText(t claviger.Template) string {
	_, rest, _ := strings.Cut(t.String(), "://")
	host, _, _ := strings.Cut(rest, "/")
	return host
}
