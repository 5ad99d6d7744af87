package native

import (
	"context"

	"claviger"
	"claviger/api"
	"claviger/internal/broker"
	"claviger/internal/wire"
)

func (s *surface) mountTrust(a *wire.API) {
	wire.Handle(a, action(wide("POST", "/v1/systems/{systemKey}/datasources/{dataSource}/test-e2e", "testEndToEnd", "Try a data source's operations at the real system, and clean up", claviger.SystemsTest)), s.testEndToEnd)
	wire.Handle(a, action(wide("POST", "/v1/systems/{systemKey}/verify-trust", "verifyTrust", "Prove what a system can do and sign the level that it reached", claviger.SystemsTest)), s.verifyTrust)
	wire.Handle(a, wide("GET", "/v1/systems/{systemKey}/certificate", "getCertificate", "The newest certificate, and whether it still holds", claviger.SystemsRead), s.certificate)
}

type byDataSource struct {
	BySystem
	DataSource string `path:"dataSource" maxLength:"64" doc:"The data source's key" example:"companies"`
}

func (s *surface) testEndToEnd(ctx context.Context, c claviger.Caller, in *byDataSource) (*out[api.EndToEndReport], error) {
	report, err := s.core.TestEndToEnd(ctx, c, in.Key, in.DataSource)
	return answer(endToEndReport(report), err)
}

func endToEndReport(r broker.EndToEndReport) api.EndToEndReport {
	out := api.EndToEndReport{Object: "end_to_end_report", SystemKey: r.System, DataSource: r.DataSource, Status: "failed", TestedAt: at(r.TestedAt)}
	if r.Passed {
		out.Status = "passed"
	}
	out.Steps = each(r.Steps, func(s broker.EndToEndStep) api.EndToEndStep {
		return api.EndToEndStep{
			Operation: s.Operation, Status: s.Status, Code: s.Code, Message: s.Message, StatusCode: s.StatusCode, DurationMs: s.Duration.Milliseconds(),
		}
	})
	out.LeftBehind = each(r.LeftBehind, func(x broker.LeftBehind) api.LeftBehind { return api.LeftBehind(x) })
	return out
}

func (s *surface) verifyTrust(ctx context.Context, c claviger.Caller, in *BySystem) (*out[api.TrustReport], error) {
	r, err := s.core.VerifyTrust(ctx, c, in.Key)
	if err != nil {
		return nil, err
	}
	x := api.TrustReport{
		Object: "trust_report", SystemKey: r.System.Key, Version: r.System.Version, Hash: r.System.Hash.String(), Status: "failed", Level: r.Level,
		Checks: each(r.Checks, trustCheck), Certificate: certificate(r.Certificate),
	}
	if r.Passed {
		x.Status = "passed"
	}
	return body(x), nil
}

func (s *surface) certificate(ctx context.Context, c claviger.Caller, in *BySystem) (*out[api.CertificateState], error) {
	state, err := s.core.Certificate(ctx, c, in.Key)
	if err != nil {
		return nil, err
	}
	return body(api.CertificateState{Object: "certificate_state", Valid: state.Valid, Code: state.Code, Message: state.Message, Certificate: certificate(&state.Certificate)}), nil
}

func trustCheck(x broker.TrustCheck) api.TrustCheck { return api.TrustCheck(x) }

func certificate(c *broker.Certificate) *api.Certificate {
	if c == nil {
		return nil
	}
	return &api.Certificate{
		Enabled: c.Enabled, Issuer: c.Issuer, SystemKey: c.SystemKey, Version: c.Version, ContractHash: c.ContractHash, Algorithm: c.Algorithm,
		PublicKeyFingerprint: c.PublicKeyFingerprint, Status: c.Status, Level: c.Level, IssuedAt: c.IssuedAt, Checks: each(c.Checks, trustCheck),
		PublicKey: c.PublicKey, Signature: c.Signature,
	}
}
