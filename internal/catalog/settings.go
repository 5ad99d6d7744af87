package catalog

import (
	"regexp"
	"slices"
	"strings"

	"claviger"
)

var uuidText = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// CheckSettings checks the values of a connector's variables and answers them with
// defaults filled in and host names in lower case; settings itself is not changed.
// A refusal is an *Error of KindInvalid, code invalid_format, Param
// "settings.<key>", which tells the rule and not the value. The address that the
// values make is checked as well.
func CheckSettings(conn *claviger.Connector, settings map[string]string) (map[string]string, error) {
	out := make(map[string]string, len(conn.Variables))
	for key := range settings {
		if !slices.ContainsFunc(conn.Variables, func(v claviger.Variable) bool { return v.Key == key }) {
			return nil, claviger.Invalid(settingParam(key), "unknown_setting", "The connector %s has no such setting. %s", conn.Key, knownSettings(conn))
		}
	}
	for i := range conn.Variables {
		v := &conn.Variables[i]
		value := settings[v.Key]
		if value == "" {
			value = v.Default
		}
		if value == "" {
			if !v.Discovered && (v.Required || inBase(conn, v.Key)) {
				return nil, claviger.Invalid("settings."+v.Key, "invalid_format", "settings.%s is required. %s", v.Key, v.Hint)
			}
			continue
		}
		var err error
		if out[v.Key], err = CheckSetting(v, value); err != nil {
			return nil, err
		}
	}
	if _, err := Base(conn, out); err != nil {
		return nil, err
	}
	return out, nil
}

// CheckSetting answers the value of one variable as it is kept, where not all settings of
// a connection are known yet. The error is that of [CheckSettings].
func CheckSetting(v *claviger.Variable, value string) (string, error) {
	switch v.Type {
	case claviger.VariableHostLabel, claviger.VariableHostname, claviger.VariableUUID:
		value = lowerASCII(value)
	}
	if !fits(v, value) {
		return "", settingFault(v, value)
	}
	return value, nil
}

// lowerASCII lowers ASCII letters alone: Unicode folding would turn a Kelvin sign
// into a k and let a look-alike through.
func lowerASCII(s string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'A' && c <= 'Z' {
			return c + 'a' - 'A'
		}
		return c
	}, s)
}

func settingParam(key string) string {
	if len(key) > 64 || !namePattern.MatchString(key) {
		return "settings"
	}
	return "settings." + key
}

func knownSettings(conn *claviger.Connector) string {
	var keys []string
	for i := range conn.Variables {
		keys = append(keys, conn.Variables[i].Key)
	}
	if len(keys) == 0 {
		return "It has none."
	}
	return "It has " + strings.Join(keys, ", ") + "."
}

func inBase(conn *claviger.Connector, key string) bool {
	return slices.Contains(conn.BaseURL.Names(), key)
}

// fits reports whether a value has the grammar of its variable.
func fits(v *claviger.Variable, value string) bool {
	ok := false
	switch v.Type {
	case claviger.VariableHostLabel:
		ok = hostLabel(value)
	case claviger.VariablePathSegment:
		ok = pathSegment(value)
	case claviger.VariableUUID:
		ok = uuidText.MatchString(value)
	case claviger.VariableEnum:
		ok = slices.Contains(v.Values, value)
	case claviger.VariableHostname:
		ok = plainHost(value)
	}
	return ok && (v.Pattern == nil || wholly(v.Pattern, value))
}

// wholly reports whether a pattern matches a value that is one line. Go's $ does
// match only at the end of the text, but a pattern may bring its own (?m).
func wholly(re *regexp.Regexp, value string) bool {
	return !strings.ContainsAny(value, "\r\n\x00") && re.MatchString(value)
}

func settingFault(v *claviger.Variable, value string) error {
	rule := "must be one name between dots: letters, digits and inner hyphens, at most 63"
	switch v.Type {
	case claviger.VariablePathSegment:
		rule = "must be one path segment: letters, digits and -._~"
	case claviger.VariableUUID:
		rule = "must be a UUID"
	case claviger.VariableEnum:
		rule = "must be one of " + strings.Join(v.Values, ", ")
	case claviger.VariableHostname:
		rule = "must be a full host name, without scheme, port and path"
	}
	if v.Hint != "" && value != "" {
		rule += ". " + strings.TrimSuffix(v.Hint, ".")
	}
	return claviger.Invalid("settings."+v.Key, "invalid_format", "settings.%s %s.", v.Key, rule)
}
