package manifest

import (
	"maps"
	"slices"

	"claviger"
)

// MethodFacts are what one method is made of, for catalogues.
type MethodFacts struct {
	Method    Method
	Variables []string // without which it cannot be put on calls or, of one that only checks, cannot check
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
		needs := slices.Clone(rule.needs)
		if !rule.outward {
			needs = rule.required(claviger.UsageWebhookInbound)
		}
		out = append(out, MethodFacts{
			Method: m, Variables: needs, Optional: slices.DeleteFunc(slices.Clone(rule.knows), func(v string) bool { return slices.Contains(needs, v) }),
			Secrets: slices.Clone(rule.security), OnCalls: rule.outward, Inbound: rule.inward,
		})
	}
	return out
}

// CallMethods answers the methods that can be put on calls, in the order of their names:
// what the default api slot may have.
func CallMethods() []string {
	var out []string
	for _, m := range Methods() {
		if m.OnCalls {
			out = append(out, string(m.Method))
		}
	}
	return out
}
