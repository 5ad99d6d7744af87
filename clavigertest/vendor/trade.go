package vendor

import "net/http"

func stripe() *profile {
	account := object{"id": "acct_1032D82eZvKYlo2C", "object": "account", "settings": object{"dashboard": object{"display_name": "Acme"}}}
	return &profile{
		key: "stripe", hosts: []string{"api.stripe.com"},
		credentials: map[string]map[string]string{"api-key": {"apiKey": stripeKey}},
		authentic: func(r *http.Request) bool {
			return exact(r, "Authorization", "Bearer "+stripeKey) || basic(r, stripeKey, "")
		},
		unauthorized: object{"error": object{"message": "Invalid API Key provided", "type": "invalid_request_error"}},
		routes: map[string]route{
			"GET /v1/account": {answer: just(http.StatusOK, account)},
			"GET /v1/balance": {answer: just(http.StatusOK, object{"object": "balance", "available": []any{}})},
			"GET /v1/customers": {answer: just(http.StatusOK, object{
				"object": "list", "has_more": true, "data": []any{object{"id": "cus_1"}, object{"id": "cus_2"}},
			})},
			"POST /v1/customers": {format: "form", answer: func(c *call) (int, http.Header, any) {
				return http.StatusOK, nil, object{"id": "cus_3", "email": c.form.Get("email"), "metadata": object{"plan": c.form.Get("metadata[plan]")}}
			}},
		},
	}
}

func sendgrid() *profile {
	return &profile{
		key: "sendgrid", hosts: []string{"api.sendgrid.com", "api.eu.sendgrid.com"}, scopes: []string{"mail.send", "templates.read"},
		credentials:  map[string]map[string]string{"api-key": {"apiKey": sendgridKey}},
		authentic:    func(r *http.Request) bool { return exact(r, "Authorization", "Bearer "+sendgridKey) },
		unauthorized: object{"errors": []any{object{"message": "The provided authorization grant is invalid, expired, or revoked", "field": nil, "help": nil}}},
		routes: map[string]route{
			"GET /v3/scopes": {answer: func(c *call) (int, http.Header, any) { return http.StatusOK, nil, object{"scopes": c.scopes} }},
			"GET /v3/templates": {scope: []string{"templates.read"}, require: []string{"generations"}, answer: just(http.StatusOK, object{
				"result": []any{}, "_metadata": object{"next": "https://api.sendgrid.com/v3/templates?page_token=token-2", "count": 0},
			})},
			"POST /v3/mail/send": {
				scope: []string{"mail.send"}, format: "json", require: []string{"personalizations", "from", "subject", "content"},
				answer: func(c *call) (int, http.Header, any) {
					return http.StatusAccepted, http.Header{"X-Message-Id": {"m-1"}}, nil
				},
			},
		},
	}
}

func twilio() *profile {
	account := object{"sid": twilioSID, "friendly_name": "Acme", "status": "active"}
	path := "/2010-04-01/Accounts/" + twilioSID
	return &profile{
		key: "twilio", hosts: []string{"api.twilio.com"}, settings: map[string]string{"accountSid": twilioSID},
		credentials: map[string]map[string]string{
			"basic":   {"authToken": twilioToken},
			"api-key": {"apiKeySid": twilioKeySID, "apiKeySecret": twilioSecret},
		},
		authentic: func(r *http.Request) bool {
			return basic(r, twilioSID, twilioToken) || basic(r, twilioKeySID, twilioSecret)
		},
		unauthorized: object{"code": 20003, "message": "Authenticate", "more_info": "https://www.twilio.com/docs/errors/20003", "status": 401},
		routes: map[string]route{
			"GET " + path + ".json": {answer: func(c *call) (int, http.Header, any) {
				if user, _, _ := c.r.BasicAuth(); user != twilioSID { // a standard key cannot read accounts
					return http.StatusUnauthorized, nil, object{"code": 20003, "message": "Authenticate", "status": 401}
				}
				return http.StatusOK, nil, account
			}},
			"GET " + path + "/Messages.json": {answer: just(http.StatusOK, object{
				"messages": []any{}, "next_page_uri": path + "/Messages.json?PageSize=1&PageToken=PT2",
			})},
			"POST " + path + "/Messages.json": {format: "form", require: []string{"To", "Body"}, answer: func(c *call) (int, http.Header, any) {
				if c.form.Get("From") == "" && c.form.Get("MessagingServiceSid") == "" {
					return http.StatusBadRequest, nil, object{"code": 21603, "message": "A 'From' phone number is required.", "status": 400}
				}
				return http.StatusCreated, nil, object{"sid": "SM1", "to": c.form.Get("To"), "status": "queued"}
			}},
		},
	}
}
