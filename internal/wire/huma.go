package wire

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"claviger"
)

// setUpHuma sets the few settings that huma keeps as package variables, once, for
// the whole process:
//
//   - errors: huma's own echo submitted values and the texts of internal errors;
//     all of them are converted here, in one place, by [convert];
//   - strict casing: encoding/json would take "Name" for "name", so that a check of
//     one and a use of the other could differ;
//   - arrays are never null.
var setUpHuma = sync.OnceFunc(func() {
	huma.ValidateStrictCasing = true
	huma.DefaultArrayNullable = false
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		e, status := convert(status, msg, errs)
		_, body := NativeError(Failure{Err: e, Status: status})
		return &failure{status: status, body: body, cause: e}
	}
	huma.NewErrorWithContext = func(ctx huma.Context, status int, msg string, errs ...error) huma.StatusError {
		x := exchangeOf(ctx.Context())
		if x == nil {
			return huma.NewError(status, msg, errs...)
		}
		for _, err := range errs {
			var f *failure
			if asFailure(err, &f) {
				return f
			}
		}
		e, status := convert(status, msg, errs)
		return x.fail(e, status)
	}
})

func humaConfig(c Config) huma.Config {
	hc := huma.DefaultConfig(c.Title, c.Version)
	hc.Info.Description = c.Description
	hc.OpenAPIPath, hc.DocsPath, hc.SchemasPath = "", "", "" // served by our own pages
	hc.CreateHooks = nil                                     // no $schema links made from the Host header
	hc.RejectUnknownQueryParameters = !c.LenientQuery
	hc.Formats = map[string]huma.Format{"application/json": {
		Marshal: func(w io.Writer, v any) error {
			enc := json.NewEncoder(w)
			enc.SetEscapeHTML(false)
			return enc.Encode(v)
		},
		// Whether the text is strict JSON has been checked when the body was read.
		Unmarshal: json.Unmarshal,
	}}
	hc.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer": {Type: "http", Scheme: "bearer", Description: "An API key (`clv_key_...`) or a short-lived token."},
		"apiKey": {Type: "apiKey", In: "header", Name: "api-key", Description: "An API key, where a client cannot send Authorization. Send one of the two, not both."},
	}
	return hc
}

// operation describes a route to huma.
func (a *API) operation(r Route) huma.Operation {
	op := huma.Operation{
		OperationID: r.Name, Method: r.Method, Path: r.Path, DefaultStatus: r.Status,
		Summary: r.Summary, Description: r.Description, Tags: r.Tags, Hidden: r.Hidden,
		MaxBodyBytes:    -1, // the body has been read, under its cap, before huma sees it
		BodyReadTimeout: -1,
		Middlewares:     huma.Middlewares{func(ctx huma.Context, next func(huma.Context)) { a.serve(ctx, r, next) }},
		Extensions:      map[string]any{},
		// A body of several types is text to huma; the handler reads it itself.
		SkipValidateBody: len(r.BodyTypes) > 1,
	}
	if r.Verb != "" {
		op.Extensions["x-permission"] = string(r.Verb)
	}
	if len(r.Kinds) > 0 {
		op.Extensions["x-token-kinds"] = r.Kinds
	}
	if !r.Public {
		op.Security = []map[string][]string{{"bearer": {}}, {"apiKey": {}}}
	}
	return op
}

// serve stands before every huma operation: the caller, the kind of its token, the
// body, and only then huma's decoding.
func (a *API) serve(ctx huma.Context, route Route, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	entered, x := a.enter(w, r, route)
	err := a.admit(entered, x)
	if err == nil {
		err = x.readBody(w, r)
	}
	if err != nil {
		x.write(w, err)
		return
	}
	if entered == r {
		next(ctx)
		return
	}
	next(huma.WithContext(ctx, entered.Context()))
}

// convert turns what huma found wrong into an error of ours. Only texts that come
// from our schemas are repeated; nothing that was submitted is, except the name of
// an unknown field.
func convert(status int, msg string, errs []error) (*claviger.Error, int) {
	if status >= http.StatusInternalServerError {
		cause := errors.New(msg)
		if len(errs) > 0 {
			cause = errors.Join(errs...)
		}
		return claviger.AsError(cause), http.StatusInternalServerError
	}
	for _, err := range errs {
		var own *claviger.Error
		if errors.As(err, &own) {
			return own, statusOf(own.Kind)
		}
		var d huma.ErrorDetailer
		if errors.As(err, &d) {
			return convertDetail(d.ErrorDetail()), http.StatusUnprocessableEntity
		}
	}
	switch {
	case status == http.StatusBadRequest && msg == "request body is required":
		return claviger.Errorf(claviger.KindUnreadable, "body_required", "This request needs a JSON body."), status
	case status == http.StatusUnprocessableEntity:
		return claviger.Invalid("", "invalid", "The request does not fit its schema."), status
	default:
		return claviger.Errorf(claviger.KindUnreadable, "unreadable", "The request cannot be read."), http.StatusBadRequest
	}
}

func convertDetail(d *huma.ErrorDetail) *claviger.Error {
	param := paramOf(d.Location)
	text, _, _ := strings.Cut(d.Message, ": ") // what follows is the text of a parser, which quotes its input
	switch {
	case text == "unexpected property":
		return claviger.Invalid(param, "unknown_field", "There is no field of this name. Remove it, or check its spelling; names are case-sensitive.")
	case text == "unknown query parameter":
		return claviger.Invalid(param, "unknown_parameter", "There is no query parameter of this name. Remove it, or check its spelling.")
	case strings.HasPrefix(text, "expected required property "):
		name := strings.TrimSuffix(strings.TrimPrefix(text, "expected required property "), " to be present")
		return claviger.Invalid(joinParam(param, name), "required", "This field is required.")
	case strings.HasPrefix(text, "required ") && strings.HasSuffix(text, " parameter is missing"):
		return claviger.Invalid(param, "required", "This parameter is required.")
	case strings.HasPrefix(text, "expected "):
		return claviger.Invalid(param, "invalid_value", "This value does not fit: %s.", text)
	case text == "invalid integer" || text == "invalid float" || text == "invalid boolean":
		return claviger.Invalid(param, "invalid_value", "This value does not fit: expected %s.", strings.TrimPrefix(text, "invalid "))
	case strings.HasPrefix(text, "invalid date/time for format "):
		return claviger.Invalid(param, "invalid_value", "This value does not fit: expected an RFC 3339 time, such as 2026-01-31T12:00:00Z.")
	default:
		return claviger.Invalid(param, "invalid_value", "This value does not fit its type.")
	}
}

// paramOf makes huma's "body.a[0].b" the "a[0].b" that callers know. Names can be
// the caller's own, so they are cut to a length and to letters that cannot confuse
// a terminal or a log.
func paramOf(location string) string {
	for _, in := range []string{"body", "query", "path", "header", "cookie"} {
		if location == in {
			return ""
		}
		if rest, ok := strings.CutPrefix(location, in+"."); ok {
			location = rest
			break
		}
	}
	const longest = 128
	out := make([]byte, 0, min(len(location), longest))
	for i := 0; i < len(location) && len(out) < longest; i++ {
		c := location[i]
		if c < 0x21 || c > 0x7e || c == '<' || c == '>' || c == '"' || c == '\'' || c == '&' {
			c = '?'
		}
		out = append(out, c)
	}
	return string(out)
}

func joinParam(param, name string) string {
	if param == "" {
		return name
	}
	return param + "." + name
}
