package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"claviger/api"
	"claviger/client"
)

// details are the flags that create and update share.
type details struct {
	stdin      bool
	kv         []string
	settings   []string
	metadata   []string
	tags       []string
	noValidate bool
}

func (d *details) flags(c *cobra.Command) {
	f := c.Flags()
	f.BoolVar(&d.stdin, "credentials-stdin", false, "read the credentials as a JSON object from standard input")
	f.StringArrayVar(&d.kv, "credential", nil, "`key=kv://path`: a credential by reference; never a value")
	f.StringArrayVar(&d.settings, "setting", nil, "`key=value` of a connector's variable")
	f.StringArrayVar(&d.metadata, "metadata", nil, "`key=value` of your own")
	f.StringArrayVar(&d.tags, "tag", nil, "`key=value`, for filters")
	f.BoolVar(&d.noValidate, "no-validate", false, "store the credentials without checking them")
}

// validate answers nil, for the default, or false.
func (d *details) validate() *bool {
	if !d.noValidate {
		return nil
	}
	no := false
	return &no
}

func (p *program) connectionCreate() *cobra.Command {
	var in api.CreateConnection
	var d details
	c := command("create", "Store and check credentials for a connector", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		return p.createConnection(ctx, in, d)
	})
	c.Long = "Create asks for each credential of the connector at a prompt without echo, or reads them\n" +
		"with --credentials-stdin as a JSON object of strings:\n\n" +
		"  claviger connection create --connector github --name ci --credentials-stdin < token.json"
	f := c.Flags()
	f.StringVar(&in.Connector, "connector", "", "key of the connector (required)")
	f.StringVar(&in.AuthMethod, "auth-method", "", "key of an auth method; default: the connector's only one")
	f.StringVar(&in.Name, "name", "", "name, unique in the workspace (required)")
	f.StringVar(&in.WorkspaceID, "workspace", "", "id of the workspace")
	f.StringVar(&in.Usage, "usage", "", "the runtime path that may load it; default: api")
	f.StringVar(&in.Visibility, "visibility", "", "workspace or personal")
	d.flags(c)
	p.completeFlag(c, "connector", p.completeConnectors)
	p.completeFlag(c, "auth-method", cobra.NoFileCompletions)
	p.completeFlag(c, "visibility", oneOf("workspace", "personal"))
	return c
}

func (p *program) createConnection(ctx context.Context, in api.CreateConnection, d details) error {
	if in.Connector == "" || in.Name == "" {
		return usageError{message: "Give --connector and --name.", hint: "See what there is with: claviger connector list"}
	}
	var err error
	if in.Settings, err = pairs("setting", d.settings); err != nil {
		return err
	}
	if in.Metadata, err = pairs("metadata", d.metadata); err != nil {
		return err
	}
	if in.Tags, err = pairs("tag", d.tags); err != nil {
		return err
	}
	given, err := p.givenCredentials(d, false)
	if err != nil {
		return err
	}
	c, err := p.connect()
	if err != nil {
		return err
	}
	k, err := c.Connector(ctx, in.Connector, 0)
	if err != nil {
		return err
	}
	method, err := pickMethod(k, in.AuthMethod)
	if err != nil {
		return err
	}
	in.AuthMethod = method.Key
	if given, err = p.askMissing(method, given, d.stdin); err != nil {
		return err
	}
	in.Credentials = map[string]string{}
	for key, v := range given {
		in.Credentials[key] = *v
	}
	in.Validate = d.validate()
	conn, err := c.CreateConnection(ctx, in, client.IdempotencyKey(rand.Text()))
	return p.showConnection(conn, err)
}

// givenCredentials reads what the command itself was given.
func (p *program) givenCredentials(d details, allowNull bool) (map[string]*string, error) {
	given, err := references(d.kv)
	if err != nil || !d.stdin {
		return given, err
	}
	read, err := p.readCredentials(allowNull)
	if err != nil {
		return nil, err
	}
	maps.Copy(given, read)
	return given, nil
}

func pickMethod(k api.Connector, key string) (api.AuthMethod, error) {
	if key == "" && len(k.Auth) == 1 {
		return k.Auth[0], nil
	}
	i := slices.IndexFunc(k.Auth, func(m api.AuthMethod) bool { return m.Key == key })
	if i < 0 {
		return api.AuthMethod{}, usagef("Choose an --auth-method of %s: %s.", k.Key, strings.ReplaceAll(methods(k), ",", ", "))
	}
	return k.Auth[i], nil
}

// askMissing asks at the prompt for the method's fields that were not given. Where
// standard input was the source, the server says what is missing.
func (p *program) askMissing(m api.AuthMethod, given map[string]*string, stdin bool) (map[string]*string, error) {
	if stdin {
		return given, nil
	}
	for _, f := range m.Fields {
		if given[f.Key] != nil || !f.Required && len(given) > 0 {
			continue
		}
		label := cmp.Or(f.Label, f.Key)
		if f.Hint != "" {
			label += " (" + f.Hint + ")"
		}
		if !f.Required {
			label += ", empty for none"
		}
		value, err := p.prompt(label, "--credentials-stdin", f.Secret)
		if err != nil {
			return nil, err
		}
		if len(value) > 0 {
			text := string(value)
			given[f.Key] = &text
		}
	}
	return given, nil
}

// change is the flags of connection update.
type change struct {
	details
	name           string
	rotate         bool
	clear          []string
	removeMetadata []string
	removeTags     []string
	version        int
	anotherAccount bool
}

func (p *program) connectionUpdate() *cobra.Command {
	var ch change
	c := command("update ID", "Change a connection or rotate its credentials", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		return p.updateConnection(ctx, args[0], ch)
	})
	c.Long = "Update changes what is given. New credentials, from a prompt (--rotate) or from standard\n" +
		"input (--credentials-stdin), are checked first: if that fails the old ones stay in use."
	ch.flags(c)
	f := c.Flags()
	f.StringVar(&ch.name, "name", "", "a new name")
	f.BoolVar(&ch.rotate, "rotate", false, "ask for new credentials")
	f.StringArrayVar(&ch.clear, "clear-credential", nil, "`key` of a credential to remove")
	f.StringArrayVar(&ch.removeMetadata, "remove-metadata", nil, "`key` to remove")
	f.StringArrayVar(&ch.removeTags, "remove-tag", nil, "`key` to remove")
	f.IntVar(&ch.version, "connector-version", 0, "move to this version of the connector, approving what changed")
	f.BoolVar(&ch.anotherAccount, "allow-account-change", false, "accept credentials of another account")
	c.ValidArgsFunction = p.completeConnections
	return c
}

func (p *program) updateConnection(ctx context.Context, id string, ch change) error {
	in := api.UpdateConnection{AllowAccountChange: ch.anotherAccount, Validate: ch.validate()}
	if ch.name != "" {
		in.Name = &ch.name
	}
	if ch.version != 0 {
		in.ConnectorVersion = &ch.version
	}
	var err error
	if in.Settings, err = pairs("setting", ch.settings); err != nil {
		return err
	}
	if in.Metadata, err = merge("metadata", ch.metadata, ch.removeMetadata); err != nil {
		return err
	}
	if in.Tags, err = merge("tag", ch.tags, ch.removeTags); err != nil {
		return err
	}
	if in.Credentials, err = p.givenCredentials(ch.details, true); err != nil {
		return err
	}
	for _, key := range ch.clear {
		in.Credentials[key] = nil
	}
	c, err := p.connect()
	if err != nil {
		return err
	}
	if ch.rotate {
		if in.Credentials, err = p.askNew(ctx, c, id, in.Credentials); err != nil {
			return err
		}
	}
	conn, err := c.UpdateConnection(ctx, id, in)
	return p.showConnection(conn, err)
}

// askNew asks for all fields of the connection's auth method.
func (p *program) askNew(ctx context.Context, c *client.Client, id string, given map[string]*string) (map[string]*string, error) {
	conn, err := c.Connection(ctx, id)
	if err != nil {
		return nil, err
	}
	k, err := c.Connector(ctx, conn.Connector, conn.ConnectorVersion)
	if err != nil {
		return nil, err
	}
	method, err := pickMethod(k, conn.AuthMethod)
	if err != nil {
		return nil, err
	}
	return p.askMissing(method, given, false)
}

// merge reads pairs to set and keys to remove.
func merge(flag string, set, remove []string) (map[string]*string, error) {
	values, err := pairs(flag, set)
	if err != nil || len(values)+len(remove) == 0 {
		return nil, err
	}
	out := map[string]*string{}
	for k, v := range values {
		out[k] = &v
	}
	for _, k := range remove {
		out[k] = nil
	}
	return out, nil
}

func keyList(m map[string]string) string { return strings.Join(slices.Sorted(maps.Keys(m)), ", ") }

func pairList(m map[string]string) string {
	out := make([]string, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k+"="+m[k])
	}
	return strings.Join(out, ", ")
}
