package catalog

import (
	"slices"
	"time"

	"claviger"
)

// assertions compiles how assertions are made and tokens are exchanged.
func (c *checker) assertions(o object, out *claviger.OAuth) {
	if a, ok := c.object(o.n.Get("assertion"), o.at("assertion"), "scopeClaim", "lifetime", "backdate"); ok {
		out.Assertion = claviger.OAuthAssertion{
			ScopeClaim: a.text("scopeClaim", 64), Lifetime: a.duration("lifetime", time.Hour), Backdate: a.duration("backdate", 5*time.Minute),
		}
		if slices.Contains([]string{"iss", "sub", "aud", "jti", "iat", "exp", "nbf"}, out.Assertion.ScopeClaim) {
			c.fault(a.n.Get("scopeClaim"), a.at("scopeClaim"), CodeValue, "for example scope", "that claim has a meaning of its own")
		}
		if out.Grant != claviger.GrantJWTBearer && out.Grant != claviger.GrantInstallation {
			c.fault(a.n, a.path, CodeValue, "remove it", "assertion belongs to the grants jwtBearer and installation")
		}
	}
	if x, ok := c.object(o.n.Get("exchange"), o.at("exchange"), "subjectType", "actorType", "requestedType", "audience"); ok {
		out.Exchange = claviger.OAuthExchange{
			SubjectType: x.text("subjectType", 255), ActorType: x.text("actorType", 255), RequestedType: x.text("requestedType", 255),
			Audience: c.plainTemplate(x, "audience"),
		}
		if out.Grant != claviger.GrantTokenExchange {
			c.fault(x.n, x.path, CodeValue, "remove it", "exchange belongs to the grant tokenExchange")
		}
	}
}

// oauthFit checks that the parts of the section belong together.
func (c *checker) oauthFit(o object, out *claviger.OAuth) {
	discovered := !out.Issuer.Empty()
	need := func(key string, t claviger.Template, why string) {
		if t.Empty() && !discovered {
			c.fault(o.n, o.at(key), CodeMissing, "or an issuer, from which it is discovered", "%s is required: %s", key, why)
		}
	}
	need("tokenUrl", out.Endpoints.Token, "tokens come from there")
	switch out.Grant {
	case claviger.GrantAuthorizationCode:
		need("authorizeUrl", out.Endpoints.Authorize, "people are sent there")
	case claviger.GrantDevice:
		need("deviceUrl", out.Endpoints.Device, "the device grant starts there")
	case claviger.GrantClientCredentials:
		if out.ClientAuth == claviger.ClientAuthNone {
			c.fault(o.n.Get("clientAuth"), o.at("clientAuth"), CodeValue, "", "a client without a secret cannot have credentials of its own")
		}
	}
	if out.Grant == claviger.GrantInstallation && out.ClientAuth != claviger.PrivateKeyJWT {
		c.fault(o.n.Get("clientAuth"), o.at("clientAuth"), CodeValue, "private_key_jwt", "an app proves itself for its installations by a signed assertion")
	}
	if out.PAR {
		need("parUrl", out.Endpoints.PushedAuthorization, "par pushes requests there")
	}
	if out.Grant != claviger.GrantAuthorizationCode {
		for _, key := range []string{"pkce", "authorizeUrl", "authorizeParams", "par", "checkIssuer"} {
			if n := o.n.Get(key); n != nil {
				c.fault(n, o.at(key), CodeValue, "remove it", "%s belongs to the grant authorizationCode", key)
			}
		}
	}
	if (out.CheckIssuer || out.OIDC.IDToken || out.OIDC.Nonce) && !discovered {
		c.fault(o.n, o.at("issuer"), CodeMissing, "", "issuer is required: checkIssuer and oidc compare with it")
	}
	if out.OIDC.Nonce && !out.OIDC.IDToken {
		c.fault(o.n.Get("oidc"), o.at("oidc.idToken"), CodeValue, "set idToken: true", "the nonce is found in the id token")
	}
}
