package wire

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"claviger"
)

// MountDocs mounts /openapi.json and /docs, both public and both made from the
// routes that are mounted by the time of the first request.
func (a *API) MountDocs() {
	HandleRaw(a, Route{
		Method: http.MethodGet, Path: "/openapi.json", Name: "getOpenAPI", Summary: "The OpenAPI document",
		Tags: []string{"About"}, Public: true, Hidden: true,
	}, func(w http.ResponseWriter, r *http.Request, _ claviger.Caller) {
		doc, err := a.doc()
		if err != nil {
			WriteError(w, r, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(doc)
	})
	a.mountPage()
}

// OpenAPI answers the OpenAPI 3.1 document of the surface as JSON. Call it when all
// routes are mounted.
func (a *API) OpenAPI() ([]byte, error) { return a.doc() }

func (a *API) renderOpenAPI() ([]byte, error) {
	doc := a.huma.OpenAPI()
	for _, r := range a.routes {
		if r.Raw && !r.Hidden {
			addRaw(doc, a.operation(r))
		}
	}
	plain := make(map[string]*huma.PathItem, len(doc.Paths))
	for path, item := range doc.Paths {
		plain[strings.ReplaceAll(path, "...}", "}")] = item // "{path...}" is the router's word
	}
	doc.Paths = plain
	return json.MarshalIndent(doc, "", "  ")
}

// addRaw documents a route that huma does not serve. One that takes any method is
// shown with the five that are used.
func addRaw(doc *huma.OpenAPI, op huma.Operation) {
	for part := range strings.SplitSeq(op.Path, "/") {
		if strings.HasPrefix(part, "{") {
			op.Parameters = append(op.Parameters, &huma.Param{
				Name: strings.TrimSuffix(strings.Trim(part, "{}"), "..."), In: "path", Required: true,
				Schema: &huma.Schema{Type: "string"},
			})
		}
	}
	op.Responses = map[string]*huma.Response{"default": {Description: "See the description"}}
	if op.Method != "" {
		doc.AddOperation(&op)
		return
	}
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		each := op
		each.Method, each.OperationID = m, op.OperationID+m[:1]+strings.ToLower(m[1:])
		doc.AddOperation(&each)
	}
}
