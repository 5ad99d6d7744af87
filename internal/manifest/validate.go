package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"claviger"
	"claviger/internal/document"
)

// Policy is what a manifest alone cannot decide.
type Policy struct {
	// ServiceFallback lets an api slot that needs no person serve a sync bridge
	// where there is no syncExecution slot.
	ServiceFallback bool
	// AllowPlain says whether plain http may be spoken to a host. nil allows none.
	AllowPlain func(host string) bool
	// KeyTaken says why a system cannot have a key: the connector that it becomes would be
	// taken for another. nil takes every key.
	KeyTaken func(key string) error
}

// Validate checks a bundle and answers its faults in the order of files and texts.
// [Valid] says whether it may be used.
func Validate(b *Bundle, policy Policy) []Fault {
	c := &validator{checker: checker{faults: slices.Concat(b.found, b.faults), tidy: map[*document.Node]bool{}}, bundle: b, policy: policy, key: b.System.Key}
	c.references = c.path
	files := append([]file{b.system}, b.data...)
	for i, f := range files {
		if f.root == nil {
			continue
		}
		c.literalSecrets(f.place(), false)
		s := dataSourceSchema()
		if i == 0 {
			s = systemSchema()
		}
		c.check(s.resolve(s.root), f.place())
	}
	if b.system.root != nil {
		c.checkSystem()
		for i := range b.data {
			if b.data[i].root != nil {
				c.checkDataSource(&b.DataSources[i], b.data[i].place())
			}
		}
		c.checkListed()
		c.checkEnv(b)
	}
	return sortFaults(c.faults)
}

// validator checks what the schemas cannot say.
type validator struct {
	checker
	bundle *Bundle
	policy Policy
	key    string // of the system
}

// repair answers the command that mends the system.
func (c *validator) repair(flags string) string {
	if !keyText(c.key) {
		return ""
	}
	return strings.TrimSuffix("claviger repair "+c.key+" "+flags, " ")
}

func keyText(s string) bool {
	return systemSchema().patterns[systemSchema().root.Get("$defs").Get("key").Get("pattern").Text].MatchString(s)
}

// path answers the path of a reference that this system may use, or notes why it
// may not and answers "". It never repeats what is no reference.
func (c *validator) path(p place, ref string) string {
	if !strings.HasPrefix(ref, claviger.SecretScheme) {
		c.fail(p, CodeLiteralSecret, "store the value with claviger secret set, change it at the vendor if the file was ever shared, and write "+claviger.SecretScheme+c.key+"/name here",
			c.repair(""), "the value is not a reference; a manifest holds no secrets")
		return ""
	}
	secret, err := claviger.ParseSecretPath(ref)
	if err != nil {
		c.fail(p, CodeReference, "for example "+claviger.SecretScheme+c.key+"/apiKey", "", "%s", strings.TrimSuffix(claviger.AsError(err).Message, "."))
		return ""
	}
	if space, _, _ := strings.Cut(secret, "/"); space != c.key && space != sharedSpace {
		c.fail(p, CodeForeign, fmt.Sprintf("%s%s/... or %s%s/...", claviger.SecretScheme, c.key, claviger.SecretScheme, sharedSpace), "", "the reference leads to secrets of another system")
		return ""
	}
	return secret
}

// sharedSpace is the first segment of secrets that every system may name.
const sharedSpace = "shared"

// plainNames are keys whose values are long and random by nature and no secrets.
var plainNames = []string{"pattern", "clientId", "tenantId", "publicKey", "publicKeyFingerprint", "contractHash", "triggerPathsHash", "documentKey", "codeRef", "testPayload"}

// credentialPointer is where the section security belongs.
var credentialPointer = regexp.MustCompile(`^/authentication(?:s/[0-9]+/credential)?$`)

// literalSecrets looks for credentials in every string of a file and marks where
// they are. Below the names in plainNames only the known forms count.
func (c *checker) literalSecrets(p place, plain bool) {
	n := p.node
	if n.Kind == document.String && !strings.HasPrefix(n.Text, claviger.SecretScheme) && (document.KnownSecret(n.Text) || !plain && document.RandomRun(n.Text)) {
		c.fail(p, CodeLiteralSecret, "remove it, change it at the vendor, and name it by a kv:// reference in a slot", "", "looks like a credential, which a manifest must not hold")
		c.tidy[n] = true
	}
	for _, m := range n.Members {
		if document.KnownSecret(m.Key) || document.RandomRun(m.Key) {
			at := p
			at.line, at.column = m.Line, m.Column
			c.fail(at, CodeLiteralSecret, "remove it", "", "a key looks like a credential")
			continue
		}
		if m.Key == "security" && credentialPointer.MatchString(p.pointer) {
			continue // each value there must be a reference, whatever it looks like
		}
		c.literalSecrets(p.get(m.Key), plain || slices.Contains(plainNames, m.Key))
	}
	for _, item := range p.items() {
		c.literalSecrets(item, plain)
	}
}

func (c *validator) checkSystem() {
	root := c.bundle.system.place()
	if c.bundle.folder != "" && c.key != path.Base(c.bundle.folder) && keyText(c.key) {
		c.fail(root.get("key"), CodeMismatch, "name both alike", "", "the key is not that of the folder, %s", document.Quote(path.Base(c.bundle.folder)))
	}
	if c.policy.KeyTaken != nil {
		if err := c.policy.KeyTaken(c.key); err != nil {
			c.fail(root.get("key"), CodeReserved, "", "", "%s", strings.TrimSuffix(claviger.AsError(err).Message, "."))
		}
	}
	for _, s := range c.bundle.settings() {
		if s.get("location").text() == "keyvault" || s.get("portalInput").get("field").text() == "password" {
			if v := s.get("value"); v.node != nil && v.text() != "" {
				c.path(v, v.text())
			}
		}
	}
	mcp := root.get("mcp")
	if c.bundle.System.Type == "mcp" && mcp.node != nil && !mcp.has("serverUrl") {
		c.warn(mcp, CodeMissing, "", "", "serverUrl is missing, so that the server cannot be called")
	}
	for _, p := range []place{mcp.get("serverUrl"), root.get("openapi").get("specUrl")} {
		c.address(p)
	}
	c.checkNames(root)
	c.checkCertification(root.get("certification"))
	c.checkSlots(root)
}

// checkNames checks that names are unique and lead somewhere.
func (c *validator) checkNames(root place) {
	unique := func(list place, key string) map[string]bool {
		seen := map[string]bool{}
		for _, item := range list.items() {
			name := item.get(key)
			if name.text() != "" && seen[name.text()] {
				c.fail(name, CodeDuplicate, "", "", "%s is there twice", document.Quote(name.text()))
			}
			seen[name.text()] = true
		}
		return seen
	}
	roles := unique(root.get("roles"), "value")
	unique(root.get("permissions"), "name")
	unique(root.get("configuration"), "name")
	for _, p := range root.get("permissions").items() {
		for _, role := range p.get("roles").items() {
			if !roles[role.text()] {
				c.fail(role, CodeUnresolved, "declare it under roles", "", "there is no role %s", document.Quote(role.text()))
			}
		}
	}
	if identity := root.get("identityPropagation"); identity.has("default") && identity.has("modes") {
		chosen := identity.get("default")
		if !slices.ContainsFunc(identity.get("modes").items(), func(m place) bool { return m.text() == chosen.text() }) {
			c.fail(chosen, CodeUnresolved, "name one of modes", "", "the default is none of the modes")
		}
	}
}

// checkCertification checks that the block is coherent and, if it says which
// manifest it was made for, that this is the one.
func (c *validator) checkCertification(p place) {
	cert := c.bundle.System.Certification
	if p.node == nil || cert == nil {
		return
	}
	if cert.PublicKeyFingerprint != "" {
		block, _ := pem.Decode([]byte(cert.PublicKey))
		if block == nil {
			c.fail(p.get("publicKey"), CodeValue, "-----BEGIN PUBLIC KEY-----", "", "the public key is not in PEM form")
		} else if sum := sha256.Sum256(block.Bytes); cert.PublicKeyFingerprint != "sha256:"+hex.EncodeToString(sum[:]) {
			c.fail(p.get("publicKeyFingerprint"), CodeMismatch, "", "", "the fingerprint is not that of the public key")
		}
	}
	if cert.ContractHash != "" && "sha256:"+strings.TrimPrefix(cert.ContractHash, "sha256:") != c.bundle.Contract().String() {
		c.warn(p.get("contractHash"), CodeMismatch, "run claviger verify-trust again", "", "the manifest has changed since it was certified")
	}
}

// checkListed checks that what the system's dataSources names is there.
func (c *validator) checkListed() {
	for _, p := range c.bundle.system.place().get("dataSources").items() {
		found := slices.ContainsFunc(c.bundle.DataSources, func(d DataSource) bool { return d.Key == p.text() })
		if !found && !slices.ContainsFunc(c.bundle.data, func(f file) bool { return f.named(p.text()) }) {
			c.fail(p, CodeUnresolved, "name it by its key, add its document, or remove the entry", "", "there is no data source %s", document.Quote(p.text()))
		}
	}
}

// address checks an address that requests go to. It answers it parsed, nil if it is
// absent or not valid.
func (c *validator) address(p place) *url.URL {
	text := p.text()
	if text == "" {
		return nil
	}
	if strings.ContainsAny(text, "{}$\\`<>\"") {
		c.fail(p, CodeValue, "write the address out", "", "an address must not have holes")
		return nil
	}
	u, err := url.Parse(text)
	if err == nil && (u.Host == "" || u.User != nil) {
		return nil // the schema has told
	}
	if err == nil && u.Scheme != "https" && u.Scheme != "http" {
		return nil // likewise
	}
	if err != nil || u.Hostname() != strings.ToLower(u.Hostname()) || u.Opaque != "" {
		c.fail(p, CodeValue, "https://, a host in lower case, a path", "", "is not a valid address")
		return nil
	}
	if u.Scheme != "https" && (c.policy.AllowPlain == nil || !c.policy.AllowPlain(u.Hostname())) {
		c.fail(p, CodeValue, "use https, or let the operator open the host with CLAVIGER_EGRESS_ALLOW and validate with --plain-http "+u.Hostname(), "", "plain http is not open for this host")
		return nil
	}
	return u
}
