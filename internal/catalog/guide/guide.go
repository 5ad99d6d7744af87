// Package guide says in words what a connector's document says in data: what is needed
// to connect a vendor, where people find it, what is asked for, where it may go, and what
// is unusual. The Markdown pages of the repository and the pages that the program serves
// are both made from it, so that they cannot differ.
//
// Texts are plain English in which `backticks` mark code, and nothing else is markup. A
// document may be hostile: its texts stand here as they are, and whoever prints them
// escapes them for the place.
package guide

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"claviger"
)

// Page is what there is to say about a connector.
type Page struct {
	Key, Name, Description string
	Initials               string // one or two letters that stand for a logo
	Categories             []string
	DocsURL, WebhooksURL   string
	Hosts                  []string // where credentials go; empty: the host that a connection is made with
	Settings               []Setting
	Methods                []Method
	Actions                []Action
	Quirks                 []string // what differs from the usual
	Limits                 string   // of requests, as a sentence; empty if nothing is known
}

// Setting is a value that a connection is made with and that is no secret.
type Setting struct {
	Key, Text, Values string
	Required          bool
	Methods           []string // that need it; empty for all
}

// Method is one way to authenticate.
type Method struct {
	Key, Label, Type, DocsURL string
	BaseURL                   string // where its calls go, if not where the others' go
	Fields                    []Field
	Grant                     []Fact // of oauth2
	Scopes                    []string
	Consents                  bool // a person is sent to the vendor, so that a redirect URI is registered there
	Test, Granted             string
}

// Field is a credential value that a person brings.
type Field struct {
	Key, Text, DocsURL string
	Secret, Required   bool
}

// Fact is a sentence under a word.
type Fact struct{ Name, Text string }

// Action is a typed operation.
type Action struct {
	Key, Name, Description string
	ReadOnly               bool
	Inputs                 []Input
}

// Input is a value that an action takes.
type Input struct {
	Name     string
	Required bool
}

// words are what a page needs of a document and a compiled connector does not keep.
type words struct {
	Description string
	Webhooks    struct{ DocsURL string }
	Auth        []struct {
		OAuth2 struct{ Refresh any }
	}
}

// Of answers the page of a connector. Its error says that the document is not what the
// catalogue made of it.
func Of(conn *claviger.Connector) (Page, error) {
	var w words
	if err := json.Unmarshal(conn.Document, &w); err != nil {
		return Page{}, err
	}
	p := Page{
		Key: conn.Key, Name: conn.Name, Description: w.Description, Initials: Initials(conn.Name), Categories: conn.Categories,
		DocsURL: conn.DocsURL, WebhooksURL: w.Webhooks.DocsURL, Hosts: conn.AllowedHosts, Limits: limits(conn.RateLimit),
	}
	for i := range conn.Variables {
		s := setting(&conn.Variables[i])
		s.Required = s.Required && !alwaysFound(conn, s.Key)
		p.Settings = append(p.Settings, s)
	}
	for i := range conn.Auth {
		m := method(&conn.Auth[i])
		if i < len(w.Auth) && conn.Auth[i].OAuth != nil {
			m.Grant = append(m.Grant, Fact{"Refresh", refresh(w.Auth[i].OAuth2.Refresh, conn.Auth[i].OAuth.Refresh)}, Fact{"Revocation", revocation(conn.Auth[i].OAuth)})
		}
		p.Methods = append(p.Methods, m)
	}
	for i := range conn.Actions {
		a := &conn.Actions[i]
		p.Actions = append(p.Actions, Action{Key: a.Key, Name: a.Name, Description: a.Description, ReadOnly: a.ReadOnly, Inputs: inputs(a.InputJSON)})
	}
	p.Quirks = quirks(conn)
	return p, nil
}

// Initials answers one or two letters of a name: of its first two words, or the first
// letter alone.
func Initials(name string) string {
	var out []rune
	for _, word := range strings.FieldsFunc(name, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		first, _ := utf8.DecodeRuneInString(word)
		if out = append(out, unicode.ToUpper(first)); len(out) == 2 {
			break
		}
	}
	return string(out)
}

func setting(v *claviger.Variable) Setting {
	s := Setting{Key: v.Key, Text: sentence(v.Label, v.Hint), Values: Code(v.Values), Required: v.Required && v.Default == "", Methods: v.Methods}
	if s.Values == "" {
		s.Values = string(v.Type)
	}
	if v.Default != "" {
		s.Values += "; `" + v.Default + "` unless given"
	}
	return s
}

// sentence joins a label and its hint.
func sentence(label, hint string) string {
	if hint == "" {
		return label
	}
	return strings.TrimSuffix(label, ".") + ". " + strings.TrimSuffix(hint, ".")
}

// Code marks each text as code.
func Code(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return "`" + strings.Join(list, "`, `") + "`"
}

func inputs(schema []byte) []Input {
	var s struct {
		Properties map[string]any
		Required   []string
	}
	if json.Unmarshal(schema, &s) != nil {
		return nil
	}
	var out []Input
	for name := range s.Properties {
		out = append(out, Input{name, slices.Contains(s.Required, name)})
	}
	slices.SortFunc(out, func(a, b Input) int { return strings.Compare(a.Name, b.Name) })
	return out
}
