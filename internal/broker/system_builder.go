package broker

import (
	"context"
	"strings"

	"claviger"
	"claviger/internal/gate"
	"claviger/internal/manifest"
)

// SystemMethod is what one method of authentication is made of.
type SystemMethod = manifest.MethodFacts

// SystemMethods answers the catalogue of methods that slots may have.
func (b *Broker) SystemMethods() []SystemMethod { return manifest.Methods() }

// SystemRepaired is documents as a repair leaves them.
type SystemRepaired struct {
	SystemDocuments
	// Diff is what changed, in unified form; empty if nothing did. It shows no line that
	// held a secret.
	Diff string
}

// RepairSystem mends documents as manifest.Repair does and changes nothing that is
// stored. auth, if not empty, is the method that the default api slot is to have; slots
// adds those for webhooks and syncs that are not there.
func (b *Broker) RepairSystem(ctx context.Context, c claviger.Caller, key string, in SystemDocuments, auth string, slots bool) (SystemRepaired, error) {
	if err := b.gate.Check(ctx, c, claviger.SystemsRead, orgWide(c, "system", key)); err != nil {
		return SystemRepaired{}, err
	}
	repaired, err := manifest.Repair(parseManifest(in), manifest.RepairOptions{Auth: manifest.Method(auth), Slots: slots})
	if err != nil {
		return SystemRepaired{}, err
	}
	out := SystemRepaired{SystemDocuments: in, Diff: repaired.Diff()}
	for _, f := range repaired.Files {
		if f.Name == "system" { // as parseManifest calls it
			out.System = f.New
		}
	}
	return out, nil
}

// SystemPage is the address of the page where a person gives a system's slots their
// values.
func (b *Broker) SystemPage(key string) string {
	return strings.TrimSuffix(b.publicURL, "/") + "/console/systems/" + key + "?tab=authentication"
}

// Assist runs what an assistant asked for about a system - an empty key: about none - and
// records it: who, the verb, the tool as the entry's action, and how it ended. Without
// the record, or without the permission, f does not run. f decides for itself about
// everything that it does.
func (b *Broker) Assist(ctx context.Context, c claviger.Caller, v claviger.Verb, key, tool string, f func() error) error {
	t, err := b.gate.Admit(ctx, c, v, orgWide(c, "system", key), tool)
	if err != nil {
		return err
	}
	end := gate.Ending{Err: claviger.Errorf(claviger.KindInternal, "", "It did not end.")} // of a panic
	defer func() { t.Done(end) }()
	end.Err = f()
	return end.Err
}
