package native

import (
	"cmp"
	"strings"
	"time"

	"claviger"
	"claviger/api"
	"claviger/internal/broker"
)

// The conversions between the shapes of package api and the core. Nothing decides
// here; what is absent becomes null or an empty list, times are in UTC.

func at(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

func maybe(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	u := at(t)
	return &u
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func strs[S ~string](values []S) []string {
	return each(values, func(v S) string { return string(v) })
}

func object(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

// shown copies a fresh secret into the one answer that shows it.
func shown(s claviger.Secret) (value string) {
	s.Use(func(b []byte) { value = string(b) })
	return value
}

func newConnection(in api.CreateConnection) broker.NewConnection {
	credentials := claviger.Credentials{}
	for key, value := range in.Credentials {
		credentials[key] = claviger.NewSecretString(value)
	}
	return broker.NewConnection{
		Connector: in.Connector, AuthMethod: in.AuthMethod, Name: in.Name, Workspace: claviger.WorkspaceID(in.WorkspaceID),
		Usage: claviger.Usage(in.Usage), Visibility: claviger.Visibility(in.Visibility), Credentials: credentials,
		Settings: in.Settings, Metadata: in.Metadata, Tags: in.Tags, SkipValidation: in.Validate != nil && !*in.Validate,
		ReturnURL: in.ReturnURL,
	}
}

func connectionChange(id string, in api.UpdateConnection) broker.ConnectionChange {
	ch := broker.ConnectionChange{
		ID: claviger.ConnectionID(id), Name: in.Name, Settings: in.Settings, Metadata: in.Metadata, Tags: in.Tags,
		ConnectorVersion: in.ConnectorVersion, SkipValidation: in.Validate != nil && !*in.Validate, AllowAccountChange: in.AllowAccountChange,
	}
	for key, value := range in.Credentials {
		if value == nil {
			ch.ClearCredentials = append(ch.ClearCredentials, key)
			continue
		}
		if ch.Credentials == nil {
			ch.Credentials = claviger.Credentials{}
		}
		ch.Credentials[key] = claviger.NewSecretString(*value)
	}
	return ch
}

func connection(x claviger.Connection) api.Connection {
	c := api.Connection{
		ID: string(x.ID), Object: "connection", Connector: x.Connector, ConnectorVersion: x.ConnectorVersion, AuthMethod: x.AuthMethod,
		Name: x.Name, WorkspaceID: string(x.Workspace), OwnerID: x.Owner, Usage: string(x.Usage), Visibility: string(x.Visibility),
		Status: string(x.Status), HealthStatus: string(x.Health), Account: api.Account{ID: x.Account.ID, Name: x.Account.Name},
		GrantedScopes: strs(x.GrantedScopes), Credentials: map[string]string{}, Settings: object(x.Settings), Metadata: object(x.Metadata),
		Tags: object(x.Tags), ExpiresAt: maybe(x.ExpiresAt), LastUsedAt: maybe(x.LastUsedAt), LastCheckedAt: maybe(x.LastCheckedAt),
		CreatedAt: at(x.CreatedAt), UpdatedAt: at(x.UpdatedAt),
	}
	for _, key := range x.SecretKeys {
		c.Credentials[key] = api.RedactedMark
	}
	if x.LastError != nil {
		c.LastError = &api.Fault{Code: x.LastError.Code, Message: x.LastError.Message}
	}
	for _, r := range x.Revocations {
		c.Revocations = append(c.Revocations, api.Revocation{Token: r.Token, Verdict: r.Verdict})
	}
	return c
}

func connected(x broker.Connected) api.Connection {
	c := connection(x.Connection)
	c.Warnings = x.Warnings
	if p := x.Pairing; p != nil {
		c.UserCode, c.VerificationURI, c.VerificationURIComplete = p.UserCode, p.VerificationURI, p.VerificationURIComplete
		c.Interval, c.ExpiresAt = int(p.Interval.Seconds()), maybe(x.AuthorizeBy)
	}
	if x.AuthorizeURL != "" {
		c.AuthorizeURL, c.ExpiresAt = x.AuthorizeURL, maybe(x.AuthorizeBy)
	}
	return c
}

func connectionFilter(in *listConnections) (broker.ConnectionFilter, error) {
	key, value, err := splitTag(in.Tag)
	return broker.ConnectionFilter{
		Workspace: claviger.WorkspaceID(in.WorkspaceID), Connector: in.Connector, Status: claviger.Status(in.Status),
		Health: claviger.Health(in.HealthStatus), Owner: in.Owner, TagKey: key, TagValue: value, Search: in.Search,
	}, err
}

func sweepFilter(in api.DisableConnections) (broker.ConnectionFilter, error) {
	key, value, err := splitTag(in.Tag)
	return broker.ConnectionFilter{
		Workspace: claviger.WorkspaceID(cmp.Or(in.WorkspaceID, in.Workspace)), Connector: in.Connector, Owner: in.Owner, TagKey: key, TagValue: value,
	}, err
}

func splitTag(tag string) (key, value string, err error) {
	if tag == "" {
		return "", "", nil
	}
	key, value, ok := strings.Cut(tag, ":")
	if !ok || key == "" {
		return "", "", claviger.Invalid("tag", "invalid_value", "Write a tag as key:value.")
	}
	return key, value, nil
}

func connectionTest(id string, r broker.TestReport) api.ConnectionTest {
	return api.ConnectionTest{
		Object: "connection_test", ConnectionID: id, Status: r.Status, TestedAt: at(r.TestedAt),
		Steps: each(r.Steps, testStep),
	}
}

func testStep(s broker.TestStep) api.TestStep {
	return api.TestStep{
		Name: s.Name, Status: s.Status, Code: s.Code, Message: s.Message, StatusCode: s.StatusCode,
		Missing: s.Missing, DurationMs: s.Duration.Milliseconds(),
	}
}

func reference(r claviger.Reference) api.Reference {
	return api.Reference{Type: r.Type, ID: r.ID, Name: r.Name, LastUsedAt: maybe(r.LastUsedAt)}
}

func usage(q broker.UsageQuery, u broker.UsageReport) api.Usage {
	point := func(x broker.UsagePoint) api.UsagePoint {
		return api.UsagePoint{
			Start: maybe(x.Start), Action: x.Action, Calls: x.Calls, Failures: x.Failures, AverageMs: ms(x.Average), LongestMs: ms(x.Longest),
		}
	}
	return api.Usage{
		Object: "usage", ConnectionID: string(q.Connection), WorkspaceID: string(q.Workspace), Period: u.Period,
		From: at(u.From), To: at(u.To), Points: each(u.Points, point), ByAction: each(u.ByAction, point),
	}
}

func actionInfo(a broker.ActionInfo) api.Action {
	return api.Action{
		Object: "action", ActionIdentifier: a.Identifier, Connector: a.Connector, Name: a.Name,
		Description: a.Description, ReadOnly: a.ReadOnly, Input: a.Input,
	}
}

func actionResult(r broker.ActionResult, requestID string) api.ActionResult {
	status := "failed"
	if r.Succeeded {
		status = "succeeded"
	}
	a := api.ActionResult{
		Object: "action_result", Status: status, Output: r.Output, StatusCode: r.StatusCode,
		DurationMs: r.Duration.Milliseconds(), RequestID: requestID,
	}
	if len(a.Output) == 0 {
		a.Output = []byte("null") // an answer without a body
	}
	if r.Pagination != nil {
		a.Pagination = &api.NextPage{HasMore: r.Pagination.HasMore, Param: r.Pagination.Param, Next: r.Pagination.Next}
	}
	return a
}

func question(in api.ExplainCall) broker.Question {
	return broker.Question{
		Connection: claviger.ConnectionID(in.ConnectionID), Action: in.ActionIdentifier, Method: in.Method, Path: in.Path, Input: in.Input,
	}
}

func explanation(x broker.Explanation) api.Explanation {
	return api.Explanation{
		Object: "explanation", Allowed: x.Allowed, Code: x.Code, Message: x.Message, ConnectionID: string(x.Connection.ID),
		Connection: x.Connection.Name, Connector: x.Connection.Connector, Verb: string(x.Verb), Usage: string(x.Usage),
		Host: x.Host, Method: x.Method, URL: x.URL, Headers: x.Headers, RateLimit: rateLimit(x.RateLimit), Policy: strs(x.Policy),
	}
}

func rateLimit(r claviger.RateLimit) *api.RateLimit {
	if r.RequestsPerSecond == 0 && r.Burst == 0 {
		return nil
	}
	return &api.RateLimit{RequestsPerSecond: r.RequestsPerSecond, Burst: r.Burst}
}
