package manifest

import (
	"bytes"
	"path"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"claviger"
	"claviger/internal/document"
)

// RepairOptions says what to mend beyond what needs no decision.
type RepairOptions struct {
	// Auth changes the default api slot to a method; empty leaves it.
	Auth Method
	// Slots adds a webhookInbound and a syncExecution slot where there is none, and lets
	// a syncExecution slot with a person's grant get tokens with client credentials.
	Slots bool
}

// Repaired is the files that a repair changes; none if there is nothing to mend.
type Repaired struct{ Files []RepairedFile }

// RepairedFile is one file before and after; Old is nil for a new one.
type RepairedFile struct {
	Name     string
	Old, New []byte
	hidden   map[int]bool // lines of Old with a literal secret
}

// Diff answers all changes in unified form. It shows no line that held a secret.
func (r *Repaired) Diff() string {
	var out strings.Builder
	for _, f := range r.Files {
		out.WriteString(unified(f.Name, f.Old, f.New, f.hidden))
	}
	return out.String()
}

// Repair mends a system in its files: a single authentication block becomes the
// slot default of authentications, literal secrets become references, env.template
// names every reference, and what the options say. Comments, order and all other
// text stay as they are, so far as the format lets them. What needs a decision is
// left to people. It fails with KindInvalid if the system's document cannot be read,
// or if the method cannot be put on calls.
func Repair(b *Bundle, opts RepairOptions) (*Repaired, error) {
	if rule, ok := methodRules[opts.Auth]; opts.Auth != "" && (!ok || !rule.outward) {
		return nil, claviger.Invalid("auth", "unknown_method", "The default slot cannot have that method. It can have %s.", strings.Join(CallMethods(), ", "))
	}
	root, err := editable(b.system.name, b.system.data)
	if err != nil || root.Kind != yaml.MappingNode || !keyText(b.System.Key) {
		return nil, claviger.Invalid(b.system.name, "unreadable_manifest", "The system's document cannot be repaired before it is well-formed and has a key.").With(err)
	}
	m := mender{bundle: b, key: b.System.Key, slots: slotList(root), taken: map[string]bool{}}
	for _, slot := range m.slots.Content {
		m.taken[textOf(slot, "key")] = true
	}
	m.upgrade(value(root, "authentication"))
	m.references()
	if opts.Auth != "" {
		m.auth(opts.Auth)
	}
	if opts.Slots {
		m.serviceGrants()
		m.add(claviger.UsageWebhookInbound, "webhook", m.webhookCredential())
		m.add(claviger.UsageSyncExecution, "sync-worker", m.syncCredential())
	}
	out := &Repaired{}
	if m.changed {
		text, err := rewrite(b.system.name, b.system.data, root, m.slots)
		if err != nil {
			return nil, claviger.Invalid(b.system.name, "unreadable_manifest", "The system's document cannot be written again.").With(err)
		}
		out.Files = append(out.Files, RepairedFile{Name: b.system.name, Old: b.system.data, New: text, hidden: b.secretLines()})
	}
	out.env(b)
	return out, nil
}

// secretLines answers the lines of the system's document that hold literal secrets.
// A text of YAML may go on until the next value begins.
func (b *Bundle) secretLines() map[int]bool {
	var literals, starts []int
	var walk func(n *document.Node, secret bool)
	walk = func(n *document.Node, secret bool) {
		starts = append(starts, n.Line)
		if secret && n.Kind != document.Object && !strings.HasPrefix(n.Text, claviger.SecretScheme) {
			literals = append(literals, n.Line)
		}
		for _, m := range n.Members {
			starts = append(starts, m.Line)
			walk(m.Value, secret || m.Key == "security")
		}
		for _, item := range n.Items {
			walk(item, secret)
		}
	}
	walk(b.system.root, false)
	slices.Sort(starts)
	out := map[int]bool{}
	for _, line := range literals {
		end := len(lines(b.system.data))
		if isJSON(b.system.name, b.system.data) {
			end = line
		} else if i, _ := slices.BinarySearch(starts, line+1); i < len(starts) {
			end = max(line, starts[i]-1)
		}
		for ; line <= end; line++ {
			out[line] = true
		}
	}
	return out
}

// After answers the system as the repair leaves it.
func (r *Repaired) After(b *Bundle) *Bundle {
	now := func(name string, old []byte) Part {
		if i := slices.IndexFunc(r.Files, func(f RepairedFile) bool { return f.Name == name }); i >= 0 {
			old = r.Files[i].New
		}
		return Part{Name: name, Data: old}
	}
	after := &Bundle{folder: b.folder, env: b.env, found: b.found}
	if env := now(path.Join(b.folder, envName), nil); env.Data != nil {
		after.env = parseEnv(env)
	}
	others := make([]Part, len(b.data))
	for i, f := range b.data {
		others[i] = now(f.name, f.data)
	}
	after.read(now(b.system.name, b.system.data), others)
	return after
}

// env mends env.template once the other files are as repaired: lines that it lacks are
// added, lines of references that nothing names go.
func (r *Repaired) env(b *Bundle) {
	if b.folder == "" {
		return
	}
	file := RepairedFile{Name: path.Join(b.folder, envName), Old: b.env.text(), New: r.After(b).EnvTemplate(b), hidden: map[int]bool{}}
	_, faults := b.Env()
	for _, f := range faults { // other things than references
		file.hidden[f.Line] = true
	}
	if !bytes.Equal(file.New, withNewline(file.Old)) {
		r.Files = append(r.Files, file)
	}
}

// mender edits the slots of one system.
type mender struct {
	bundle  *Bundle
	key     string
	slots   *yaml.Node // a sequence
	taken   map[string]bool
	changed bool
}

func slotList(root *yaml.Node) *yaml.Node {
	if list := value(root, "authentications"); list != nil && list.Kind == yaml.SequenceNode {
		return list
	}
	return &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
}

// upgrade turns the single block into a slot, the first of all.
func (m *mender) upgrade(single *yaml.Node) {
	if single == nil || single.Kind != yaml.MappingNode {
		return
	}
	slot := mapping("key", m.free(DefaultSlot), "usage", string(claviger.UsageAPI))
	if name := value(single, "displayName"); name != nil {
		set(slot, "displayName", name)
	}
	set(slot, "authType", scalar(string(AuthCredential)))
	credential := mapping()
	for _, key := range []string{"method", "variables", "security"} {
		if v := value(single, key); v != nil {
			set(credential, key, v)
		}
	}
	set(slot, "credential", credential)
	m.slots.Content = slices.Insert(m.slots.Content, 0, slot)
	m.changed = true
}

// free answers the key, or one like it that no slot has, and takes it.
func (m *mender) free(key string) string {
	name := key
	for n := 2; m.taken[name]; n++ {
		name = key + "-" + strconv.Itoa(n)
	}
	m.taken[name] = true
	return name
}

// references puts a reference in the place of every literal secret.
func (m *mender) references() {
	for _, slot := range m.slots.Content {
		security := value(value(slot, "credential"), "security")
		if security == nil || security.Kind != yaml.MappingNode {
			continue
		}
		for i := 0; i+1 < len(security.Content); i += 2 {
			if name, v := security.Content[i].Value, security.Content[i+1]; v.Kind != yaml.ScalarNode || !strings.HasPrefix(v.Value, claviger.SecretScheme) {
				security.Content[i+1] = m.reference(textOf(slot, "key"), name)
				m.changed = true
			}
		}
	}
}

// reference answers where a slot's secret is to be kept: kv://example-crm/apiKey of
// the default slot, kv://example-crm/webhookApiKey of another.
func (m *mender) reference(slot, name string) *yaml.Node {
	if slot != DefaultSlot && slot != "" && name != "" {
		name = strings.SplitN(slot, "-", 2)[0] + strings.ToUpper(name[:1]) + name[1:]
	}
	ref := claviger.SecretScheme + m.key + "/" + name
	if _, err := claviger.ParseSecretPath(ref); err != nil {
		ref = claviger.SecretScheme + m.key + "/secret"
	}
	return scalar(ref)
}

// find answers the slot that serves a usage, by the rule of [System.Slot].
func (m *mender) find(usage claviger.Usage) *yaml.Node {
	var best *yaml.Node
	rank := func(n *yaml.Node) int {
		s := Slot{Key: textOf(n, "key")}
		if d := value(n, "default"); d != nil {
			s.Default = d.Value == "true"
		}
		return s.rank()
	}
	for _, slot := range m.slots.Content {
		if textOf(slot, "usage") == string(usage) && (best == nil || rank(slot) > rank(best)) {
			best = slot
		}
	}
	return best
}

// auth sets the default api slot to a method: what does not belong to it goes, what
// it needs and can be derived comes.
func (m *mender) auth(method Method) {
	slot := m.find(claviger.UsageAPI)
	if slot == nil {
		slot = mapping("key", m.free(DefaultSlot), "usage", string(claviger.UsageAPI))
		m.slots.Content = append(m.slots.Content, slot)
	}
	old := value(slot, "credential")
	kept := mapping()
	for _, key := range []string{"key", "usage", "displayName", "default"} {
		if v := value(slot, key); v != nil {
			set(kept, key, v)
		}
	}
	set(kept, "authType", scalar(string(AuthCredential)))
	set(kept, "credential", m.credential(method, old, textOf(slot, "key")))
	kept.HeadComment, kept.FootComment, kept.LineComment = slot.HeadComment, slot.FootComment, slot.LineComment
	was, _ := canonicalOf(slot)
	if now, _ := canonicalOf(kept); string(was) != string(now) {
		*slot, m.changed = *kept, true
	}
}

// derived are values that a method's required variables may be given without asking.
var derived = map[string]string{"paramName": "api_key"}

// credential answers a credential of a method that keeps what it can of an old one.
func (m *mender) credential(method Method, old *yaml.Node, slot string) *yaml.Node {
	rule := methodRules[method]
	variables, security := mapping(), mapping()
	if had := value(old, "variables"); had != nil && had.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(had.Content); i += 2 {
			if rule.has(had.Content[i].Value) {
				variables.Content = append(variables.Content, had.Content[i], had.Content[i+1])
			}
		}
	}
	for _, name := range rule.needs {
		v := derived[name]
		if name == "baseUrl" {
			v = m.base()
		}
		if value(variables, name) == nil && v != "" {
			set(variables, name, scalar(v))
		}
	}
	had := value(old, "security")
	for _, name := range rule.security {
		v := value(had, name)
		for _, alias := range bearerNames {
			if v == nil && method == MethodBearer && value(had, alias) != nil {
				name, v = alias, value(had, alias)
			}
		}
		switch {
		case v != nil:
			set(security, name, v)
		case slices.Contains(rule.security, name):
			set(security, name, m.reference(slot, name))
		}
	}
	out := mapping("method", string(method))
	if len(variables.Content) > 0 {
		set(out, "variables", variables)
	}
	if len(security.Content) > 0 {
		set(out, "security", security)
	}
	return out
}

// base answers an address that the system is known by; "" if there is none.
func (m *mender) base() string {
	for _, slot := range m.slots.Content {
		if base := textOf(value(value(slot, "credential"), "variables"), "baseUrl"); base != "" {
			return base
		}
	}
	if base := m.bundle.base(); !strings.HasSuffix(base, ".invalid") {
		return base
	}
	return ""
}

// add appends a slot for a usage that has none.
func (m *mender) add(usage claviger.Usage, key string, credential func(key string) *yaml.Node) {
	if m.find(usage) != nil {
		return
	}
	key = m.free(key)
	slot := mapping("key", key, "usage", string(usage), "authType", string(AuthCredential))
	set(slot, "credential", credential(key))
	m.slots.Content = append(m.slots.Content, slot)
	m.changed = true
}

// webhookCredential is the form that most vendors sign in: HMAC-SHA256 over the
// body, in GitHub's header.
func (m *mender) webhookCredential() func(string) *yaml.Node {
	return func(string) *yaml.Node {
		out := mapping("method", string(MethodAPIKey))
		set(out, "variables", mapping("headerName", "X-Hub-Signature-256"))
		set(out, "security", mapping("apiKey", claviger.SecretScheme+m.key+"/webhookSecret"))
		return out
	}
}

// syncCredential is like that of the api slot, with secrets of its own; a person's
// grant becomes the client's.
func (m *mender) syncCredential() func(string) *yaml.Node {
	return func(key string) *yaml.Node {
		api := value(m.find(claviger.UsageAPI), "credential")
		method := Method(textOf(api, "method"))
		if rule, ok := methodRules[method]; !ok || !rule.outward || method == MethodNone {
			method = MethodAPIKey
		}
		variables := mapping()
		if v := value(api, "variables"); v != nil && v.Kind == yaml.MappingNode {
			variables = copyOf(v)
		}
		if method == MethodOAuth2 || method == MethodAAD {
			asService(variables)
		}
		fresh := mapping()
		set(fresh, "variables", variables)
		return m.credential(method, fresh, key)
	}
}

// serviceGrants takes people's grants from slots that work without a person.
func (m *mender) serviceGrants() {
	for _, slot := range m.slots.Content {
		credential := value(slot, "credential")
		method := Method(textOf(credential, "method"))
		if textOf(slot, "usage") != string(claviger.UsageSyncExecution) || method != MethodOAuth2 && method != MethodAAD {
			continue
		}
		if variables := value(credential, "variables"); variables != nil && variables.Kind == yaml.MappingNode && textOf(variables, "grantType") != serviceGrant {
			asService(variables)
			m.changed = true
		}
	}
}

// serviceGrant is the grant of a client that acts for itself.
const serviceGrant = "client_credentials"

func asService(variables *yaml.Node) {
	set(variables, "grantType", scalar(serviceGrant))
	remove(variables, "authorizationUrl")
}

// copyOf answers a tree that shares nothing with n and has none of its comments.
func copyOf(n *yaml.Node) *yaml.Node {
	out := &yaml.Node{Kind: n.Kind, Tag: n.Tag, Value: n.Value, Style: n.Style}
	for _, child := range n.Content {
		out.Content = append(out.Content, copyOf(child))
	}
	return out
}
