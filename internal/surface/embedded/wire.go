package embedded

import (
	"claviger"
	"claviger/internal/authn"
)

type tokenInput struct {
	Body struct {
		ClientID     string `json:"client_id" minLength:"1" maxLength:"255" doc:"The application's client id"`
		ClientSecret string `json:"client_secret" minLength:"1" maxLength:"1024" doc:"The application's client secret"`
	}
}

type tokenOutput struct {
	Body struct {
		AccessToken    string `json:"access_token"`
		TokenType      string `json:"token_type" enum:"bearer"`
		ExpiresIn      int    `json:"expires_in" doc:"Seconds" example:"900"`
		OrganizationID string `json:"organization_id" format:"uuid"`
	}
}

type scopedInput struct {
	Body struct {
		WorkspaceName string `json:"workspace_name" maxLength:"1020" doc:"Found by name, or made"`
		RegionID      string `json:"region_id,omitempty" doc:"Where the workspace is made, if it is; a UUID"`
	}
}

// scopedAliasInput is the newer spelling of scopedInput.
type scopedAliasInput struct {
	Body struct {
		CustomerName string `json:"customer_name" maxLength:"1020" doc:"Found by name, or made"`
		RegionID     string `json:"region_id,omitempty" doc:"Where the workspace is made, if it is; a UUID"`
	}
}

type scopedOutput struct{ Body scopedBody }

type scopedBody struct {
	Token string `json:"token"`
}

// Redacted is what a repeated request is answered: a token is shown once.
func (scopedBody) Redacted() any { return scopedBody{Token: "***REDACTED***"} }

type infoOutput struct {
	Body struct {
		OrganizationID string `json:"organization_id" format:"uuid"`
		WorkspaceID    string `json:"workspace_id" format:"uuid"`
		// The documents show this spelling; clients were written for it.
		WorkspaceIDAsShown string `json:"workspace ID" format:"uuid"`
	}
}

// reveal answers the text of a token that was minted for this very answer.
func reveal(token claviger.Secret) string {
	var text string
	token.Use(func(b []byte) { text = string(b) })
	return text
}

func operatorAnswer(m authn.Minted) (*tokenOutput, error) {
	org, err := claviger.UUID(claviger.PrefixOrganization, string(m.Organization))
	if err != nil {
		return nil, err
	}
	out := &tokenOutput{}
	out.Body.AccessToken = reveal(m.Token)
	out.Body.TokenType = "bearer"
	out.Body.ExpiresIn = int(m.ExpiresIn.Seconds())
	out.Body.OrganizationID = org
	return out, nil
}

func infoAnswer(s claviger.Scope) (*infoOutput, error) {
	org, err := claviger.UUID(claviger.PrefixOrganization, string(s.Organization()))
	if err != nil {
		return nil, err
	}
	ws, err := claviger.UUID(claviger.PrefixWorkspace, string(s.Workspace()))
	if err != nil {
		return nil, err
	}
	out := &infoOutput{}
	out.Body.OrganizationID, out.Body.WorkspaceID, out.Body.WorkspaceIDAsShown = org, ws, ws
	return out, nil
}
