package catalog

import (
	"net/url"
	"slices"
	"strings"

	"claviger"
)

// Sources are what discovered values are read from.
type Sources struct {
	Token    any        // the first token answer, of encoding/json
	Callback url.Values // what the browser brought back
	// Ask makes the call of a step, whose address has been filled in, with the access
	// token, and answers its body's tree.
	Ask func(d *claviger.Discovery, address string) (any, error)
}

// Discover finds the values that an auth method discovers and answers the settings with
// them. settings are those that the connection was begun with. Where one of them was
// chosen beforehand, or stands from an earlier connect, it must be among those that the
// vendor tells; else the first one is taken.
//
// Errors are those of Ask; KindUpstream "undiscovered" if the vendor does not tell a
// value that fits; KindConflict "account_mismatch" if it tells others than the chosen
// one. No error repeats what the vendor said.
func Discover(conn *claviger.Connector, method *claviger.AuthMethod, settings map[string]string, from Sources) (map[string]string, error) {
	view := conn.For(method.Key)
	out := make(map[string]string, len(settings)+len(method.OAuth.Discover))
	for k, v := range settings {
		out[k] = v
	}
	for i := range method.OAuth.Discover {
		d := &method.OAuth.Discover[i]
		told, err := from.told(d, out)
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(view.Variables, func(v claviger.Variable) bool { return v.Key == d.Variable })
		if at < 0 {
			return nil, undiscoveredFault(d)
		}
		if out[d.Variable], err = settle(view, &view.Variables[at], d, out[d.Variable], told); err != nil {
			return nil, err
		}
	}
	return CheckSettings(view, out)
}

// maxTold bounds the values that one step reads.
const maxTold = 100

// told answers the texts that a step finds.
func (s Sources) told(d *claviger.Discovery, settings map[string]string) ([]string, error) {
	tree := s.Token
	switch d.From {
	case "callback":
		if values := s.Callback[d.Param]; len(values) == 1 {
			return values, nil
		}
		return nil, nil
	case "request":
		address, err := d.URL.Render(func(name string) (string, bool) { v, ok := settings[name]; return v, ok }, url.PathEscape)
		if err != nil {
			return nil, undiscoveredFault(d).With(err)
		}
		if tree, err = s.Ask(d, address); err != nil {
			return nil, err
		}
	}
	path, err := ParsePath(d.Path)
	if err != nil {
		return nil, undiscoveredFault(d).With(err)
	}
	var out []string
	for _, v := range path.All(tree) {
		if text, ok := scalarText(v); ok && len(out) < maxTold {
			out = append(out, text)
		}
	}
	return out, nil
}

// settle takes one of the values that a vendor told.
func settle(conn *claviger.Connector, v *claviger.Variable, d *claviger.Discovery, chosen string, told []string) (string, error) {
	var fitting []string
	for _, text := range told {
		if value := plainValue(v, text); fits(v, value) && (v.Type != claviger.VariableHostname || hostAllowed(value, conn.AllowedHosts)) {
			fitting = append(fitting, value)
		}
	}
	switch {
	case len(fitting) == 0:
		return "", undiscoveredFault(d)
	case chosen == "":
		return fitting[0], nil
	case !slices.Contains(fitting, chosen):
		return "", claviger.Errorf(claviger.KindConflict, "account_mismatch", "What was granted at the vendor does not cover settings.%s as it was chosen. Choose it there and start again.", d.Variable)
	}
	return chosen, nil
}

// plainValue answers a told text in the form of its variable: of a complete https
// address, the host; names in lower case.
func plainValue(v *claviger.Variable, text string) string {
	switch v.Type {
	case claviger.VariableHostname, claviger.VariableEnum:
		if u, err := url.Parse(text); err == nil && u.Scheme == "https" {
			if u.User != nil || u.Port() != "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
				return ""
			}
			text = u.Host
		}
		return lowerASCII(text)
	case claviger.VariableHostLabel, claviger.VariableUUID:
		return lowerASCII(text)
	}
	return text
}

func undiscoveredFault(d *claviger.Discovery) *claviger.Error {
	return claviger.Errorf(claviger.KindUpstream, "undiscovered", "The vendor did not tell settings.%s, or told something that this connector does not accept.", d.Variable)
}
