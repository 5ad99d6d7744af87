package hookverify

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"claviger"
)

// fillSettings puts values into every text of a document. It goes by way of JSON, whose
// escapes keep a value inside its string.
func fillSettings(doc document, given map[string]string) (document, error) {
	data, err := json.Marshal(doc)
	if err != nil {
		return doc, err
	}
	filled := settingHole.ReplaceAllStringFunc(string(data), func(hole string) string {
		value := given[settingHole.FindStringSubmatch(hole)[1]]
		if value == "" {
			return hole
		}
		quoted, _ := json.Marshal(value) // strings always encode
		return string(quoted[1 : len(quoted)-1])
	})
	var out document
	return out, json.Unmarshal([]byte(filled), &out)
}

// For answers the scheme that a webhook slot's method and variables mean:
//
//	any method with scheme   that scheme, its settings taken from the variables
//	apikey                   headerName: if it is the signature header of a known scheme,
//	                         that scheme with the key as its secret; else the header is
//	                         compared with the key, after prefix if there is one
//	bearerToken, basic       Authorization
//	queryParam               paramName is compared with the value
//	hmac                     algorithm, signatureHeader, signaturePrefix, encoding,
//	                         timestampHeader, timestampUnit, signedString, tolerance
//	oidc                     openIdConfigUrl, clientId, expectedIssuer, algorithms
//	certificate              the certificate of TLS, which the front end checks
//
// Everything else is refused: a webhook without proof is open to everybody.
func (s *Set) For(method string, variables map[string]string) (*Scheme, error) {
	if key := variables["scheme"]; key != "" {
		scheme, ok := s.schemes[key]
		if !ok {
			return nil, claviger.Invalid("variables.scheme", "unknown_scheme", "There is no webhook scheme of that name; docs/webhooks.md lists them.")
		}
		return scheme.With(variables)
	}
	doc := document{Key: "custom", Name: "custom", Kind: KindToken, Secret: secretRule{Label: "secret"}}
	switch method {
	case "apikey":
		return s.forAPIKey(doc, variables)
	case "bearerToken":
		doc.Signature = signatureRule{From: "header:Authorization", Prefix: "Bearer "}
	case "basic":
		doc.Kind, doc.Signature.From = KindBasic, "header:Authorization"
	case "queryParam":
		if variables["paramName"] == "" {
			return nil, missingVariable("paramName", method)
		}
		doc.Signature.From = "query:" + variables["paramName"]
	case "hmac":
		return s.forHMAC(doc, variables)
	case "oidc":
		return forOIDC(doc, variables)
	case "certificate":
		doc.Kind = KindCertificate
	default:
		return nil, claviger.Invalid("method", "not_verifiable", "A webhook slot needs a method that proves where a delivery comes from: apikey, hmac, bearerToken, basic, queryParam, oidc or certificate.")
	}
	return custom(doc)
}

func missingVariable(name, method string) error {
	return claviger.Invalid("variables."+name, "missing_variable", "A webhook slot of method %s needs %s.", method, name)
}

// custom compiles what a slot says.
func custom(doc document) (*Scheme, error) {
	s, err := compile(doc)
	if err != nil {
		return nil, claviger.Invalid("variables", "invalid_variable", "The webhook slot's variables do not make a scheme: %v.", err)
	}
	return s, nil
}

// headerName answers a header's name, or nothing if it is none.
func headerName(s string) string {
	if s == "" || len(s) > 100 || strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		return ""
	}
	return http.CanonicalHeaderKey(s)
}

func (s *Set) forAPIKey(doc document, variables map[string]string) (*Scheme, error) {
	name := headerName(variables["headerName"])
	if name == "" {
		return nil, missingVariable("headerName", "apikey")
	}
	known, err := s.byHeader(name, variables)
	if known != nil || err != nil {
		return known, err
	}
	doc.Signature = signatureRule{From: "header:" + name, Prefix: variables["prefix"]}
	return custom(doc)
}

// byHeader answers the scheme whose signature stands in a header. Where vendors share a
// header and sign in different ways, a guess would refuse genuine deliveries: the slot
// must say which.
func (s *Set) byHeader(name string, variables map[string]string) (*Scheme, error) {
	if owner := s.headers[name]; owner != nil {
		return owner, nil
	}
	var found []*Scheme
	for _, key := range s.keys {
		x := s.schemes[key]
		signs := !slices.Contains([]Kind{KindToken, KindBasic, KindCertificate}, x.Kind) && name != "Authorization"
		if signs && slices.ContainsFunc(x.places()[:1+len(x.also)], func(r ref) bool { return r.source == "header" && r.name == name }) {
			found = append(found, x)
		}
	}
	if len(found) == 0 {
		return nil, nil
	}
	for _, x := range found {
		if x.recipe() != found[0].recipe() {
			return nil, claviger.Invalid("variables.scheme", "ambiguous_scheme", "Several vendors sign in %s, each in its own way: say which in variables.scheme (%s).", name, strings.Join(schemeKeys(found), ", "))
		}
	}
	return found[0].With(variables)
}

func schemeKeys(schemes []*Scheme) (out []string) {
	for _, x := range schemes {
		out = append(out, x.Key)
	}
	return out
}

// recipe is the same for schemes that verify alike.
func (s *Scheme) recipe() string {
	d := s.doc
	g := d.Signature
	g.Also = nil
	data, _ := json.Marshal([]any{d.Kind, d.Algorithm, d.Algorithms, d.Secret.Encoding, d.Secret.Prefix, g, d.Signed, d.Timestamp, d.Require}) // plain values always encode
	return string(data)
}

func (s *Set) forHMAC(doc document, variables map[string]string) (*Scheme, error) {
	name := headerName(variables["signatureHeader"])
	if name == "" {
		return nil, missingVariable("signatureHeader", "hmac")
	}
	algorithm := strings.NewReplacer("hmac", "", "-", "", "_", "").Replace(strings.ToLower(variables["algorithm"]))
	if algorithm == "" {
		algorithm = "sha256"
	}
	explicit := slices.ContainsFunc([]string{"signaturePrefix", "timestampHeader", "signedString", "encoding"}, func(k string) bool { return variables[k] != "" })
	if known, err := s.byHeader(name, variables); err == nil && known != nil && !explicit && known.doc.Algorithm == algorithm {
		return known, nil
	}
	doc.Kind, doc.Algorithm = KindHMAC, algorithm
	doc.Signature = signatureRule{From: "header:" + name, Prefix: variables["signaturePrefix"], Encoding: "hex"}
	if e := variables["encoding"]; e != "" {
		doc.Signature.Encoding = e
	}
	doc.Signed = "${body}"
	if at := variables["timestampHeader"]; at != "" {
		if at = headerName(at); at == "" {
			return nil, claviger.Invalid("variables.timestampHeader", "invalid_variable", "timestampHeader is no name of a header.")
		}
		tolerance, err := parseTolerance(variables["tolerance"])
		if err != nil {
			return nil, err
		}
		doc.Signed = "${timestamp}.${body}"
		doc.Timestamp = &timestampRule{From: "header:" + at, Unit: "seconds", Tolerance: tolerance}
		if u := variables["timestampUnit"]; u != "" {
			doc.Timestamp.Unit = u
		}
	}
	if signed := variables["signedString"]; signed != "" {
		doc.Signed = signed
	}
	out, err := custom(doc)
	if err == nil && !out.BodySigned() {
		return nil, claviger.Invalid("variables.signedString", "invalid_variable", "signedString must hold ${body}, or anybody could change what a delivery says.")
	}
	return out, err
}

// parseTolerance reads a number of seconds or a duration; none means the default, and
// never "any time".
func parseTolerance(s string) (time.Duration, error) {
	if s == "" {
		return DefaultTolerance, nil
	}
	if strings.Trim(s, "0123456789") == "" {
		s += "s"
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < time.Second || d > MaxTolerance {
		return 0, claviger.Invalid("variables.tolerance", "invalid_variable", "tolerance is from 1 to 3600 seconds.")
	}
	return d, nil
}

func forOIDC(doc document, variables map[string]string) (*Scheme, error) {
	address, audience := variables["openIdConfigUrl"], variables["clientId"]
	if audience == "" {
		return nil, missingVariable("clientId", "oidc")
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, claviger.Invalid("variables.openIdConfigUrl", "invalid_variable", "openIdConfigUrl is the https address of an OpenID configuration.")
	}
	if v := variables["validateSignature"]; v != "" && v != "true" {
		return nil, claviger.Invalid("variables.validateSignature", "not_verifiable", "A webhook's token is always verified; leave validateSignature out.")
	}
	issuer := variables["expectedIssuer"]
	if issuer == "" {
		issuer = strings.TrimSuffix(strings.TrimSuffix(address, "/.well-known/openid-configuration"), "/")
	}
	algorithms := []string{"RS256"}
	if list := strings.FieldsFunc(variables["algorithms"], func(c rune) bool { return strings.ContainsRune(`,[]" `, c) }); len(list) > 0 {
		algorithms = list
	}
	if slices.ContainsFunc(algorithms, func(a string) bool { return strings.HasPrefix(a, "HS") || a == "none" }) {
		return nil, claviger.Invalid("variables.algorithms", "invalid_variable", "A published key verifies RS256, ES256 and their kin, never HS256 or none.")
	}
	doc.Kind, doc.Algorithms = KindJWT, algorithms
	doc.Signature = signatureRule{From: "header:Authorization", Prefix: "Bearer "}
	doc.Claims = claimRules{Issuer: []string{issuer}, Audience: audience, Expiry: true}
	doc.Keys = keyRule{URL: address, Form: FormDiscovery}
	return custom(doc)
}
