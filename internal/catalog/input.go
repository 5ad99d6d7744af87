package catalog

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	failure "github.com/santhosh-tekuri/jsonschema/v6/kind"

	"claviger"
)

// refuseLoader answers no schema: the library's own loader would open files and
// addresses that a document names.
type refuseLoader struct{}

// Load refuses.
func (refuseLoader) Load(string) (any, error) {
	return nil, errors.New("catalog: schemas are not loaded from elsewhere")
}

// inputSchema is a compiled schema of an action's input.
type inputSchema struct{ schema *jsonschema.Schema }

// CompileInput compiles the JSON Schema (draft 2020-12) of an input. Nothing is
// loaded from elsewhere.
func CompileInput(schema []byte) (claviger.InputSchema, error) {
	doc, err := decodeTree(schema)
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(refuseLoader{})
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	const id = "urn:claviger:input"
	if err := c.AddResource(id, doc); err != nil {
		return nil, err
	}
	s, err := c.Compile(id)
	if err != nil {
		return nil, err
	}
	return inputSchema{s}, nil
}

// Validate checks an input in the shapes of encoding/json. A refusal is an *Error
// of KindInvalid, code invalid_format, whose Param starts with "input" and whose
// message names the rule and never the value.
func (s inputSchema) Validate(input any) error {
	err := s.schema.Validate(input)
	if err == nil {
		return nil
	}
	var v *jsonschema.ValidationError
	if !errors.As(err, &v) {
		return claviger.Invalid("input", "invalid_format", "The input cannot be checked.").With(err)
	}
	leaf := firstLeaf(v)
	param, message := explain(leaf)
	return claviger.Invalid(param, "invalid_format", "%s %s.", param, message)
}

// firstLeaf answers the cause that stands first in the input, so that the same
// input always gets the same answer.
func firstLeaf(v *jsonschema.ValidationError) *jsonschema.ValidationError {
	for len(v.Causes) > 0 {
		v = slices.MinFunc(v.Causes, func(a, b *jsonschema.ValidationError) int {
			if d := slices.Compare(a.InstanceLocation, b.InstanceLocation); d != 0 {
				return d
			}
			return strings.Compare(strings.Join(a.ErrorKind.KeywordPath(), "/"), strings.Join(b.ErrorKind.KeywordPath(), "/"))
		})
	}
	return v
}

// explain answers the parameter and the rule that it breaks.
func explain(v *jsonschema.ValidationError) (param, message string) {
	location := v.InstanceLocation
	switch k := v.ErrorKind.(type) {
	case *failure.Required:
		missing := slices.Sorted(slices.Values(k.Missing))
		location, message = append(slices.Clone(location), missing[0]), "is required"
	case *failure.AdditionalProperties:
		unknown := slices.Sorted(slices.Values(k.Properties))
		location, message = append(slices.Clone(location), unknown[0]), "is not known to this action"
	case *failure.Type:
		message = "must be of type " + strings.Join(k.Want, " or ")
	case *failure.Minimum:
		message = "must be at least " + k.Want.RatString()
	case *failure.Maximum:
		message = "must be at most " + k.Want.RatString()
	case *failure.ExclusiveMinimum:
		message = "must be above " + k.Want.RatString()
	case *failure.ExclusiveMaximum:
		message = "must be below " + k.Want.RatString()
	case *failure.MinLength:
		message = fmt.Sprintf("must have at least %d characters", k.Want)
	case *failure.MaxLength:
		message = fmt.Sprintf("must have at most %d characters", k.Want)
	case *failure.MinItems:
		message = fmt.Sprintf("must have at least %d items", k.Want)
	case *failure.MaxItems:
		message = fmt.Sprintf("must have at most %d items", k.Want)
	case *failure.Format:
		message = "must be in the format " + k.Want
	case *failure.Enum:
		message = "must be one of the listed values"
	case *failure.Pattern:
		message = "does not have the required form"
	default:
		message = "does not fit the action's input schema"
	}
	return inputParam(location), message
}

// inputParam writes a location as a dotted path. A name comes from the caller and
// is shown only as far as it is a plain word.
func inputParam(location []string) string {
	param := "input"
	for _, name := range location {
		if len(name) > 64 || !tokenChars.MatchString(name) {
			return param
		}
		param += "." + name
	}
	return param
}
