package wire

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the page's template and style
	"encoding/base64"
	"html/template"
	"net/http"
	"sync"

	"claviger"
)

//go:embed docs.html
var docsTemplate string

//go:embed docs.css
var docsStyle string

// mountPage mounts /docs: the OpenAPI document as a page without scripts and without
// anything fetched from elsewhere.
func (a *API) mountPage() {
	page := sync.OnceValues(a.renderPage)
	digest := sha256.Sum256([]byte(docsStyle))
	policy := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(digest[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	HandleRaw(a, Route{
		Method: http.MethodGet, Path: "/docs", Name: "getDocs", Summary: "This page",
		Tags: []string{"About"}, Public: true, Hidden: true,
	}, func(w http.ResponseWriter, r *http.Request, _ claviger.Caller) {
		html, err := page()
		if err != nil {
			WriteError(w, r, err)
			return
		}
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(html)
	})
}

func (a *API) renderPage() ([]byte, error) {
	if _, err := a.doc(); err != nil { // completes the document
		return nil, err
	}
	t, err := template.New("docs").Parse(docsTemplate)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, a.page())
	return b.Bytes(), err
}

// docPage is what the template shows.
type docPage struct {
	Title, Version, Description string
	Style                       template.CSS // our own file, whose hash is in the policy
	Sections                    []docSection
	Errors                      []docError
	Roles                       []claviger.Role
	Grants                      []docGrant
}

type docSection struct {
	ID, Name   string
	Operations []docOperation
}

type docOperation struct {
	ID, Method, Path, Summary, Description string
	Public                                 bool
	Permission, Kinds                      string
	Parameters, Body                       []docField
	Answers                                []docAnswer
	Curl                                   string
}

type docAnswer struct {
	Status, Text string
	Fields       []docField
}

type docField struct {
	Name, Type, Text string
	Required         bool
}

type docError struct {
	Status        int
	Type, Meaning string
}

type docGrant struct {
	Verb claviger.Verb
	Has  []bool
}

func errorTable() []docError {
	means := []struct {
		kind    claviger.Kind
		meaning string
	}{
		{claviger.KindUnreadable, "The request cannot be read: target, header or JSON. Correct it."},
		{claviger.KindInvalid, "The request is understood and refused; param names the field. Correct it."},
		{claviger.KindTooLarge, "A size limit was met. Send less."},
		{claviger.KindUnauthenticated, "No valid token. Send one."},
		{claviger.KindDenied, "The token may not do this. Ask for the permission, or use another token."},
		{claviger.KindNotFound, "It does not exist, or not for you."},
		{claviger.KindConflict, "The state of things does not allow it; references name what stands in the way."},
		{claviger.KindReauthorize, "The credential is no longer accepted. Send its owner to reconnectUrl."},
		{claviger.KindRateLimited, "Too many requests. Wait for Retry-After."},
		{claviger.KindUpstream, "The vendor could not be reached or gave no sense. Try again later."},
		{claviger.KindTimeout, "The vendor did not answer in time. Try again later."},
		{claviger.KindUnavailable, "claviger cannot do it now. Wait for Retry-After."},
		{claviger.KindInternal, "A fault of claviger. Quote the request id to your operator."},
	}
	out := make([]docError, len(means))
	for i, m := range means {
		out[i] = docError{statusOf(m.kind), typeOf(m.kind), m.meaning}
	}
	return out
}

func grantTable() []docGrant {
	var out []docGrant
	for _, v := range claviger.Verbs() {
		g := docGrant{Verb: v}
		for _, role := range claviger.Roles() {
			g.Has = append(g.Has, role.Permissions().Has(v))
		}
		out = append(out, g)
	}
	return out
}
