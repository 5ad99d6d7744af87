package acme

import "fmt"

// Document answers the vendor's connector under the given key, as JSON. Its auth
// methods are key (a header), query, cookie, bearer, basic and custom (two headers and
// a member of the body); key's test reads scopes.
func (v *Vendor) Document(key string) []byte {
	return DocumentAt(key, "http://"+v.Addr()+Base, "127.0.0.1")
}

// DocumentAt is [Vendor.Document] for another base URL and host.
func DocumentAt(key, base, host string) []byte {
	method := func(key, kind, field, inject string) string {
		probe := `"method":"GET"`
		if key == "custom" {
			probe = `"method":"POST","body":{}`
		}
		return fmt.Sprintf(`{"key":%[1]q,"type":%[2]q,"label":%[1]q,"fields":[%[3]s],"inject":[%[4]s],
			"test":{%[5]s,"path":"/me","expectStatus":[200],"account":{"id":"$.id","name":"$.name"}},"permissions":"none"}`, key, kind, field, inject, probe)
	}
	secret := func(name string) string {
		return fmt.Sprintf(`{"key":%q,"label":%[1]q,"secret":true,"required":true}`, name)
	}
	return fmt.Appendf(nil, `{"key":%q,"name":"Acme CRM","kind":"http","baseUrl":%q,"allowedHosts":[%q],"auth":[
	{"key":"key","type":"apiKey","label":"API key","fields":[{"key":"apiKey","label":"API key","secret":true,"required":true,"pattern":"^ak_[A-Za-z0-9+/=_\" -]{8,}$"}],
	 "inject":[{"in":"header","name":"X-API-Key","value":"${apiKey}"}],
	 "test":{"method":"GET","path":"/me","expectStatus":[200],"account":{"id":"$.id","name":"$.name"}},
	 "permissions":{"from":"header","name":"X-Scopes","separator":",","required":["contacts.read"]}},
	%s,%s,%s,%s,%s],
	"actions":[
	 {"key":"list-contacts","name":"List contacts","readOnly":true,
	  "input":{"type":"object","properties":{"limit":{"type":"integer","minimum":1}},"additionalProperties":false},
	  "request":{"method":"GET","path":"/contacts","query":{"limit":"${input.limit}"}}},
	 {"key":"create-contact","name":"Create a contact",
	  "input":{"type":"object","properties":{"name":{"type":"string"}},"required":["name"],"additionalProperties":false},
	  "request":{"method":"POST","path":"/contacts","body":{"name":"${input.name}"}}},
	 {"key":"echo","name":"Echo","readOnly":true,"input":{"type":"object","properties":{},"additionalProperties":false},
	  "request":{"method":"GET","path":"/echo"}},
	 {"key":"fail","name":"Fail","input":{"type":"object","properties":{},"additionalProperties":false},
	  "request":{"method":"POST","path":"/fail"}}],
	"expiry":[{"status":401}]}`,
		key, base, host,
		method("query", "apiKey", secret("apiKey"), `{"in":"query","name":"api_key","value":"${apiKey}"}`),
		method("cookie", "apiKey", secret("apiKey"), `{"in":"cookie","name":"acme_session","value":"${apiKey}"}`),
		method("bearer", "bearer", secret("token"), `{"in":"header","name":"Authorization","value":"Bearer ${token}"}`),
		method("basic", "basic", `{"key":"username","label":"User","required":true},`+secret("password"), `{"in":"basic","username":"${username}","password":"${password}"}`),
		method("custom", "custom", secret("apiKey")+","+secret("partner"),
			`{"in":"header","name":"X-API-Key","value":"${apiKey}"},{"in":"header","name":"X-Partner","value":"${partner}"},{"in":"body","name":"partner_key","value":"${partner}"}`))
}
