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
