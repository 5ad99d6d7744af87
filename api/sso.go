package api

import "time"

// PutSingleSignOn is the body of PUT /v1/sso.
type PutSingleSignOn struct {
	Issuer         string   `json:"issuer" minLength:"1" maxLength:"1024" doc:"Of your OpenID provider, exactly as its metadata name it" example:"https://id.example.com"`
	ClientID       string   `json:"clientId" minLength:"1" maxLength:"255" doc:"As the provider shows it where you registered"`
	ClientSecret   *string  `json:"clientSecret,omitempty" maxLength:"4096" doc:"Never answered again. Left out, the stored one stays; empty, the client has none"`
	AllowedDomains []string `json:"allowedDomains,omitempty" maxItems:"100" doc:"Domains of e-mail addresses by which a person is found the first time; empty: any" example:"example.com"`
	DefaultRole    string   `json:"defaultRole,omitempty" maxLength:"32" doc:"Of people whom nobody invited; empty: they stay outside. Never owner" example:"viewer"`
}

// SingleSignOn is the OpenID provider by which an organization's people sign in.
type SingleSignOn struct {
	Object         string    `json:"object" enum:"single_sign_on"`
	Issuer         string    `json:"issuer"`
	ClientID       string    `json:"clientId"`
	Secrets        []string  `json:"secrets" doc:"clientSecret, if one is set"`
	AllowedDomains []string  `json:"allowedDomains"`
	DefaultRole    string    `json:"defaultRole" doc:"Empty: people are invited"`
	RedirectURI    string    `json:"redirectUri" doc:"Register this at the provider, exactly"`
	SignInURL      string    `json:"signInUrl" doc:"Of the sign-in page with the organization's button"`
	CreatedAt      time.Time `json:"createdAt"`
	UpdatedAt      time.Time `json:"updatedAt"`
}
