package manifest

import (
	"maps"
	"slices"
)

// MethodFacts are what one method is made of, for catalogues.
type MethodFacts struct {
	Method    Method
	Variables []string // without which it cannot be put on calls
	Optional  []string // beside them
	Secrets   []string // names in security
	OnCalls   bool     // it can be put on calls
	Inbound   bool     // it can check who sends
}

// Methods answers the methods in the order of their names.
func Methods() []MethodFacts {
	var out []MethodFacts
	for _, m := range slices.Sorted(maps.Keys(methodRules)) {
		rule := methodRules[m]
		out = append(out, MethodFacts{
			Method: m, Variables: slices.Clone(rule.needs), Optional: slices.Clone(rule.knows),
			Secrets: slices.Clone(rule.security), OnCalls: rule.outward, Inbound: rule.inward,
		})
	}
	return out
}
