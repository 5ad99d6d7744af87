package app

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"claviger"
	"claviger/internal/gate"
)

// Settings are what an operator chooses. The zero value of a field means its default.
type Settings struct {
	Addr        string
	AdminAddr   string
	Data        string
	DatabaseURL string
	MasterKey   claviger.Secret // a key URL; base64key: holds the key itself
	// MasterKeyPrevious is the key URL of the master key before, while it is replaced.
	MasterKeyPrevious claviger.Secret
	PublicURL         string
	EgressAllow       string
	LedgerMode        string
	LedgerAnchor      string
	ConnectorsDir     string
	SpillDir          string
	Secrets           string
	TrustedProxies    string
	BootstrapID       string
	BootstrapSecret   claviger.Secret
	LogLevel          string
	WebhooksMaxBody   string // bytes
	WebhooksKeep      string // days
}

// Setting describes one setting to a person.
type Setting struct {
	Key      string // in the YAML file: "egress.allow"
	Variable string // in the environment: "CLAVIGER_EGRESS_ALLOW"
	Flag     string // "--egress-allow"; empty for those that must not be in a process list
	Default  string
	Meaning  string
	set      func(*Settings, string)
}

const prefix = "CLAVIGER_"

// AllSettings lists every setting once: the table of the help, the names that the file
// and the environment may have, and where their values go.
func AllSettings() []Setting {
	secret := func(to func(*Settings) *claviger.Secret) func(*Settings, string) {
		return func(s *Settings, v string) { *to(s) = claviger.NewSecretString(v) }
	}
	text := func(to func(*Settings) *string) func(*Settings, string) {
		return func(s *Settings, v string) { *to(s) = v }
	}
	list := []Setting{
		{Key: "addr", Default: "127.0.0.1:8787", Meaning: "where the API listens", set: text(func(s *Settings) *string { return &s.Addr })},
		{Key: "admin.addr", Default: "127.0.0.1:8788", Meaning: "where health, metrics and profiles listen", set: text(func(s *Settings) *string { return &s.AdminAddr })},
		{Key: "data", Default: "./claviger-data", Meaning: "data folder, mode 0700", set: text(func(s *Settings) *string { return &s.Data })},
		{Key: "database.url", Default: "sqlite: in the data folder", Meaning: "sqlite:PATH, or postgres://... for more than one node", set: text(func(s *Settings) *string { return &s.DatabaseURL })},
		{Key: "master.key", Default: "file: in the data folder", Meaning: "key URL: file:PATH or base64key:KEY", set: secret(func(s *Settings) *claviger.Secret { return &s.MasterKey })},
		{Key: "master.key.previous", Default: "none", Meaning: "key URL of the master key before, until the server has said that it is no longer needed", set: secret(func(s *Settings) *claviger.Secret { return &s.MasterKeyPrevious })},
		{Key: "public.url", Default: "http:// and the address", Meaning: "the address that browsers and vendors see", set: text(func(s *Settings) *string { return &s.PublicURL })},
		{Key: "egress.allow", Default: "none", Meaning: "hosts and CIDRs, by comma, that may be called although they are not public", set: text(func(s *Settings) *string { return &s.EgressAllow })},
		{Key: "ledger.mode", Default: "strict", Meaning: "strict: a use is durable in the ledger before it leaves; relaxed: within 50 ms", set: text(func(s *Settings) *string { return &s.LedgerMode })},
		{Key: "ledger.anchor", Default: "ledger-anchor.jsonl in the data folder", Meaning: "append-only file that keeps signed checkpoints outside the database", set: text(func(s *Settings) *string { return &s.LedgerAnchor })},
		{Key: "connectors.dir", Default: "none", Meaning: "folder of further connector documents, read again when it changes", set: text(func(s *Settings) *string { return &s.ConnectorsDir })},
		{Key: "spill.dir", Default: "spill in the data folder", Meaning: "folder where vendors' answers wait, sealed, while the database takes no writes; best on another disk", set: text(func(s *Settings) *string { return &s.SpillDir })},
		{Key: "secrets", Default: "embedded", Meaning: "where kv:// resolves: embedded, env: or file:PATH", set: text(func(s *Settings) *string { return &s.Secrets })},
		{Key: "trusted.proxies", Default: "none", Meaning: "CIDRs, by comma, whose X-Forwarded-For is believed", set: text(func(s *Settings) *string { return &s.TrustedProxies })},
		{Key: "bootstrap.client.id", Default: "made at random", Meaning: "client id of the first application", set: text(func(s *Settings) *string { return &s.BootstrapID })},
		{Key: "bootstrap.client.secret", Default: "made at random", Meaning: "client secret of the first application, at least 32 characters", set: secret(func(s *Settings) *claviger.Secret { return &s.BootstrapSecret })},
		{Key: "webhooks.max.body", Default: "1048576", Meaning: "longest body of a webhook, in bytes, up to 16777216", set: text(func(s *Settings) *string { return &s.WebhooksMaxBody })},
		{Key: "webhooks.keep", Default: "30", Meaning: "days that deliveries are kept, and copies of them are known, 1 to 365", set: text(func(s *Settings) *string { return &s.WebhooksKeep })},
		{Key: "log.level", Default: "info", Meaning: "debug, info, warn or error", set: text(func(s *Settings) *string { return &s.LogLevel })},
	}
	for i := range list {
		s := &list[i]
		s.Variable = prefix + strings.ToUpper(strings.ReplaceAll(s.Key, ".", "_"))
		if s.Key != "master.key" && s.Key != "master.key.previous" && s.Key != "bootstrap.client.secret" {
			s.Flag = strings.ReplaceAll(s.Key, ".", "-")
		}
	}
	return list
}

// foreignVariables are those with our prefix that are read elsewhere: by the command
// line client, by the env: secret store, by tests.
var foreignVariables = []string{prefix + "URL", prefix + "API_KEY", prefix + "PROFILE", prefix + "CONFIG", prefix + "FAILPOINT"}

var foreignPrefixes = []string{prefix + "SECRET_", prefix + "TEST_"}

// LoadSettings reads the settings: flags win over the environment, the environment
// over the file. A name that is none, in the file or with our prefix in the
// environment, is an error: a misspelt setting must not silently be a default.
func LoadSettings(flags map[string]string, environ []string, file string) (Settings, error) {
	var s Settings
	values := map[string]string{}
	if file != "" {
		if err := readFile(file, values); err != nil {
			return s, err
		}
	}
	if err := readEnvironment(environ, values); err != nil {
		return s, err
	}
	for _, one := range AllSettings() {
		v, given := values[one.Key]
		if flag, ok := flags[one.Flag]; ok && one.Flag != "" {
			v, given = flag, true
		}
		if given {
			one.set(&s, v)
		}
	}
	return s, s.check()
}

func byKey(key string) bool {
	return slices.ContainsFunc(AllSettings(), func(s Setting) bool { return s.Key == key })
}

// readEnvironment takes the variables with our prefix.
func readEnvironment(environ []string, values map[string]string) error {
	for _, line := range environ {
		name, value, _ := strings.Cut(line, "=")
		if !strings.HasPrefix(name, prefix) || slices.Contains(foreignVariables, name) ||
			slices.ContainsFunc(foreignPrefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
			continue
		}
		key := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, prefix), "_", "."))
		if !byKey(key) {
			return badSetting(name, "is no setting. See: claviger serve --help")
		}
		if value != "" {
			values[key] = value
		}
	}
	return nil
}

// maxSettings bounds the settings file.
const maxSettings = 256 << 10

// readFile takes a YAML file whose keys are the settings' names, flat ("egress.allow:")
// or nested.
func readFile(path string, values map[string]string) error {
	f, err := os.Open(path)
	if err != nil {
		return badSetting("config", "the file cannot be read: "+path).With(err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSettings+1))
	if err != nil || len(text) > maxSettings {
		return badSetting("config", "the file cannot be read, or is too large: "+path).With(err)
	}
	var root yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(text)).Decode(&root); err != nil {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return badSetting("config", "the file is no YAML: "+path).With(err)
	}
	return flatten(root.Content[0], "", values)
}

func flatten(n *yaml.Node, at string, values map[string]string) error {
	switch {
	case n.Kind == yaml.MappingNode:
		for i := 0; i < len(n.Content); i += 2 {
			key := n.Content[i].Value
			if at != "" {
				key = at + "." + key
			}
			if err := flatten(n.Content[i+1], key, values); err != nil {
				return err
			}
		}
		return nil
	case n.Kind == yaml.ScalarNode && byKey(at):
		if _, twice := values[at]; twice {
			return badSetting(at, fmt.Sprintf("stands in the file twice (line %d)", n.Line))
		}
		values[at] = n.Value
		return nil
	}
	return badSetting(cmp.Or(at, "config"), fmt.Sprintf("is no setting (line %d). See: claviger serve --help", n.Line))
}

func badSetting(name, what string) *claviger.Error {
	return claviger.Invalid(name, "invalid_setting", "%s: %s", name, what)
}

// check refuses values that could not work, before anything is opened.
func (s *Settings) check() error {
	if m := gate.Mode(s.LedgerMode); m != "" && m != gate.ModeStrict && m != gate.ModeRelaxed {
		return badSetting("ledger.mode", "use strict or relaxed")
	}
	if s.PublicURL != "" {
		u, err := url.Parse(s.PublicURL)
		if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			return badSetting("public.url", "use an address such as https://claviger.example.com")
		}
	}
	if _, err := s.proxies(); err != nil {
		return err
	}
	if _, err := number(s.WebhooksMaxBody, 1024, 16<<20); err != nil {
		return badSetting("webhooks.max.body", "use a number of bytes from 1024 to 16777216").With(err)
	}
	if _, err := number(s.WebhooksKeep, 1, 365); err != nil {
		return badSetting("webhooks.keep", "use a number of days from 1 to 365").With(err)
	}
	return nil
}

var errRange = errors.New("out of its range")

// number reads a whole number of a setting; nothing is 0.
func number(text string, least, most int64) (int64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err == nil && (n < least || n > most) {
		err = errRange
	}
	return n, err
}

// webhookBody answers the longest body of a webhook; 0 for the default. The settings have
// been checked.
func (s *Settings) webhookBody() int64 {
	n, _ := number(s.WebhooksMaxBody, 0, 16<<20)
	return n
}

// webhookKeep answers how long deliveries are kept; 0 for the default.
func (s *Settings) webhookKeep() time.Duration {
	n, _ := number(s.WebhooksKeep, 0, 365)
	return time.Duration(n) * 24 * time.Hour
}

func (s *Settings) proxies() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, part := range strings.FieldsFunc(s.TrustedProxies, func(r rune) bool { return r == ',' || r == ' ' }) {
		p, err := netip.ParsePrefix(part)
		if err != nil {
			return nil, badSetting("trusted.proxies", "use CIDRs such as 10.0.0.0/8, by comma")
		}
		out = append(out, p)
	}
	return out, nil
}
