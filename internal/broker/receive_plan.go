package broker

import (
	"context"
	"net/netip"
	"regexp"
	"slices"

	"claviger"
	"claviger/internal/catalog"
	"claviger/internal/hookverify"
	"claviger/internal/manifest"
)

// maxPlans bounds the manifests that are kept compiled for webhooks.
const maxPlans = 4096

// hookPlan is what one version of a manifest says of webhooks. It is never changed.
type hookPlan struct {
	schemes map[string]plannedScheme
	sources []hookSource
}

type plannedScheme struct {
	scheme *hookverify.Scheme
	from   []netip.Prefix // addresses that deliveries come from; none: any
	fault  error
}

// hookSource is a data source that deliveries may concern.
type hookSource struct {
	key     string
	webhook bool     // enabled in so many words
	events  []string // types; none means all
	// get is the action that fetches the record that an event is about, empty for none;
	// id is where its id stands in the payload, and input the name that the action has
	// for it.
	get, input string
	id         catalog.Path
}

type planKey struct {
	id      claviger.SystemID
	version int
}

// hookPlan answers the plan of a system's present version.
func (b *Broker) hookPlan(ctx context.Context, s *claviger.System) (*hookPlan, error) {
	key := planKey{s.ID, s.Version}
	p, generation, ok := b.plans.get(key)
	if ok {
		return p, nil
	}
	bundle, err := b.storedManifest(ctx, b.system(s.Organization).Scope, s, s.Version)
	if err != nil {
		return nil, err
	}
	p = &hookPlan{schemes: map[string]plannedScheme{}}
	set, err := b.schemes()
	if err != nil {
		return nil, err
	}
	for _, slot := range bundle.System.Slots() {
		if slot.Usage == claviger.UsageWebhookInbound && slot.Credential != nil {
			x := plannedScheme{}
			if x.scheme, x.fault = set.For(string(slot.Credential.Method), slot.Credential.Variables.Texts()); x.fault == nil {
				x.from, x.fault = prefixes(slot.Credential.Variables.AllowedIPs)
			}
			p.schemes[slot.Key] = x
		}
	}
	for i := range bundle.DataSources {
		if d := &bundle.DataSources[i]; (d.Enabled == nil || *d.Enabled) && (d.Webhook == nil || d.Webhook.Enabled) {
			p.sources = append(p.sources, hookSourceOf(s.Key, d))
		}
	}
	b.plans.put(key, p, generation)
	return p, nil
}

// recordHole is the name of what identifies a record in an operation's path.
var recordHole = regexp.MustCompile(`\{([A-Za-z][A-Za-z0-9_]*)\}`)

func hookSourceOf(system string, d *manifest.DataSource) hookSource {
	out := hookSource{key: d.Key, webhook: d.Webhook != nil}
	if d.Webhook == nil {
		return out
	}
	out.events = d.Webhook.Events
	op, ok := d.Operation("get")
	holes := recordHole.FindAllStringSubmatch(op.Path, -1)
	at, err := catalog.ParsePath(d.Webhook.IDPath)
	if ok && len(holes) == 1 && err == nil {
		out.get, out.input, out.id = system+"."+manifest.ActionKey(d.Key, "get"), holes[0][1], at
	}
	return out
}

func (p *hookPlan) scheme(slot string) plannedScheme {
	found, ok := p.schemes[slot]
	if !ok {
		found.fault = claviger.Errorf(claviger.KindUnauthenticated, hookverify.CodeNotConfigured, "The webhook slot has no credential of its own.")
	}
	return found
}

// receives reports whether an address may name a data source.
func (p *hookPlan) receives(dataSource string) bool { return p.source(dataSource) != nil }

func (p *hookPlan) source(key string) *hookSource {
	i := slices.IndexFunc(p.sources, func(s hookSource) bool { return s.key == key })
	if i < 0 {
		return nil
	}
	return &p.sources[i]
}

// concerned answers the data source that a type of event is about, where the address does
// not say: the first that names the type, else the only one that takes all.
func (p *hookPlan) concerned(eventType string) string {
	all := ""
	for i := range p.sources {
		s := &p.sources[i]
		switch {
		case !s.webhook:
		case slices.Contains(s.events, eventType) && eventType != "":
			return s.key
		case len(s.events) == 0 && all == "":
			all = s.key
		case len(s.events) == 0:
			all = "?"
		}
	}
	if all == "?" {
		return ""
	}
	return all
}

// wants reports whether an event of a type is about the data source.
func (s *hookSource) wants(eventType string) bool {
	return len(s.events) == 0 || slices.Contains(s.events, eventType)
}
