package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"claviger"
	"claviger/internal/broker"
	"claviger/internal/document"
)

// The bounds of a tool call.
const (
	toolDeadline = 30 * time.Second
	maxResult    = 2 << 20 // bytes of the answer
	maxIntent    = 300     // bytes
)

// tool is one of the tools as clients see it, and the verb that the gate decides on
// before it runs. What it does is decided again, each time, by the core.
type tool struct {
	name, title, description string
	verb                     claviger.Verb
	readOnly                 bool
}

// tools are all there are.
var tools = map[string]tool{
	"help":          {"help", "Help", "Explains the builder: topics connectedSystemUi, section, workflow, authentication, 'authentication catalog'.", claviger.SystemsRead, true},
	"read_section":  {"read_section", "Read a section", "Answers a section of a connected system's draft, and the version that a patch of it must show.", claviger.SystemsRead, true},
	"patch_section": {"patch_section", "Patch a section", "Changes a section of the draft that was read in this session. Nothing is stored before upload. Takes references to secrets, never secrets.", claviger.SystemsRead, false},
	"validate":      {"validate", "Validate", "Checks the draft as an upload would.", claviger.SystemsRead, true},
	"repair":        {"repair", "Repair", "Mends in the draft what needs no decision: an old authentication block, missing slots, another method for the api slot.", claviger.SystemsRead, false},
	"upload":        {"upload", "Upload", "Stores the draft as the system's next version. Lists what changes for security and asks for confirmSecurityChanges; a person decides that.", claviger.SystemsWrite, false},
}

func (x *session) addTools() {
	add(x, "help", x.help)
	add(x, "read_section", x.readSection)
	add(x, "patch_section", x.patchSection)
	add(x, "validate", x.validate)
	add(x, "repair", x.repair)
	add(x, "upload", x.upload)
	x.server.AddReceivingMiddleware(x.guard)
}

func add[In, Out any](x *session, name string, f func(context.Context, claviger.Caller, In) (Out, error)) {
	t, closed := tools[name], false
	sdk.AddTool(x.server, &sdk.Tool{
		Name: t.name, Title: t.title, Description: t.description,
		Annotations: &sdk.ToolAnnotations{Title: t.title, ReadOnlyHint: t.readOnly, OpenWorldHint: &closed},
	}, func(ctx context.Context, call *sdk.CallToolRequest, in In) (*sdk.CallToolResult, Out, error) {
		out, err := f(ctx, callerOf(call), in)
		if err != nil {
			err = claviger.AsError(err) // what else the SDK answers is its own, about the arguments
		}
		return nil, out, err
	})
}

// guard stands before every tool: one at a time in a session, admitted and recorded by
// the gate, with a deadline, its answer capped. A panic ends the call alone.
func (x *session) guard(next sdk.MethodHandler) sdk.MethodHandler {
	return func(ctx context.Context, method string, req sdk.Request) (sdk.Result, error) {
		call, ok := req.(*sdk.CallToolRequest)
		if !ok {
			return next(ctx, method, req)
		}
		x.mu.Lock()
		defer x.mu.Unlock()
		ctx, cancel := context.WithTimeout(ctx, toolDeadline)
		defer cancel()
		key, section := asked(call.Params.Arguments)
		t, known := tools[call.Params.Name]
		if !known {
			t = tool{name: "unknown", verb: claviger.SystemsRead}
		}
		entry := "builder." + t.name
		if section != "" {
			entry += " " + section
		}
		var result *sdk.CallToolResult
		err := x.core.Assist(ctx, callerOf(call), t.verb, key, entry, func() (err error) {
			result, err = run(ctx, next, method, req)
			return err
		})
		if err != nil {
			return x.refused(err, t.name, callerOf(call).From.ID), nil
		}
		return result, nil
	}
}

// run calls a tool and answers its result if that may be shown.
func run(ctx context.Context, next sdk.MethodHandler, method string, req sdk.Request) (result *sdk.CallToolResult, err error) {
	defer func() {
		if v := recover(); v != nil {
			// Its value may hold anything, so the log gets its type and the place only.
			result, err = nil, claviger.AsError(fmt.Errorf("a panic of type %T: %s", v, debug.Stack()))
		}
	}()
	out, err := next(ctx, method, req)
	if err != nil {
		return nil, own(err)
	}
	result, ok := out.(*sdk.CallToolResult)
	if !ok {
		return nil, claviger.AsError(fmt.Errorf("a tool answered %T", out))
	}
	if err := result.GetError(); err != nil {
		return nil, own(err)
	}
	return result, showable(result)
}

// showable refuses an answer that is too large, and one with anything in it that has the
// form of a credential: no manifest may hold one, so where it comes from does not matter.
func showable(result *sdk.CallToolResult) error {
	text, err := json.Marshal(result)
	if err != nil {
		return claviger.AsError(err)
	}
	if len(text) > maxResult {
		return claviger.Errorf(claviger.KindTooLarge, "too_large", "The answer is too large. Read a smaller section.")
	}
	if document.KnownSecret(string(text)) {
		return claviger.Errorf(claviger.KindDenied, "withheld", "The answer holds what looks like a credential, and is withheld. Look at the system in the console.")
	}
	return nil
}

func (x *session) readSection(ctx context.Context, c claviger.Caller, in readIn) (out readOut, err error) {
	d, err := x.draft(ctx, c, in.SystemKey, in.Section, in.Create)
	if err != nil {
		return out, err
	}
	return x.reading(d, in.Section)
}

// reading reads a section of a draft and answers it as tools do.
func (x *session) reading(d *draft, section string) (out readOut, err error) {
	text, version, err := d.read(section)
	if err != nil {
		return out, err
	}
	out = readOut{SystemKey: d.key, Section: section, Text: string(lines(text)), Version: version, StoredVersion: d.base, Draft: d.dirty}
	if section == "system" || guarded(section) {
		out.AssignSecretsAt = x.core.SystemPage(d.key)
	}
	return out, nil
}

// draft answers the session's draft of a system: the one that was changed, else what is
// stored now.
func (x *session) draft(ctx context.Context, c claviger.Caller, key, section string, create bool) (*draft, error) {
	if len(key) > maxKey || !keyForm.MatchString(key) {
		return nil, claviger.Invalid("systemKey", "invalid_key", "A system's key is lower-case words and digits joined by hyphens, at most %d characters.", maxKey)
	}
	if !sectionForm.MatchString(section) {
		return nil, claviger.Invalid("section", "unknown_section", "A section is system, system.<member>, dataSources, dataSources.<key> or dataSources.<key>.<member>. Ask help with the topic section.")
	}
	had := x.drafts[key]
	if had != nil && (had.dirty || had.base == 0) {
		return had, nil
	}
	shown, err := x.core.System(ctx, c, key, 0)
	switch {
	case err == nil && had != nil && had.base == shown.Manifest.Version:
		return had, nil
	case claviger.IsKind(err, claviger.KindNotFound) && create:
		name, _ := json.Marshal(map[string]string{"key": key})
		shown = broker.SystemShown{SystemDocuments: broker.SystemDocuments{System: name}}
	case err != nil:
		return nil, err
	}
	d, err := newDraft(key, shown.Manifest.Version, shown.SystemDocuments)
	if err != nil {
		return nil, err
	}
	return d, x.keep(d)
}

// keep puts a draft into the session. Where it needs the room, others that nobody changed
// go: they are read again.
func (x *session) keep(d *draft) error {
	fits := func() bool {
		count, size := 1, len(d.text)
		for key, other := range x.drafts {
			if key != d.key {
				count, size = count+1, size+len(other.text)
			}
		}
		return count <= maxDrafts && size <= maxHeld
	}
	for key, other := range x.drafts {
		if !fits() && !other.dirty && key != d.key {
			delete(x.drafts, key)
		}
	}
	if !fits() {
		return claviger.Errorf(claviger.KindConflict, "too_many_drafts", "A session holds %d changed drafts and %d bytes of them. Upload one, or begin another session.", maxDrafts, maxHeld)
	}
	x.drafts[d.key] = d
	return nil
}

func (x *session) patchSection(ctx context.Context, c claviger.Caller, in patchIn) (out patchOut, err error) {
	if in.Intent = strings.TrimSpace(in.Intent); in.Intent == "" || len(in.Intent) > maxIntent || document.KnownSecret(in.Intent) || document.RandomRun(in.Intent) {
		return out, claviger.Invalid("intent", "invalid_intent", "Say why in one sentence of at most %d bytes, without anything that looks like a credential.", maxIntent)
	}
	if in.Section == "dataSources" {
		return out, claviger.Invalid("section", "unknown_section", "Patch one data source: dataSources.<key>. A patch of null takes it away.")
	}
	d, err := x.draft(ctx, c, in.SystemKey, in.Section, false)
	if err != nil {
		return out, err
	}
	if err := d.checkVersion(in.Section, in.Version); err != nil {
		return out, err
	}
	patch, err := json.Marshal(in.Patch)
	if err != nil {
		return out, err
	}
	next, err := d.patched(in.Section, patch)
	if err != nil {
		return out, err
	}
	checked, err := x.check(ctx, c, next)
	if err != nil {
		return out, err
	}
	for _, f := range checked.Faults {
		if f.Code == document.CodeLiteralSecret {
			return out, claviger.Invalid("patch", f.Code, "A manifest holds no secrets, and neither does a patch: write a reference, kv://%s/name. A person gives the value at %s. Nothing was changed. If the value was real, change it at the vendor.", d.key, x.core.SystemPage(d.key))
		}
	}
	if len(next.intents) < maxIntents {
		next.intents = append(next.intents[:len(next.intents):len(next.intents)], intent{in.Section, in.Intent})
	}
	if err := x.keep(next); err != nil {
		return out, err
	}
	out.Valid, out.Faults = checked.Valid, checked.Faults
	out.readOut, err = x.reading(next, in.Section)
	return out, err
}

// check asks the core what is wrong with a draft.
func (x *session) check(ctx context.Context, c claviger.Caller, d *draft) (out validateOut, err error) {
	docs, keys, err := d.documents()
	if err != nil {
		return out, err
	}
	found, err := x.core.ValidateSystem(ctx, c, d.key, docs)
	return validateOut{SystemKey: d.key, Valid: broker.SystemValid(found), Draft: d.dirty, Faults: faults(found, keys)}, err
}

func (x *session) validate(ctx context.Context, c claviger.Caller, in systemIn) (out validateOut, err error) {
	d, err := x.draft(ctx, c, in.SystemKey, "system", false)
	if err != nil {
		return out, err
	}
	return x.check(ctx, c, d)
}

func (x *session) repair(ctx context.Context, c claviger.Caller, in repairIn) (out repairOut, err error) {
	d, err := x.draft(ctx, c, in.SystemKey, "system", false)
	if err != nil {
		return out, err
	}
	docs, _, err := d.documents()
	if err != nil {
		return out, err
	}
	mended, err := x.core.RepairSystem(ctx, c, d.key, docs, in.Auth, in.Slots)
	if err != nil {
		return out, err
	}
	if out.Diff = mended.Diff; out.Diff != "" {
		next := *d
		next.dirty = true
		if err := next.take(mended.SystemDocuments); err != nil {
			return out, err
		}
		if err := x.keep(&next); err != nil {
			return out, err
		}
		d = &next
	}
	out.validateOut, err = x.check(ctx, c, d)
	return out, err
}

func (x *session) upload(ctx context.Context, c claviger.Caller, in uploadIn) (out uploadOut, err error) {
	d, err := x.draft(ctx, c, in.SystemKey, "system", false)
	if err != nil {
		return out, err
	}
	docs, keys, err := d.documents()
	if err != nil {
		return out, err
	}
	up := broker.SystemUpload{Key: d.key, SystemDocuments: docs, DryRun: true, ExpectedVersion: &d.base}
	done, err := x.core.PutSystem(ctx, c, up)
	if err != nil {
		return out, x.uploadFailed(d, err)
	}
	out.Changes, out.MoreChanges, out.NeedsConfirmation = changes(done.Changes)
	out.NeedsConfirmation = (out.NeedsConfirmation || len(done.Dropped) > 0) && !in.ConfirmSecurityChanges
	if !out.NeedsConfirmation {
		up.DryRun = false
		if done, err = x.core.PutSystem(ctx, c, up); err != nil {
			return out, x.uploadFailed(d, err)
		}
		delete(x.drafts, d.key)
		out.Uploaded = true
	}
	out.SystemKey, out.Version, out.Created, out.Intents = d.key, done.System.Version, done.Created, append([]intent{}, d.intents...)
	out.Dropped, out.Warnings, out.Slots = references(done.Dropped), faults(done.Warnings, keys), []slotNeed{}
	out.AssignSecretsAt = x.core.SystemPage(d.key)
	if out.Uploaded {
		slots, err := x.core.SystemSlots(ctx, c, d.key)
		if err != nil {
			return out, err
		}
		out.Slots = slotNeeds(slots)
	}
	return out, nil
}

// uploadFailed ends a draft that another upload overtook: what was read of the system is
// no longer so.
func (x *session) uploadFailed(d *draft, err error) error {
	e := claviger.AsError(err)
	if e.Code != "version_conflict" {
		return err
	}
	delete(x.drafts, d.key)
	return claviger.Errorf(claviger.KindConflict, e.Code, "The system was uploaded by somebody else since this draft began. The draft is gone: read what is there now, and patch that.")
}
