package native

import (
	"claviger"
	"claviger/api"
	"claviger/internal/broker"
)

func (s *surface) system(x claviger.System) api.System {
	return api.System{
		Object: "system", ID: string(x.ID), Key: x.Key, DisplayName: x.DisplayName, Type: x.Type, Enabled: x.Enabled,
		WorkspaceID: string(x.Workspace), OwnerID: x.Owner, Version: x.Version, Hash: x.Hash.String(), WebhookURL: s.core.WebhookURL(&x),
		CreatedAt: at(x.CreatedAt), UpdatedAt: at(x.UpdatedAt),
	}
}

func systemVersion(m claviger.Manifest) api.SystemVersion {
	return api.SystemVersion{Object: "system_version", Version: m.Version, Hash: m.Hash.String(), UploadedBy: m.Uploader, CreatedAt: at(m.CreatedAt)}
}

func systemUploaded(up broker.SystemUploaded, dry bool) api.SystemUploaded {
	return api.SystemUploaded{
		Object: "system_upload", SystemKey: up.System.Key, Version: up.System.Version, Created: up.Created, DryRun: dry, Hash: up.System.Hash.String(),
		Changes: each(up.Changes, systemChange), Warnings: each(up.Warnings, systemFault), Dropped: each(up.Dropped, kv),
	}
}

func kv(path string) string { return claviger.SecretScheme + path }

func systemValidation(faults []broker.SystemFault) api.SystemValidation {
	return api.SystemValidation{Object: "system_validation", Valid: broker.SystemValid(faults), Faults: each(faults, systemFault)}
}

func systemChange(c broker.SystemChange) api.SystemChange {
	return api.SystemChange{Path: c.Path, Old: c.Old, New: c.New, Security: c.Security, Reason: c.Reason}
}

func systemFault(f broker.SystemFault) api.SystemFault {
	return api.SystemFault{
		File: f.File, Line: f.Line, Column: f.Column, Pointer: f.Pointer, Code: f.Code, Message: f.Message, Hint: f.Hint,
		Severity: string(f.Severity), Repair: f.Repair,
	}
}

func slot(x broker.SlotState) api.Slot {
	out := api.Slot{
		Object: "slot", Key: x.Slot.Key, Usage: string(x.Slot.Usage), Default: x.Serves, AuthType: string(x.Slot.Auth), Method: x.Slot.Method,
		ConnectionID: string(x.Slot.Connection), HealthStatus: string(claviger.HealthUnknown), WebhookURL: x.WebhookURL,
		Secrets: each(x.Secrets, func(v broker.SlotSecret) api.SlotSecret {
			return api.SlotSecret{Name: v.Name, Reference: kv(v.Path), HasValue: v.HasValue, SetAt: maybe(v.SetAt)}
		}),
	}
	if conn := x.Connection; conn != nil {
		out.ConnectionID, out.Status, out.HealthStatus = string(conn.ID), string(conn.Status), string(conn.Health)
		out.CheckedAt = maybe(conn.LastCheckedAt)
		if f := conn.LastError; f != nil {
			out.LastError = &api.Fault{Code: f.Code, Message: f.Message}
		}
	}
	return out
}

func integrationReport(r broker.IntegrationReport) api.IntegrationReport {
	out := api.IntegrationReport{Object: "integration_report", Status: "failed", Slots: each(r.Slots, slotReport), TestedAt: at(r.TestedAt)}
	if r.Passed {
		out.Status = "passed"
	}
	return out
}

func slotReport(r broker.SlotReport) api.SlotReport {
	return api.SlotReport{
		Key: r.Key, Usage: string(r.Usage), Status: r.Status, Code: r.Code, Message: r.Message, Path: r.Path, Host: r.Host,
		Steps: each(r.Steps, testStep), DurationMs: r.Duration.Milliseconds(),
	}
}
