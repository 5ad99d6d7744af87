package connect

import (
	"bytes"
	"cmp"
	_ "embed" // the pages' templates
	"html/template"
	"log/slog"
	"net/http"

	"claviger"
	"claviger/internal/broker"
)

//go:embed assets/pages.html
var templates string

// pages renders the surface's pages.
type pages struct{ set *template.Template }

func parsePages() (pages, error) {
	set, err := template.New("pages").Parse(templates + deviceTemplate)
	return pages{set}, err
}

// write answers a page. It is rendered whole first, so that a fault in a template is
// never half a page.
func (p pages) write(w http.ResponseWriter, log *slog.Logger, status int, name string, data any) {
	var b bytes.Buffer
	if err := p.set.ExecuteTemplate(&b, name, data); err != nil {
		log.Error("a page could not be rendered", "page", name, "error", err)
		http.Error(w, "Something went wrong on our side.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

// asking is who asks, for whom, and where the person returns to.
type asking struct{ Organization, User, ReturnOrigin string }

func askingOf(page broker.ConnectPage) asking {
	u := page.Session.User
	return asking{page.Organization, cmp.Or(u.Name, u.Email, u.ID), page.ReturnOrigin}
}

// choices is the page that lists what may be connected.
type choices struct {
	asking
	Choices []choice
}

type choice struct{ Path, Name, Method string }

func choicesOf(page broker.ConnectPage, token string) choices {
	out := choices{asking: askingOf(page)}
	ways := map[string]int{}
	for _, c := range page.Choices {
		ways[c.Connector.Key]++
	}
	for _, c := range page.Choices {
		x := choice{Path: pagePath(token, c.Connector.Key, c.Method.Key), Name: c.Connector.Name}
		if ways[c.Connector.Key] > 1 {
			x.Method = cmp.Or(c.Method.Label, c.Method.Key)
		}
		out.Choices = append(out.Choices, x)
	}
	return out
}

// form is the page of one way to connect.
type form struct {
	asking
	Title, Name, Vendor    string
	Consents               bool
	Scopes, Added, Dropped []string
	Action, Back           string
	Fields                 []field
	Notice, Missing        string
}

// field is one input. A credential's value is never shown again.
type field struct {
	ID, Name, Label, Type, Hint, Docs, Value, Wrong string
	Param                                           string // that an error names it by
	Options                                         []string
	Required, Secret, Long                          bool
}

// formOf answers the page, with what was entered of the settings and what is wrong.
func formOf(page broker.ConnectPage, c broker.ConnectChoice, token string, settings map[string]string, wrong *claviger.Error) form {
	f := form{
		asking: askingOf(page), Title: "Connect " + c.Connector.Name, Name: c.Connector.Name, Vendor: c.Vendor, Consents: c.Consents,
		Scopes: c.Scopes, Added: c.Added, Dropped: c.Dropped, Missing: c.Missing, Action: pagePath(token, c.Connector.Key, c.Method.Key),
	}
	if page.Session.Reconnect {
		f.Title = "Connect " + c.Connector.Name + " again"
	}
	if len(page.Choices) > 1 {
		f.Back = pagePath(token)
	}
	for _, v := range c.Asks {
		f.Fields = append(f.Fields, field{
			ID: "setting-" + v.Key, Name: settingInput + v.Key, Param: "settings." + v.Key, Label: cmp.Or(v.Label, v.Key), Type: "text", Hint: v.Hint,
			Value: cmp.Or(settings[v.Key], v.Default), Options: v.Values, Required: v.Required && v.Default == "",
		})
	}
	if !c.Consents {
		for _, x := range c.Method.Fields {
			f.Fields = append(f.Fields, credentialField(x))
		}
	}
	f.blame(wrong)
	return f
}

func credentialField(x claviger.Field) field {
	out := field{
		ID: "credential-" + x.Key, Name: credentialInput + x.Key, Param: "credentials." + x.Key, Label: cmp.Or(x.Label, x.Key), Type: "text", Hint: x.Hint, Docs: x.DocsURL,
		Options: x.Options, Required: x.Required, Secret: true, Long: x.Type == "json" || x.Type == "file",
	}
	if x.Secret {
		out.Type = "password"
	}
	return out
}

// blame puts an error beside the field that it names, else above the form.
func (f *form) blame(e *claviger.Error) {
	if e == nil {
		return
	}
	for i := range f.Fields {
		x := &f.Fields[i]
		if e.Param == x.Param {
			x.Wrong = e.Message
			f.Notice = "Please check what you entered."
			return
		}
	}
	f.Notice = e.Message
}

// departure is the page between a form and the vendor.
type departure struct{ Start string }

// done is the page after a vendor's yes. Code is in a popup's page for its script,
// Shown on a page for a person.
type done struct {
	Name, Account, Shown  string
	Popup                 bool
	Origin, Session, Code string
	ReturnTo              string
}

func arrived(a broker.Arrival) done {
	d := done{Name: a.Connector, Account: cmp.Or(a.Flow.Draft.Account.Name, a.Flow.Draft.Account.ID)}
	switch a.Flow.Delivery {
	case claviger.DeliverCode:
		d.Shown = a.Code[:len(a.Code)/2] + "-" + a.Code[len(a.Code)/2:]
	case claviger.DeliverPopup:
		d.Popup, d.Origin, d.Session, d.Code, d.ReturnTo = true, a.Origin, string(a.Flow.Session), a.Code, a.ReturnTo
	default:
		d.ReturnTo = a.ReturnTo
	}
	return d
}

// failure is the page of what went wrong.
type failure struct{ Title, Message, Said, Code, Request, ReturnTo string }
