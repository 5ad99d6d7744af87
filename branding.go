package claviger

// Branding is how an organization shows itself to people who connect something for it.
// All of it is the organization's own word, checked when it was stored.
type Branding struct {
	Organization OrganizationID
	Owner        string // the organization's own name, which stands beside another one
	Name         string // that it calls itself by; Owner if empty
	Color        string // #rrggbb in lower case; empty for claviger's own
	Logo         []byte // PNG, encoded by claviger; empty for none
}
