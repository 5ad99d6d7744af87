package broker

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"claviger"
	"claviger/internal/certify"
	"claviger/internal/gate"
	"claviger/internal/manifest"
	"claviger/internal/store"
)

// trustTime bounds all tests of one verification.
const trustTime = 80 * time.Second

// The levels, each with what it takes.
const (
	levelBronze   = "BRONZE"   // the manifest is valid
	levelSilver   = "SILVER"   // every slot has its values and is healthy
	levelGold     = "GOLD"     // every slot was used with its own credential
	levelPlatinum = "PLATINUM" // every operation, every webhook slot and the background slots were proven
)

// Beside passed, failed and skipped a check may find that there is nothing to look at.
const checkNone = "none"

type (
	// TrustCheck is one thing that was looked at.
	TrustCheck = certify.Check
	// Certificate is the signed result, over the hash of the manifest.
	Certificate = certify.Certificate
)

// TrustReport is what a system has shown.
type TrustReport struct {
	System      claviger.System
	Level       string // the highest whose checks all hold, with those below it; empty: none
	Passed      bool   // no check failed
	Checks      []TrustCheck
	Certificate *Certificate // nil without a level
}

// VerifyTrust takes a system through the ladder of checks and signs the level that it
// reached over the hash of its manifest. The certificate replaces the one before; it ends
// with any change of the manifest. The tests are those of [Broker.TestIntegration] and
// [Broker.TestEndToEnd], and need the same rights.
func (b *Broker) VerifyTrust(ctx context.Context, c claviger.Caller, key string) (TrustReport, error) {
	s, err := b.findSystem(ctx, c, claviger.SystemsTest, key)
	if err != nil {
		return TrustReport{}, err
	}
	bundle, err := b.storedManifest(ctx, c.Scope, &s, s.Version)
	if err != nil {
		return TrustReport{}, err
	}
	within, cancel := context.WithTimeout(ctx, trustTime)
	defer cancel()
	l := &ladder{b: b, c: c, system: &s, bundle: bundle}
	if err := l.climb(within); err != nil {
		return TrustReport{}, err
	}
	out := TrustReport{System: s, Level: l.level, Checks: l.checks}
	out.Passed = l.level != "" && !slices.ContainsFunc(l.checks, func(x TrustCheck) bool { return x.Status == slotFailed })
	if l.level == "" {
		return out, nil
	}
	out.Certificate, err = b.sign(ctx, c, &s, l)
	return out, err
}

// sign makes and keeps the certificate of what a ladder reached.
func (b *Broker) sign(ctx context.Context, c claviger.Caller, s *claviger.System, l *ladder) (*Certificate, error) {
	if err := b.vault.Prepare(ctx, s.Organization); err != nil {
		return nil, err
	}
	sealed, err := b.db.TrustKey(ctx, c.Scope)
	var fresh claviger.Secret
	if errors.Is(err, store.ErrNotFound) {
		fresh, err = certify.NewKey(b.random)
	}
	if err != nil {
		return nil, err
	}
	var out Certificate
	err = b.gate.Change(ctx, c, claviger.SystemsTest, s.Resource(), func(tx *store.Tx, t *gate.Ticket) error {
		if !fresh.Empty() {
			first, err := b.vault.SealTrustKey(ctx, t, fresh)
			if err != nil {
				return err
			}
			if sealed, err = tx.PutTrustKey(ctx, c.Scope, first); err != nil {
				return err
			}
		}
		var err error
		out, err = b.vault.Certify(ctx, t, sealed, certify.Statement{
			Issuer: b.publicURL, SystemKey: s.Key, Version: strconv.Itoa(s.Version), ContractHash: s.Hash.String(), Status: "passed", Level: l.level,
			IssuedAt: b.now(), Checks: l.checks,
		})
		if err != nil {
			return err
		}
		text, err := json.Marshal(out)
		if err != nil {
			return err
		}
		return tx.PutCertificate(ctx, c.Scope, s, store.Certificate{Hash: s.Hash, Level: l.level, Document: text})
	})
	return &out, err
}

// CertificateState is a certificate and whether it still holds.
type CertificateState struct {
	Certificate
	Valid   bool
	Code    string // why not
	Message string
}

// Certificate answers a system's newest certificate, checked against the present manifest:
// its hash is computed anew from the stored documents.
func (b *Broker) Certificate(ctx context.Context, c claviger.Caller, key string) (CertificateState, error) {
	var out CertificateState
	s, err := b.findSystem(ctx, c, claviger.SystemsRead, key)
	if err != nil {
		return out, err
	}
	kept, err := b.db.Certificate(ctx, c.Scope, &s)
	if err != nil {
		return out, absent(err, "certificate")
	}
	if out.Certificate, err = certify.Read(kept.Document); err != nil {
		return out, err
	}
	bundle, err := b.storedManifest(ctx, c.Scope, &s, s.Version)
	if err != nil {
		return out, err
	}
	if err := out.Verify(bundle.Contract(), ""); err != nil {
		e := claviger.AsError(err)
		out.Code, out.Message = e.FineCode(), e.Message
		return out, nil
	}
	out.Valid = true
	return out, nil
}

// ladder is one verification on its way up.
type ladder struct {
	b      *Broker
	c      claviger.Caller
	system *claviger.System
	bundle *manifest.Bundle
	level  string
	checks []TrustCheck
}

func (l *ladder) add(level, name, subject, status, code, message string) {
	l.checks = append(l.checks, TrustCheck{Level: level, Name: name, Subject: subject, Status: status, Code: code, Message: message})
}

// climb checks level after level, and stops below the first that does not hold.
func (l *ladder) climb(ctx context.Context) error {
	if err := l.bronze(ctx); err != nil || !l.reach(levelBronze) {
		return err
	}
	report, err := l.b.TestIntegration(ctx, l.c, l.system.Key)
	if err != nil {
		return err
	}
	if err := l.silver(ctx); err != nil || !l.reach(levelSilver) {
		return err
	}
	for _, slot := range report.Slots {
		l.add(levelGold, "integration", slot.Key, slot.Status, slot.Code, slot.Message)
	}
	if !l.reach(levelGold) {
		return nil
	}
	if err := l.platinum(ctx, report); err != nil {
		return err
	}
	l.reach(levelPlatinum)
	return nil
}

// reach raises the level if each of its checks passed, or had nothing to look at.
func (l *ladder) reach(level string) bool {
	for _, x := range l.checks {
		if x.Level == level && x.Status != slotPassed && x.Status != checkNone {
			return false
		}
	}
	l.level = level
	return true
}

func (l *ladder) bronze(ctx context.Context) error {
	policy, err := l.b.manifestPolicy(ctx, l.c.Scope)
	if err != nil {
		return err
	}
	if refusal := manifest.Refusal(manifest.Validate(l.bundle, policy)); refusal != nil {
		l.add(levelBronze, "manifest", "", slotFailed, refusal.FineCode(), refusal.Message)
		return nil
	}
	l.add(levelBronze, "manifest", "", slotPassed, "", "")
	return nil
}

func (l *ladder) silver(ctx context.Context) error {
	slots, err := l.b.SystemSlots(ctx, l.c, l.system.Key)
	if err != nil {
		return err
	}
	for i := range slots {
		s := &slots[i]
		at := slices.IndexFunc(s.Secrets, func(x SlotSecret) bool { return !x.HasValue })
		switch {
		case s.Connection == nil:
			e := missingProvider(&s.Slot)
			l.add(levelSilver, "slot", s.Slot.Key, slotFailed, e.FineCode(), e.Message)
		case at >= 0:
			l.add(levelSilver, "slot", s.Slot.Key, slotFailed, "secret_missing", "No value is stored at kv://"+s.Secrets[at].Path+".")
		case s.Connection.Status.Refusal() != nil:
			e := s.Connection.Status.Refusal()
			l.add(levelSilver, "slot", s.Slot.Key, slotFailed, e.FineCode(), e.Message)
		case s.Connection.Health == claviger.HealthUnhealthy:
			l.add(levelSilver, "slot", s.Slot.Key, slotFailed, "unhealthy", "The slot's credential does not work.")
		default:
			l.add(levelSilver, "slot", s.Slot.Key, slotPassed, "", "")
		}
	}
	return nil
}

func (l *ladder) platinum(ctx context.Context, report IntegrationReport) error {
	if len(l.bundle.DataSources) == 0 {
		l.add(levelPlatinum, "endToEnd", "", slotSkipped, "no_data_source", "The system has no data source whose operations could be tried.")
	}
	for i := range l.bundle.DataSources {
		if err := l.endToEnd(ctx, &l.bundle.DataSources[i]); err != nil {
			return err
		}
		l.capabilities(&l.bundle.DataSources[i])
	}
	if err := l.webhooks(ctx); err != nil {
		return err
	}
	l.background(report)
	return nil
}

// endToEnd proves every operation that a data source allows.
func (l *ladder) endToEnd(ctx context.Context, d *manifest.DataSource) error {
	if ctx.Err() != nil {
		l.add(levelPlatinum, "endToEnd", d.Key, slotSkipped, "timeout", "There was no time left to try it.")
		return nil
	}
	report, err := l.b.endToEnd(ctx, l.c, l.system.Key, d)
	if claviger.IsKind(err, claviger.KindConflict) { // there is no slot that could be called through
		e := claviger.AsError(err)
		l.add(levelPlatinum, "endToEnd", d.Key, slotFailed, e.FineCode(), e.Message)
		return nil
	}
	if err != nil {
		return err
	}
	var proven []string
	status, code := slotPassed, ""
	for _, s := range report.Steps {
		switch {
		case s.Status == slotPassed:
			proven = append(proven, s.Operation)
		case status != slotFailed:
			status, code = s.Status, s.Code
		}
	}
	message := "Proven: " + strings.Join(proven, ", ") + "."
	switch {
	case len(report.LeftBehind) > 0:
		status, code, message = slotFailed, "left_behind", "A record stayed behind at the system."
	case len(report.Steps) == 0:
		status = checkNone
		message = "The data source allows no operation."
	}
	l.add(levelPlatinum, "endToEnd", d.Key, status, code, message)
	return nil
}

// capabilities checks that what webhooks and bridges set off can be done.
func (l *ladder) capabilities(d *manifest.DataSource) {
	var needs []string
	if d.Webhook != nil && d.Webhook.Enabled || d.SyncBridge.Writes() {
		needs = append(needs, "get")
	}
	if d.SyncBridge.Writes() {
		needs = append(needs, "update")
	}
	if len(needs) == 0 {
		return
	}
	for _, op := range needs {
		if _, ok := d.Operation(op); !ok {
			l.add(levelPlatinum, "capabilities", d.Key, slotFailed, "no_operation", "Its webhook or bridge needs the operation "+op+".")
			return
		}
	}
	l.add(levelPlatinum, "capabilities", d.Key, slotPassed, "", "")
}

// background takes over what the slots for background work showed by their own test call.
func (l *ladder) background(report IntegrationReport) {
	found := false
	for _, slot := range report.Slots {
		if slot.Usage == claviger.UsageSyncExecution {
			found = true
			l.add(levelPlatinum, "sync", slot.Key, slot.Status, slot.Code, "It called its test endpoint with its own credential.")
		}
	}
	if !found {
		l.add(levelPlatinum, "sync", "", checkNone, "", "The system has no slot for background work.")
	}
}
