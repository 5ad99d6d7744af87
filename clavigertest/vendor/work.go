package vendor

import "net/http"

func clickup() *profile {
	user := object{"user": object{"id": 123, "username": "ada", "email": "ada@example.com"}}
	return &profile{
		key: "clickup", hosts: []string{"api.clickup.com"},
		credentials:  map[string]map[string]string{"token": {"token": clickupToken}},
		authentic:    func(r *http.Request) bool { return exact(r, "Authorization", clickupToken) },
		unauthorized: object{"err": "Token invalid", "ECODE": "OAUTH_025"},
		routes: map[string]route{
			"GET /api/v2/user":          {answer: just(http.StatusOK, user)},
			"GET /api/v2/team":          {answer: just(http.StatusOK, object{"teams": []any{object{"id": "9", "name": "Acme"}}})},
			"GET /api/v2/list/{}/task":  {answer: just(http.StatusOK, object{"tasks": []any{object{"id": "abc"}}})},
			"POST /api/v2/list/{}/task": {format: "json", require: []string{"name"}, answer: just(http.StatusOK, object{"id": "abc"})},
		},
	}
}

func jira() *profile {
	const email = "ada@example.com"
	return &profile{
		key: "jira", hosts: []string{"acme.atlassian.net"}, settings: map[string]string{"subdomain": "acme"},
		credentials:  map[string]map[string]string{"basic": {"email": email, "apiToken": jiraToken}},
		authentic:    func(r *http.Request) bool { return basic(r, email, jiraToken) },
		unauthorized: object{"message": "Client must be authenticated to access this resource.", "status-code": 401},
		routes: map[string]route{
			"GET /rest/api/3/myself": {answer: just(http.StatusOK, object{"accountId": "5b10a2844c20165700ede21g", "displayName": "Ada"})},
			"GET /rest/api/3/search/jql": {require: []string{"jql"}, answer: just(http.StatusOK, object{
				"issues": []any{object{"id": "10001", "key": "ACME-1"}}, "nextPageToken": "CAEaAggD",
			})},
			"POST /rest/api/3/issue": {format: "json", require: []string{"fields"}, answer: func(c *call) (int, http.Header, any) {
				fields, _ := c.json["fields"].(object)
				project, _ := fields["project"].(object)
				if project["key"] == nil || fields["summary"] == nil || fields["issuetype"] == nil {
					return http.StatusBadRequest, nil, object{"errorMessages": []any{}, "errors": object{"project": "project is required"}}
				}
				return http.StatusCreated, nil, object{"id": "10002", "key": "ACME-2"}
			}},
		},
	}
}

func notion() *profile {
	bot := object{"object": "user", "id": "16d8004e", "type": "bot", "bot": object{"workspace_name": "Acme", "workspace_id": "w1"}}
	list := object{"object": "list", "results": []any{object{"object": "page", "id": "59833787"}}, "next_cursor": "cursor-2", "has_more": true}
	return &profile{
		key: "notion", hosts: []string{"api.notion.com"},
		credentials:  map[string]map[string]string{"token": {"token": notionToken}},
		authentic:    func(r *http.Request) bool { return exact(r, "Authorization", "Bearer "+notionToken) },
		unauthorized: object{"object": "error", "status": 401, "code": "unauthorized", "message": "API token is invalid."},
		check: func(c *call) (int, object) {
			if !exact(c.r, "Notion-Version", "2025-09-03") {
				return http.StatusBadRequest, object{"object": "error", "status": 400, "code": "missing_version", "message": "Notion-Version header should be defined"}
			}
			return 0, nil
		},
		routes: map[string]route{
			"GET /v1/users/me": {answer: just(http.StatusOK, bot)},
			"POST /v1/search":  {format: "json", answer: just(http.StatusOK, list)},
			"GET /v1/pages/{}": {answer: just(http.StatusOK, object{"object": "page", "id": "59833787"})},
			"POST /v1/pages":   {format: "json", require: []string{"parent", "properties"}, answer: just(http.StatusOK, object{"object": "page", "id": "p2"})},
		},
	}
}

func openai() *profile {
	return &profile{
		key: "openai", hosts: []string{"api.openai.com"},
		credentials:  map[string]map[string]string{"api-key": {"apiKey": openaiKey}},
		authentic:    func(r *http.Request) bool { return exact(r, "Authorization", "Bearer "+openaiKey) },
		unauthorized: object{"error": object{"message": "Incorrect API key provided.", "type": "invalid_request_error", "param": nil, "code": "invalid_api_key"}},
		routes: map[string]route{
			"GET /v1/models":            {answer: just(http.StatusOK, object{"object": "list", "data": []any{object{"id": "gpt-4o", "object": "model"}}})},
			"POST /v1/chat/completions": {format: "json", require: []string{"model", "messages"}, answer: just(http.StatusOK, object{"id": "chatcmpl-1", "choices": []any{}})},
			"POST /v1/embeddings":       {format: "json", require: []string{"model", "input"}, answer: just(http.StatusOK, object{"object": "list", "data": []any{}})},
		},
	}
}
