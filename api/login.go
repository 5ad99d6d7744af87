package api

import "time"

// BeginLogin is the body of POST /v1/cli/device.
type BeginLogin struct {
	Host string `json:"host" minLength:"1" maxLength:"100" doc:"The machine's own name, shown to the person who decides" example:"ada-laptop"`
}

// DeviceLogin is the answer of POST /v1/cli/device, as in RFC 8628, section 3.2. The codes
// are shown this once.
type DeviceLogin struct {
	Object          string `json:"object" enum:"device_login"`
	DeviceCode      string `json:"deviceCode" doc:"Shown to POST /v1/cli/token. A secret of the command line"`
	UserCode        string `json:"userCode" doc:"What the person types" example:"7K3M-QX2D"`
	VerificationURI string `json:"verificationUri" doc:"Where the person types it"`
	Interval        int    `json:"interval" doc:"Seconds between two questions"`
	ExpiresIn       int    `json:"expiresIn" doc:"Seconds until the codes are over"`
}

// LookUpLogin is the body of POST /v1/cli/device/lookup.
type LookUpLogin struct {
	UserCode string `json:"userCode" minLength:"8" maxLength:"20" doc:"Dashes, spaces and small letters do not matter"`
}

// DecideLogin is the body of POST /v1/cli/device/approve.
type DecideLogin struct {
	UserCode string `json:"userCode" minLength:"8" maxLength:"20" doc:"Dashes, spaces and small letters do not matter"`
	Allow    bool   `json:"allow" doc:"false sends the command line away"`
}

// Login is a command line that asks to be let in.
type Login struct {
	ID        string    `json:"id" example:"login_01jd5z8k4xe3vbmt0q6y2r9whc"`
	Object    string    `json:"object" enum:"login"`
	Status    string    `json:"status" enum:"pending,approved,denied,redeemed"`
	Host      string    `json:"host" doc:"The machine's name, as it told"`
	Address   string    `json:"address" doc:"Where it asked from"`
	CreatedAt time.Time `json:"createdAt"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// GrantLogin is the body of POST /v1/cli/authorize.
type GrantLogin struct {
	Host          string `json:"host" minLength:"1" maxLength:"100" doc:"The machine's own name"`
	CodeChallenge string `json:"codeChallenge" minLength:"43" maxLength:"43" doc:"S256 of the command line's verifier (RFC 7636)"`
	RedirectURI   string `json:"redirectUri" maxLength:"200" doc:"Where the command line listens on this machine" example:"http://127.0.0.1:40123/callback"`
	State         string `json:"state" minLength:"1" maxLength:"200" doc:"Goes back as it came"`
}

// LoginGranted is the answer of POST /v1/cli/authorize.
type LoginGranted struct {
	Object   string `json:"object" enum:"login_grant"`
	Location string `json:"location" doc:"Where the browser goes next, with the code that the command line redeems"`
}

// Redacted answers the shape without the code.
func (g LoginGranted) Redacted() any {
	g.Location = RedactedMark
	return g
}

// RedeemLogin is the body of POST /v1/cli/token: a device code, or a code that a browser
// carried with its verifier.
type RedeemLogin struct {
	DeviceCode   string `json:"deviceCode,omitempty" maxLength:"200"`
	Code         string `json:"code,omitempty" maxLength:"200"`
	CodeVerifier string `json:"codeVerifier,omitempty" maxLength:"128"`
}
