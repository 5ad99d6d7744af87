package native

import (
	"regexp"

	"claviger"
	"claviger/api"
	"claviger/internal/broker"
)

// connector is a connector without its document, for lists.
func connector(k *claviger.Connector) api.Connector {
	return api.Connector{
		Object: "connector", Key: k.Key, Name: k.Name, Kind: k.Kind, Categories: strs(k.Categories), DocsURL: k.DocsURL,
		Version: k.Version, Custom: k.Organization != "", BaseURL: k.BaseURL.String(), AllowedHosts: strs(k.AllowedHosts),
		Variables: each(k.Variables, variable), Auth: each(k.Auth, authMethod),
		Actions:   each(k.Actions, func(a claviger.Action) string { return a.Key }),
		RateLimit: rateLimit(k.RateLimit),
	}
}

func wholeConnector(k *claviger.Connector) api.Connector {
	c := connector(k)
	c.Document = k.Document
	return c
}

func storedConnector(s broker.StoredConnector) api.StoredConnector {
	return api.StoredConnector{
		Connector: wholeConnector(s.Connector), Created: s.Created,
		Changes: each(s.Changes, func(c broker.ConnectorChange) api.ConnectorChange {
			return api.ConnectorChange{Path: c.Path, Old: c.Old, New: c.New, Security: c.Security}
		}),
	}
}

func variable(v claviger.Variable) api.Variable {
	return api.Variable{
		Key: v.Key, Label: v.Label, Type: string(v.Type), Required: v.Required, Default: v.Default, Values: v.Values, Hint: v.Hint,
		AuthMethods: v.Methods,
	}
}

func authMethod(m claviger.AuthMethod) api.AuthMethod {
	out := api.AuthMethod{
		Key: m.Key, Type: string(m.Type), Label: m.Label, DocsURL: m.DocsURL, Fields: each(m.Fields, field), Testable: m.Test != nil,
		BaseURL: m.BaseURL.String(),
	}
	if m.OAuth != nil {
		for _, d := range m.OAuth.Discover {
			out.Discovers = append(out.Discovers, d.Variable)
		}
	}
	return out
}

func field(f claviger.Field) api.Field {
	return api.Field{
		Key: f.Key, Label: f.Label, Type: f.Type, Secret: f.Secret, Required: f.Required, Pattern: pattern(f.Pattern),
		Options: f.Options, Hint: f.Hint, DocsURL: f.DocsURL,
	}
}

func pattern(p *regexp.Regexp) string {
	if p == nil {
		return ""
	}
	return p.String()
}
