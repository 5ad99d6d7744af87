package api

// Branding is how an organization shows itself to people who connect something: the body
// of PUT /v1/branding, which replaces all of it, and its answer.
type Branding struct {
	Object string `json:"object,omitempty" enum:"branding"`
	Name   string `json:"name,omitempty" maxLength:"80" doc:"On connect pages, beside the organization's own. Default: the organization's own" example:"Acme"`
	Color  string `json:"color,omitempty" maxLength:"7" doc:"Of buttons and links; text on it and shades of it are chosen for contrast. Default: claviger's own" example:"#0b57d0"`
	Logo   []byte `json:"logo,omitempty" maxLength:"90000" doc:"PNG or JPEG in base64, at most 64 KiB and 512 x 512 pixels. It is kept and answered as PNG"`
}
