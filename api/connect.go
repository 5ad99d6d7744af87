package api

import "time"

// PutOAuthClient is the body of PUT /v1/connectors/{key}/client. A secret that is left
// out keeps its value as long as the client id stays the same.
type PutOAuthClient struct {
	AuthMethod    string `json:"authMethod,omitempty" maxLength:"128" doc:"Default: the connector's only method of type oauth2"`
	ClientID      string `json:"clientId" minLength:"1" maxLength:"512" doc:"As the vendor shows it where you registered"`
	ClientSecret  string `json:"clientSecret,omitempty" maxLength:"65536" doc:"Never answered again"`
	KeepFormerFor string `json:"keepFormerFor,omitempty" maxLength:"16" doc:"With a new clientSecret: how long the one before it is tried where the vendor refuses the new one, at most 720h. Default: not at all" example:"24h"`
	PrivateKey    string `json:"privateKey,omitempty" maxLength:"65536" doc:"PEM or JWK, where the vendor wants signed assertions or a certificate. Never answered again"`
	KeyID         string `json:"keyId,omitempty" maxLength:"512" doc:"kid of assertions, where the key is PEM"`
	Certificate   string `json:"certificate,omitempty" maxLength:"65536" doc:"PEM chain, leaf first, where the vendor wants a client certificate"`
	// ClientSecretExpiresAt is shown in the calendar of what ends.
	ClientSecretExpiresAt *time.Time `json:"clientSecretExpiresAt,omitempty" doc:"When the vendor ends the secret, if it does: /v1/expirations reminds of it. Left out with a secret that stays, it stays too"`
}

// OAuthClient is what is set of an organization's registration at a vendor.
type OAuthClient struct {
	Object                string     `json:"object" enum:"oauth_client"`
	Connector             string     `json:"connector" example:"github"`
	AuthMethod            string     `json:"authMethod" example:"oauth"`
	ClientID              string     `json:"clientId" doc:"Empty: nothing is registered yet"`
	KeyID                 string     `json:"keyId"`
	Certificate           string     `json:"certificate"`
	Secrets               []string   `json:"secrets" doc:"Which of clientSecret, privateKey and formerSecret are set"`
	ClientSecretExpiresAt *time.Time `json:"clientSecretExpiresAt" doc:"null: unknown, or never"`
	CertificateExpiresAt  *time.Time `json:"certificateExpiresAt" doc:"null: there is no certificate"`
	RedirectURI           string     `json:"redirectUri" doc:"Register this at the vendor, exactly"`
}

// ConnectUser is the person that something is connected for, as your application knows
// them.
type ConnectUser struct {
	ID    string `json:"id" minLength:"1" maxLength:"255" doc:"Becomes the owner of the connection" example:"user-42"`
	Email string `json:"email,omitempty" maxLength:"255"`
	Name  string `json:"name,omitempty" maxLength:"255"`
}

// CreateConnectSession is the body of POST /v1/connect/sessions.
type CreateConnectSession struct {
	User               ConnectUser       `json:"user"`
	AllowedConnectors  []string          `json:"allowedConnectors,omitempty" nullable:"false" maxItems:"100" doc:"Keys of what may be connected; with connectionId its own connector" example:"[\"github\"]"`
	WorkspaceID        string            `json:"workspaceId,omitempty" maxLength:"64" doc:"Default: the token's workspace, else the workspace named default"`
	Tags               map[string]string `json:"tags,omitempty" maxProperties:"64" doc:"Labels of the connection"`
	ReturnURL          string            `json:"returnUrl,omitempty" maxLength:"2048" doc:"On the organization's list, exactly; or http on the loopback"`
	Delivery           string            `json:"delivery,omitempty" enum:"redirect,popup,code" doc:"How the finish code reaches you: with returnUrl, by postMessage to its origin, or shown to the person. Default: redirect with a returnUrl, else code"`
	Settings           map[string]string `json:"settings,omitempty" maxProperties:"64" doc:"Values of the connectors' variables that the person shall not choose"`
	ConnectionID       string            `json:"connectionId,omitempty" maxLength:"64" doc:"Connect this one again"`
	AllowAccountChange bool              `json:"allowAccountChange,omitempty" doc:"With connectionId: whether it may be another account of the vendor"`
}

// ConnectSessionMade is the answer to POST /v1/connect/sessions; token and address are
// shown this once.
type ConnectSessionMade struct {
	ID         string    `json:"id" example:"cs_01jd5z8k4xe3vbmt0q6y2r9whc"`
	Object     string    `json:"object" enum:"connect_session"`
	Token      string    `json:"token" doc:"Single use"`
	ConnectURL string    `json:"connectUrl" doc:"Send the person's browser here"`
	ExpiresAt  time.Time `json:"expiresAt"`
}

// Redacted is the answer to a repeated request: the token is shown once.
func (m ConnectSessionMade) Redacted() any {
	m.Token, m.ConnectURL = RedactedMark, RedactedMark
	return m
}

// ConnectSession is where a session stands.
type ConnectSession struct {
	ID           string      `json:"id"`
	Object       string      `json:"object" enum:"connect_session"`
	Status       string      `json:"status" enum:"open,awaiting_finish,completed,failed,expired"`
	ConnectionID string      `json:"connectionId" doc:"Empty until the session is completed, unless it connects one again"`
	User         ConnectUser `json:"user"`
	Error        *Fault      `json:"error" doc:"Why the last attempt failed; null if it did not"`
	ExpiresAt    time.Time   `json:"expiresAt"`
}

// FinishConnect is the body of the two finish calls.
type FinishConnect struct {
	FinishCode string `json:"finishCode" minLength:"8" maxLength:"64" doc:"What the browser of the person brought or showed"`
}

// ReturnURLs is the organization's list of addresses that browsers may be sent back to.
type ReturnURLs struct {
	Object string   `json:"object,omitempty" enum:"return_urls"`
	URLs   []string `json:"urls" nullable:"false" maxItems:"100" doc:"Complete https addresses, compared letter by letter"`
}
