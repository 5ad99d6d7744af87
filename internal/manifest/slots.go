package manifest

import (
	"net/url"
	"slices"
	"strings"

	"claviger"
	"claviger/internal/document"
)

// slotPlace is a slot with the places of its entry and of its credential.
type slotPlace struct {
	Slot
	at, credential place
	single         bool // it is the single authentication block
}

func (c *validator) slots(root place) []slotPlace {
	var places []slotPlace
	if a := root.get("authentication"); c.bundle.System.Authentication != nil {
		places = append(places, slotPlace{at: a, credential: a, single: true})
	}
	for _, p := range root.get("authentications").items() {
		places = append(places, slotPlace{at: p, credential: p.get("credential")})
	}
	slots := c.bundle.System.Slots()
	if len(slots) != len(places) {
		return nil // the schema has told why
	}
	for i := range places {
		places[i].Slot = slots[i]
	}
	return places
}

func (c *validator) checkSlots(root place) {
	seen := map[string]bool{}
	byUsage := map[claviger.Usage][]slotPlace{}
	for _, s := range c.slots(root) {
		if seen[s.Key] && s.Key != "" {
			hint := "give each slot a key of its own"
			if s.Key == DefaultSlot {
				hint = "the single authentication block is the slot default; move it into authentications"
			}
			c.fail(s.at.get("key"), CodeDuplicate, hint, "", "the slot %s is there twice", document.Quote(s.Key))
		}
		seen[s.Key] = true
		byUsage[s.Usage] = append(byUsage[s.Usage], s)
		c.checkSlot(s)
	}
	for _, usage := range claviger.Usages() {
		c.checkDefaults(usage, byUsage[usage])
	}
}

func (c *validator) checkDefaults(usage claviger.Usage, slots []slotPlace) {
	marked, named := 0, false
	for _, s := range slots {
		named = named || s.Key == DefaultSlot
		if s.Default {
			if marked++; marked > 1 {
				c.fail(s.at.get("default"), CodeDefault, "mark one", "", "the usage %s has another default", usage)
			}
		}
	}
	if len(slots) > 1 && marked == 0 && !named {
		c.warn(slots[1].at, CodeDefault, "mark one with default: true", "", "the usage %s has %d slots and none is the default; the first serves it", usage, len(slots))
	}
}

func (c *validator) checkSlot(s slotPlace) {
	switch s.AuthType {
	case AuthProvider:
		if s.APIProviderKey == "" {
			c.fail(s.at.get("apiProviderKey"), CodeMissing, "", "", "apiProviderKey is required where authType is apiProvider")
		}
	case AuthCredential:
		if s.Credential == nil {
			c.fail(s.at.get("credential"), CodeMissing, "", "", "credential is required where authType is credential")
			return
		}
	}
	if s.AuthType != AuthCredential && s.Credential != nil && s.at.has("credential") {
		c.warn(s.at.get("credential"), CodeValue, "remove it", "", "the credential is not used where authType is %s", s.AuthType)
	}
	if s.AuthType != AuthProvider && s.APIProviderKey != "" {
		c.warn(s.at.get("apiProviderKey"), CodeValue, "remove it", "", "apiProviderKey is not used where authType is %s", s.AuthType)
	}
	if s.AuthType == AuthNone && inbound(s.Usage) {
		c.fail(s.at.get("authType"), CodeMethodUsage, "use hmac, oidc, apikey, bearerToken or basic", "", "a slot of usage %s that checks nothing lets anybody in", s.Usage)
	}
	background := s.Usage == claviger.UsageSyncExecution || s.Usage == claviger.UsageWebhookInbound
	if background && s.Delegated() {
		at, repair := s.credential.get("method"), ""
		if s.Usage == claviger.UsageSyncExecution {
			repair = c.repair("--slots")
		}
		if s.AuthType == AuthProvider {
			at, repair = s.at.get("authType"), ""
		} else if v := s.credential.get("variables").get("grantType"); v.node != nil {
			at = v
		}
		c.fail(at, CodeDelegated, "use client credentials, an API key or another credential of a service", repair, "a person's grant cannot serve %s", s.Usage)
	}
	if s.AuthType == AuthCredential || s.single {
		c.checkMethod(s)
	}
}

func (c *validator) checkMethod(s slotPlace) {
	rule, known := methodRules[s.Credential.Method]
	method := s.credential.get("method")
	if !known {
		return // the schema has told
	}
	switch {
	case inbound(s.Usage) && !rule.inward:
		c.fail(method, CodeMethodUsage, "use hmac, oidc, apikey, bearerToken or basic", "", "%s cannot check what comes in", s.Credential.Method)
		return
	case !inbound(s.Usage) && !rule.outward:
		c.warn(method, CodeMethodUsage, "", c.repairAuth(s), "%s checks what comes in; calls cannot be made through this slot", s.Credential.Method)
	}
	variables := s.credential.get("variables")
	for _, name := range rule.required(s.Usage) {
		if !variables.has(name) && !(inbound(s.Usage) && variables.has("scheme")) {
			c.fail(variables.get(name), CodeMissing, "", "", "the method %s needs the variable %s", s.Credential.Method, name)
		}
	}
	if variables.node != nil {
		for _, m := range variables.node.Members {
			known := rule.has(m.Key) || inbound(s.Usage) && variables.has("scheme") && slices.Contains(schemeSettings, m.Key) || inbound(s.Usage) && m.Key == senders
			if !known && systemVariable(m.Key) {
				c.warn(variables.member(m), CodeUnknown, "remove it", c.repairAuth(s), "the method %s has no use for %s", s.Credential.Method, m.Key)
			}
		}
	}
	c.checkSecurity(s, rule)
	c.checkAddresses(s, variables)
	for _, item := range variables.get(senders).items() {
		if _, ok := claviger.ParseAddressRange(item.text()); !ok {
			c.fail(item, CodeValue, "write 192.0.2.7 or 192.0.2.0/24", "", "%s holds what is no address or range", senders)
		}
	}
	for _, name := range []string{"prefix", "signaturePrefix", "audience", "expectedIssuer", "appId", "serviceAccount", "webhookId"} {
		if v := variables.get(name); strings.Contains(v.text(), "${") {
			c.fail(v, CodeValue, "write the value out", "", "%s must not have holes", name)
		}
	}
}

// repairAuth answers the command that sets a default api slot to its own method
// again, which drops what does not belong to it.
func (c *validator) repairAuth(s slotPlace) string {
	if def, ok := c.bundle.System.Slot(claviger.UsageAPI); !ok || def.Key != s.Key {
		return ""
	}
	method := s.Credential.Method
	if !methodRules[method].outward {
		method = MethodAPIKey
	}
	return c.repair("--auth " + string(method))
}

func systemVariable(name string) bool {
	return systemSchema().root.Get("$defs").Get("variables").Get("properties").Get(name) != nil
}

func (c *validator) checkSecurity(s slotPlace, rule methodRule) {
	security := s.credential.get("security")
	bearer := s.Credential.Method == MethodBearer
	has := func(name string) bool {
		return security.has(name) || bearer && slices.ContainsFunc(bearerNames, security.has)
	}
	for _, name := range rule.security {
		if !has(name) {
			c.fail(security.get(name), CodeMissing, claviger.SecretScheme+c.key+"/"+name, c.repairAuth(s), "the method %s needs a reference for %s", s.Credential.Method, name)
		}
	}
	if security.node == nil {
		return
	}
	for _, m := range security.node.Members {
		if !slices.Contains(rule.security, m.Key) && !(bearer && slices.Contains(bearerNames, m.Key)) {
			if document.KnownSecret(m.Key) || document.RandomRun(m.Key) {
				continue
			}
			c.warn(security.member(m), CodeUnknown, "remove it", c.repairAuth(s), "the method %s has no use for the secret %s", s.Credential.Method, document.Quote(m.Key))
		}
	}
}

func (c *validator) checkAddresses(s slotPlace, variables place) {
	base := c.address(variables.get("baseUrl"))
	for _, name := range []string{"tokenUrl", "authorizationUrl", "openIdConfigUrl"} {
		c.address(variables.get(name))
	}
	if v := s.Credential.Variables; s.Delegated() && v.TokenURL != "" && v.authorizeURL() == "" {
		c.fail(variables.get("authorizationUrl"), CodeMissing, "or grantType: client_credentials", "", "a person's grant needs authorizationUrl, where people are sent to")
	}
	test := variables.get("testEndpoint")
	if test.node == nil || base == nil {
		return
	}
	if _, ok := testPath(base, test.text()); !ok {
		c.fail(test, CodeValue, "a path such as /me, or an address that begins with baseUrl", "", "the test endpoint does not lie below baseUrl, so that the credential would travel elsewhere")
	}
}

// defaultTest is where a system is asked whether it is well unless it says where.
const defaultTest = "/health"

// testPath answers the test endpoint as a path and query below the base address.
func testPath(base *url.URL, test string) (below string, ok bool) {
	if test == "" {
		return defaultTest, true
	}
	if strings.ContainsAny(test, "{}$\\`<>\"#") {
		return "", false
	}
	below = test
	if strings.Contains(test, "://") {
		prefix := strings.TrimSuffix(base.String(), "/")
		if below, ok = strings.CutPrefix(test, prefix); !ok {
			return "", false
		}
	}
	u, err := url.Parse(below)
	if err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(below, "/") || strings.HasPrefix(below, "//") || u.EscapedPath() != cleanPath(u.EscapedPath()) {
		return "", false
	}
	return below, true
}

// cleanPath answers the path without dot and empty segments, which some servers
// would resolve to a place above the base.
func cleanPath(p string) string {
	segments := strings.Split(p, "/")
	kept := segments[:0:0]
	for i, s := range segments {
		if s == "." || s == ".." || s == "" && i > 0 && i < len(segments)-1 || strings.Contains(strings.ToLower(s), "%2") {
			continue
		}
		kept = append(kept, s)
	}
	return strings.Join(kept, "/")
}
