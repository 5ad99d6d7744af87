package broker

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"claviger"
	"claviger/internal/manifest"
)

const (
	// endToEndTime bounds the test of one data source, cleanUpTime what follows to remove
	// what it made, whatever became of the caller.
	endToEndTime = 60 * time.Second
	cleanUpTime  = 20 * time.Second
)

// EndToEndReport is what the operations of a data source did at the real system.
type EndToEndReport struct {
	System, DataSource string
	Passed             bool // no operation failed, and nothing was left behind
	Steps              []EndToEndStep
	LeftBehind         []LeftBehind
	TestedAt           time.Time
}

// EndToEndStep is one operation, in the order in which they were tried.
type EndToEndStep struct {
	Operation  string // list, create, get, update, delete; restore and "clean up" beside them
	Status     string // passed, failed, skipped
	Code       string
	Message    string
	StatusCode int
	Duration   time.Duration
}

// LeftBehind is a record at the system that the test made or changed and could not remove
// or set back.
type LeftBehind struct {
	Key    map[string]any // what is known of its key
	Reason string
}

// TestEndToEnd tries the operations that a data source allows at the real system, through
// the system's api slot: list, create, get, update, delete. It writes only to a record
// that it made itself from testPayload, and removes it, after a failure too. Where nothing
// can be made it writes to the record that testPayload.primaryKey names, if it names one,
// and sets it back. Each operation is recorded as any action is, and needs the same right.
func (b *Broker) TestEndToEnd(ctx context.Context, c claviger.Caller, key, dataSource string) (EndToEndReport, error) {
	s, err := b.findSystem(ctx, c, claviger.SystemsTest, key)
	if err != nil {
		return EndToEndReport{}, err
	}
	bundle, err := b.storedManifest(ctx, c.Scope, &s, s.Version)
	if err != nil {
		return EndToEndReport{}, err
	}
	i := slices.IndexFunc(bundle.DataSources, func(d manifest.DataSource) bool { return d.Key == dataSource })
	if i < 0 {
		return EndToEndReport{}, claviger.Errorf(claviger.KindNotFound, "not_found", "The system %s has no data source of that key.", key)
	}
	return b.endToEnd(ctx, c, key, &bundle.DataSources[i])
}

func (b *Broker) endToEnd(ctx context.Context, c claviger.Caller, key string, d *manifest.DataSource) (out EndToEndReport, err error) {
	slot, err := b.apiSlot(ctx, c, claviger.SystemsTest, key, "")
	if err != nil {
		return out, err
	}
	ctx, cancel := context.WithTimeout(ctx, endToEndTime)
	defer cancel()
	e := &endToEnd{b: b, c: c, slot: slot, data: d, payload: payloadOf(d)}
	e.out = EndToEndReport{System: key, DataSource: d.Key, TestedAt: b.now()}
	defer func() { // after a panic, too
		e.cleanUp(context.WithoutCancel(ctx))
		out = e.out
		out.Passed = len(out.LeftBehind) == 0 && !slices.ContainsFunc(out.Steps, func(s EndToEndStep) bool { return s.Status == slotFailed })
	}()
	return out, e.all(ctx)
}

// endToEnd is one test on its way.
type endToEnd struct {
	b       *Broker
	c       claviger.Caller
	slot    apiSlot
	data    *manifest.DataSource
	payload map[string]any // of testPayload; nil: none
	out     EndToEndReport

	made   recordKey // the record that is to be removed; nil: none
	before []func(context.Context)
}

// allows reports whether the data source has an operation.
func (e *endToEnd) allows(operation string) bool {
	_, ok := e.data.Operation(operation)
	return ok
}

func (e *endToEnd) all(ctx context.Context) error {
	known := e.named()
	if e.allows("list") {
		doc, ok, err := e.try(ctx, "list", nil, nil)
		if err != nil {
			return err
		}
		if op, _ := e.data.Operation("list"); ok && known == nil {
			known = e.firstOf(op, doc)
		}
	}
	for _, step := range []func(context.Context, recordKey) error{e.create, e.get, e.update, e.remove} {
		if err := step(ctx, known); err != nil {
			return err
		}
	}
	return nil
}

func (e *endToEnd) create(ctx context.Context, _ recordKey) error {
	switch {
	case !e.allows("create"):
		return nil
	case !e.allows("delete"):
		e.skip("create", "cannot_clean_up", "The data source does not allow delete, so that what the test makes could not be removed.")
		return nil
	case e.payload == nil:
		e.skip("create", "no_test_payload", "Give the data source a testPayload.payloadTemplate to make a record from.")
		return nil
	}
	doc, ok, err := e.try(ctx, "create", nil, e.payload)
	if err != nil || !ok {
		return err
	}
	op, _ := e.data.Operation("create")
	e.made = e.keyOf(merged(e.payload, at(op.Record, doc)))
	return nil
}

func (e *endToEnd) get(ctx context.Context, known recordKey) error {
	if e.made != nil {
		known = e.made
	}
	switch {
	case !e.allows("get"):
		return nil
	case known == nil:
		e.skip("get", "no_record", "There is no record to get. Name one in testPayload.primaryKey.")
		return nil
	}
	_, _, err := e.try(ctx, "get", known, nil)
	return err
}

func (e *endToEnd) update(ctx context.Context, _ recordKey) error {
	designated := e.named()
	switch {
	case !e.allows("update"):
		return nil
	case e.payload == nil:
		e.skip("update", "no_test_payload", "Give the data source a testPayload.payloadTemplate to update a record with.")
		return nil
	case e.made != nil:
		_, _, err := e.try(ctx, "update", e.made, e.payload)
		return err
	case designated == nil || e.data.TestPayload.UseCopyForMutations || !e.allows("get"):
		e.skip("update", "no_record", "The test updates only what it made itself, or the record that testPayload.primaryKey names.")
		return nil
	}
	return e.updateNamed(ctx, designated)
}

// updateNamed updates the record that the manifest sets aside for tests, and sets it back.
func (e *endToEnd) updateNamed(ctx context.Context, key recordKey) error {
	doc, ok, err := e.try(ctx, "get", key, nil)
	if err != nil || !ok {
		return err
	}
	op, _ := e.data.Operation("get")
	was, _ := at(op.Record, doc).(map[string]any)
	old := map[string]any{}
	for name := range e.payload {
		old[name] = was[name]
	}
	e.before = append(e.before, func(ctx context.Context) {
		if _, ok, err := e.tryAs(ctx, "restore", "update", key, old); err != nil || !ok {
			e.leave(key, "The record could not be set back to what it was.")
		}
	})
	_, _, err = e.try(ctx, "update", key, e.payload)
	return err
}

func (e *endToEnd) remove(ctx context.Context, _ recordKey) error {
	switch {
	case !e.allows("delete"):
		return nil
	case e.made == nil:
		e.skip("delete", "no_record", "The test deletes only what it made itself.")
		return nil
	}
	_, ok, err := e.try(ctx, "delete", e.made, nil)
	if ok {
		e.made = nil
	}
	return err
}

// cleanUp removes what the test made if that is still there, and tells of what stays.
func (e *endToEnd) cleanUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, cleanUpTime)
	defer cancel()
	for _, back := range e.before {
		back(ctx)
	}
	if e.made == nil {
		return
	}
	if _, ok, err := e.tryAs(ctx, "clean up", "delete", e.made, nil); err != nil || !ok {
		e.leave(e.made, "The record that the test made could not be removed.")
	}
}

func (e *endToEnd) leave(key recordKey, reason string) {
	e.out.LeftBehind = append(e.out.LeftBehind, LeftBehind{Key: key, Reason: reason})
	e.b.log.Warn("a test left a record behind", "system", e.out.System, "dataSource", e.data.Key, "reason", reason)
}

func (e *endToEnd) skip(operation, code, message string) {
	e.out.Steps = append(e.out.Steps, EndToEndStep{Operation: operation, Status: slotSkipped, Code: code, Message: message})
}

func (e *endToEnd) try(ctx context.Context, operation string, key recordKey, payload map[string]any) (doc any, ok bool, err error) {
	return e.tryAs(ctx, operation, operation, key, payload)
}

// tryAs runs an operation as a step and answers what the system said, and whether that
// was a success. Only what keeps all operations from being tried is an error.
func (e *endToEnd) tryAs(ctx context.Context, step, operation string, key recordKey, payload map[string]any) (doc any, ok bool, err error) {
	began := e.b.now()
	identifier := e.out.System + "." + manifest.ActionKey(e.data.Key, operation)
	var result ActionResult
	action, err := e.slot.live.action(identifier)
	if err == nil {
		result, err = e.b.run(ctx, e.c, e.slot.live, ActionRun{Identifier: identifier, Input: key.input(action, payload)})
	}
	out := EndToEndStep{Operation: step, Status: slotPassed, StatusCode: result.StatusCode, Duration: e.b.now().Sub(began)}
	switch {
	case err != nil:
		fault := claviger.AsError(err)
		out.Status, out.Code, out.Message = slotFailed, fault.FineCode(), fault.Message
		if k := fault.Kind; k != claviger.KindDenied && k != claviger.KindUnavailable && k != claviger.KindInternal {
			err = nil
		}
	case !result.Succeeded:
		out.Status, out.Code, out.Message = slotFailed, "vendor_error", "The system answered with an error."
	default:
		_ = json.Unmarshal(result.Output, &doc) // it is JSON: the broker made it so
	}
	e.out.Steps = append(e.out.Steps, out)
	return doc, out.Status == slotPassed, err
}
