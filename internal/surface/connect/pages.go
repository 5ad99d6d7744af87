package connect

import (
	"cmp"
	_ "embed" // the pages' templates
	"net/url"
	"slices"
	"strings"

	"claviger"
	"claviger/internal/broker"
	"claviger/internal/surface/pagekit"
)

//go:embed assets/pages.html
var templates string

// frame is what all pages have.
type frame struct {
	Title  string
	Brand  pagekit.Brand
	Faulty bool // a form came back, which a screen reader says first
	Reload int  // seconds after which the page loads again, where no script runs; 0: never
}

// asking is who asks, for whom, and where the person returns to.
type asking struct {
	frame
	User, ReturnOrigin string
}

func askingOf(of broker.ConnectPage, title string) asking {
	u := of.Session.User
	return asking{frame{Title: title, Brand: pagekit.BrandOf(of.Brand)}, cmp.Or(u.Name, u.Email, u.ID), of.ReturnOrigin}
}

// choices is the page that lists what may be connected.
type choices struct {
	asking
	Choices []choice
	Filter  bool // the list is long
}

type choice struct {
	pagekit.Tile
	Path, Name, How string
}

// longList is from how many choices on a person is offered to search them.
const longList = 8

func choicesOf(page broker.ConnectPage, token string) choices {
	out := choices{asking: askingOf(page, "Connect an account"), Filter: len(page.Choices) >= longList}
	if len(page.Choices) == 0 {
		out.Title = "There is nothing to connect"
	}
	consents := map[string]int{}
	for _, c := range page.Choices {
		if c.Consents {
			consents[c.Connector.Key]++
		}
	}
	for _, c := range page.Choices {
		how := cmp.Or(c.Method.Label, c.Method.Key)
		switch {
		case !c.Consents || c.Vendor == "":
		case consents[c.Connector.Key] > 1: // which of them it is, must be said
			how += ", at " + c.Vendor
		default:
			how = "Sign in at " + c.Vendor
		}
		out.Choices = append(out.Choices, choice{
			Tile: pagekit.TileOf(c.Connector.Key, c.Connector.Name), Path: pagePath(token, c.Connector.Key, c.Method.Key), Name: c.Connector.Name, How: how,
		})
	}
	return out
}

// form is the page of one way to connect.
type form struct {
	asking
	pagekit.Tile
	Name, Vendor           string
	Again, Consents        bool
	Scopes, Added, Dropped []string
	Action, Back           string
	Fields                 []field
	Notice, Missing        string
}

// field is one input. A secret is never shown again.
type field struct {
	ID, Name, Label, Type, Hint, Docs, Value, Wrong string
	Param                                           string // that an error names it by
	Options                                         []string
	Required, Secret, Long                          bool
}

// formOf answers the page, with what was entered that is no secret, and what is wrong.
func formOf(page broker.ConnectPage, c broker.ConnectChoice, token string, entered url.Values, wrong *claviger.Error) form {
	f := form{
		asking: askingOf(page, "Connect "+c.Connector.Name), Tile: pagekit.TileOf(c.Connector.Key, c.Connector.Name), Name: c.Connector.Name, Vendor: c.Vendor,
		Again: page.Session.Reconnect, Consents: c.Consents, Added: c.Added, Dropped: c.Dropped, Missing: c.Missing,
		Action: pagePath(token, c.Connector.Key, c.Method.Key),
	}
	f.Scopes = slices.DeleteFunc(slices.Clone(c.Scopes), func(s string) bool { return slices.Contains(c.Added, s) })
	if f.Again {
		f.Title += " again"
	}
	if len(page.Choices) > 1 {
		f.Back = pagePath(token)
	}
	for _, v := range c.Asks {
		f.Fields = append(f.Fields, field{
			ID: "setting-" + v.Key, Name: settingInput + v.Key, Param: "settings." + v.Key, Label: cmp.Or(v.Label, v.Key), Type: "text", Hint: v.Hint,
			Value: cmp.Or(entered.Get(settingInput+v.Key), v.Default), Options: v.Values, Required: v.Required && v.Default == "",
		})
	}
	if !c.Consents {
		for _, x := range c.Method.Fields {
			f.Fields = append(f.Fields, credentialField(x, entered))
		}
	}
	f.blame(wrong)
	return f
}

func credentialField(x claviger.Field, entered url.Values) field {
	out := field{
		ID: "credential-" + x.Key, Name: credentialInput + x.Key, Param: "credentials." + x.Key, Label: cmp.Or(x.Label, x.Key), Type: "text", Hint: x.Hint, Docs: x.DocsURL,
		Options: x.Options, Required: x.Required, Secret: true, Long: x.Type == "json" || x.Type == "file",
	}
	if x.Secret {
		out.Type = "password"
	} else {
		out.Value = entered.Get(out.Name)
	}
	return out
}

// blame puts an error beside the field that it names, else above the form.
func (f *form) blame(e *claviger.Error) {
	if e == nil {
		return
	}
	f.Faulty = true
	for i := range f.Fields {
		x := &f.Fields[i]
		if e.Param == x.Param {
			x.Wrong = strings.TrimSuffix(strings.TrimSuffix(plain(e), "."), strings.TrimSuffix(" "+x.Hint, ".")) // the hint stands there already
			f.Notice = "Please check what you entered."
			return
		}
	}
	f.Notice = e.Message
}

// plain says what is wrong with a field as the person before it would: the API's name of
// the field is not theirs.
func plain(e *claviger.Error) string {
	if rest, ok := strings.CutPrefix(e.Message, e.Param+" "); ok {
		return "This " + rest
	}
	return e.Message
}

// departure is the page between a form and the vendor.
type departure struct {
	frame
	Start string
}

// done is the page after a vendor's yes. Code is in a popup's page for its script,
// Shown on a page for a person.
type done struct {
	frame
	Name, Shown           string
	Account               *account
	Popup                 bool
	Origin, Session, Code string
	ReturnTo              string
}

// account is whose account of the vendor it is.
type account struct {
	pagekit.Tile
	Name, ID, Of string
}

func arrived(of claviger.Branding, a broker.Arrival) done {
	d := done{frame: frame{Title: "Almost done", Brand: pagekit.BrandOf(of)}, Name: a.Connector}
	if x := a.Flow.Draft.Account; x.ID != "" || x.Name != "" {
		d.Account = &account{Tile: pagekit.TileOf(a.Flow.Draft.Connector, cmp.Or(x.Name, x.ID)), Name: cmp.Or(x.Name, x.ID), Of: a.Connector}
		if x.Name != "" {
			d.Account.ID = x.ID
		}
	}
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

// failure is the page of what went wrong. Over says that it is nobody's fault: the time
// is over, or the page was used.
type failure struct {
	frame
	Over                                   bool
	Message, Said, Code, Request, ReturnTo string
}
