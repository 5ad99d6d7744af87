package catalog

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"claviger"
	"claviger/internal/document"
)

// maxCredential is the largest value of one credential field, in bytes.
const maxCredential = 64 << 10

// CheckCredentials checks the format of a method's credentials without any call:
// every required field present, none unknown, each in its pattern. A refusal is an
// *Error of KindInvalid with Param "credentials.<field>" and code invalid_format,
// or unknown_credential; it carries the field's hint and never the value. Values
// that begin with "kv://" name a secret elsewhere and skip the pattern. warnings
// tell of values that do not look as such values usually do.
func CheckCredentials(m *claviger.AuthMethod, creds claviger.Credentials) (warnings []string, err error) {
	for key := range creds {
		if _, ok := m.Field(key); !ok {
			return nil, unknownCredential(m, key)
		}
	}
	for i := range m.Fields {
		f := &m.Fields[i]
		warning := ""
		creds[f.Key].Use(func(b []byte) { warning, err = checkValue(f, string(b)) })
		if err != nil {
			return nil, err
		}
		if warning != "" {
			warnings = append(warnings, warning)
		}
	}
	return warnings, nil
}

// checkValue checks one field's value, which is used here and goes no further.
func checkValue(f *claviger.Field, value string) (warning string, err error) {
	if value == "" {
		if f.Required {
			return "", refuseCredential(f, "is required")
		}
		return "", nil
	}
	if why := wrongCredential(f, value); why != "" {
		return "", refuseCredential(f, why)
	}
	if f.SoftPattern != nil && !strings.HasPrefix(value, "kv://") && !wholly(f.SoftPattern, value) {
		return fmt.Sprintf("credentials.%s does not look like a usual value of %s.", f.Key, label(f)), nil
	}
	return "", nil
}

// wrongCredential answers why a value is refused, or "".
func wrongCredential(f *claviger.Field, value string) string {
	switch {
	case len(value) > maxCredential:
		return "is longer than 64 KiB"
	case strings.Contains(value, claviger.RedactionMark) || f.Secret && claviger.IsMask(value):
		return "is the mark that stands for a stored value. Leave the field out to keep what is stored, or send the real value"
	case strings.HasPrefix(value, "kv://"):
		return ""
	case f.Type == "select" && !slices.Contains(f.Options, value):
		return "must be one of " + strings.Join(f.Options, ", ")
	case f.Type == "json" && !json.Valid([]byte(value)):
		return "must be JSON"
	case f.Type == "number" && !document.IsNumber(value):
		return "must be a number"
	case f.Type != "json" && f.Type != "file" && strings.ContainsAny(value, "\r\n\x00"):
		return "has a line break. Paste it again without it"
	case f.Pattern != nil && !f.Pattern.MatchString(value):
		return "does not have the format of " + label(f)
	}
	return ""
}

func label(f *claviger.Field) string {
	if f.Label != "" {
		return f.Label
	}
	return f.Key
}

func refuseCredential(f *claviger.Field, why string) error {
	message := fmt.Sprintf("credentials.%s %s.", f.Key, why)
	if f.Hint != "" {
		message += " " + strings.TrimSuffix(f.Hint, ".") + "."
	}
	return claviger.Invalid("credentials."+f.Key, "invalid_format", "%s", message)
}

// unknownCredential names the fields there are. The key comes from the caller and
// may be a misplaced secret, so it is shown only if it is near a known one.
func unknownCredential(m *claviger.AuthMethod, key string) error {
	var known []string
	for i := range m.Fields {
		known = append(known, m.Fields[i].Key)
	}
	param, hint := "credentials", "It has none."
	if len(known) > 0 {
		hint = "It has " + strings.Join(known, ", ") + "."
	}
	if namePattern.MatchString(key) && len(key) <= 32 {
		param += "." + key
		if near := document.Nearest(key, known); near != "" {
			hint = "Did you mean " + near + "?"
		}
	}
	return claviger.Invalid(param, "unknown_credential", "The auth method %s has no such field. %s", m.Key, hint)
}
