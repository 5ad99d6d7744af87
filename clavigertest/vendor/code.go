package vendor

import (
	"net/http"
	"strings"
)

func github() *profile {
	user := object{"id": 583231, "login": "octocat", "name": "The Octocat"}
	return &profile{
		key: "github", hosts: []string{"api.github.com"}, scopes: []string{"repo", "read:org"},
		credentials:  map[string]map[string]string{"token": {"token": githubToken}},
		authentic:    func(r *http.Request) bool { return exact(r, "Authorization", "Bearer "+githubToken) },
		unauthorized: object{"message": "Bad credentials", "documentation_url": "https://docs.github.com/rest", "status": "401"},
		check: func(c *call) (int, object) {
			if c.r.Header.Get("User-Agent") == "" {
				return http.StatusForbidden, object{"message": "Request forbidden by administrative rules. Please make sure your request has a User-Agent header"}
			}
			if !exact(c.r, "X-GitHub-Api-Version", "2022-11-28") || !exact(c.r, "Accept", "application/vnd.github+json") {
				return http.StatusBadRequest, object{"message": "unsupported version or media type"}
			}
			return 0, nil
		},
		routes: map[string]route{
			"GET /user": {answer: func(c *call) (int, http.Header, any) {
				return http.StatusOK, http.Header{"X-OAuth-Scopes": {strings.Join(c.scopes, ", ")}}, user
			}},
			"GET /user/repos": {answer: func(c *call) (int, http.Header, any) {
				next := `<https://api.github.com/user/repos?page=2>; rel="next", <https://api.github.com/user/repos?page=9>; rel="last"`
				return http.StatusOK, http.Header{"Link": {next}}, []any{object{"id": 1, "full_name": "octocat/hello"}}
			}},
			"GET /repos/{}/{}/issues":  {answer: just(http.StatusOK, []any{object{"number": 1, "title": "found a bug"}})},
			"POST /repos/{}/{}/issues": {scope: []string{"repo", "public_repo"}, format: "json", require: []string{"title"}, answer: created},
		},
	}
}

// created answers 201 with what was sent.
func created(c *call) (int, http.Header, any) {
	out := object{"id": 7}
	for name, value := range c.json {
		out[name] = value
	}
	return http.StatusCreated, nil, out
}

func gitlab() *profile {
	user := object{"id": 42, "username": "tanuki", "state": "active"}
	return &profile{
		key: "gitlab", hosts: []string{"gitlab.com", "gitlab.example.com"}, scopes: []string{"api", "read_user"}, settings: map[string]string{"host": "gitlab.com"},
		credentials:  map[string]map[string]string{"token": {"token": gitlabToken}},
		authentic:    func(r *http.Request) bool { return exact(r, "PRIVATE-TOKEN", gitlabToken) },
		unauthorized: object{"message": "401 Unauthorized"},
		routes: map[string]route{
			"GET /api/v4/user": {answer: just(http.StatusOK, user)},
			"GET /api/v4/personal_access_tokens/self": {answer: func(c *call) (int, http.Header, any) {
				return http.StatusOK, nil, object{"id": 1, "active": true, "scopes": c.scopes}
			}},
			"GET /api/v4/projects":            {scope: []string{"api", "read_api"}, answer: just(http.StatusOK, []any{object{"id": 3, "path_with_namespace": "acme/site"}})},
			"POST /api/v4/projects/{}/issues": {scope: []string{"api"}, format: "json", require: []string{"title"}, answer: created},
		},
	}
}

func linear() *profile {
	viewer := object{"viewer": object{
		"id": "5a1e", "name": "Ada", "email": "ada@example.com",
		"organization": object{"id": "0b2f", "name": "Acme", "urlKey": "acme"},
	}}
	page := func(nodes ...any) object {
		return object{"nodes": nodes, "pageInfo": object{"hasNextPage": true, "endCursor": "cursor-2"}}
	}
	return &profile{
		key: "linear", hosts: []string{"api.linear.app"},
		credentials: map[string]map[string]string{"api-key": {"apiKey": linearKey}},
		authentic:   func(r *http.Request) bool { return exact(r, "Authorization", linearKey) },
		unauthorized: object{"errors": []any{object{
			"message": "Authentication required, not authenticated", "extensions": object{"type": "authentication error", "code": "AUTHENTICATION_ERROR"},
		}}},
		routes: map[string]route{"POST /graphql": {format: "json", require: []string{"query"}, answer: func(c *call) (int, http.Header, any) {
			query, _ := c.json["query"].(string)
			variables, _ := c.json["variables"].(object)
			input, _ := variables["input"].(object)
			switch {
			case strings.Contains(query, "viewer {"):
				return http.StatusOK, nil, object{"data": viewer}
			case strings.Contains(query, "teams("):
				return http.StatusOK, nil, object{"data": object{"teams": page(object{"id": "t1", "key": "ENG"})}}
			case strings.Contains(query, "issues("):
				return http.StatusOK, nil, object{"data": object{"issues": page(object{"id": "i1", "title": "First"})}}
			case strings.Contains(query, "issueCreate(") && input["teamId"] != nil && input["title"] != nil:
				return http.StatusOK, nil, object{"data": object{"issueCreate": object{"success": true, "issue": object{"id": "i2"}}}}
			}
			return http.StatusBadRequest, nil, object{"errors": []any{object{"message": "Cannot query", "extensions": object{"code": "GRAPHQL_VALIDATION_FAILED"}}}}
		}}},
	}
}
