package native

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"claviger"
	"claviger/api"
	"claviger/internal/broker"
	"claviger/internal/wire"
)

func TestAbuse_181_AConnectionIsShownWithoutItsValues(t *testing.T) {
	x := claviger.Connection{
		ID: "conn_1", SecretKeys: []string{"apiKey", "user"}, SecretPaths: []string{"shared/marked"}, Revision: 7, Destination: "marked",
		LastError: &claviger.Fault{Code: "c", Message: "m"}, CreatedAt: time.UnixMilli(1), Revocations: []claviger.Revocation{{Token: "credential", Verdict: "revoked"}},
	}
	b, err := json.Marshal(connected(broker.Connected{Connection: x, Warnings: []string{"w"}}))
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, want := range []string{
		`"credentials":{"apiKey":"***REDACTED***","user":"***REDACTED***"}`, `"lastError":{"code":"c","message":"m"}`, `"warnings":["w"]`,
		`"grantedScopes":[]`, `"settings":{}`, `"expiresAt":null`, `"createdAt":"1970-01-01T00:00:00.001Z"`, `"verdict":"revoked"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	if strings.Contains(text, "marked") {
		t.Error("the answer shows where the credential comes from or goes")
	}
}

func TestChangesOfCredentials(t *testing.T) {
	one := "1"
	ch := connectionChange("conn_1", api.UpdateConnection{Credentials: map[string]*string{"set": &one, "clear": nil}})
	if len(ch.Credentials) != 1 || ch.Credentials["set"].Empty() || !reflect.DeepEqual(ch.ClearCredentials, []string{"clear"}) {
		t.Errorf("%+v", ch)
	}
	if none := connectionChange("conn_1", api.UpdateConnection{}); none.Credentials != nil || none.ClearCredentials != nil || none.SkipValidation {
		t.Errorf("%+v", none)
	}
	no := false
	if !newConnection(api.CreateConnection{Validate: &no}).SkipValidation || newConnection(api.CreateConnection{}).SkipValidation {
		t.Error("validate")
	}
}

func TestAFilledResultIsConvertedWhole(t *testing.T) {
	r := actionResult(broker.ActionResult{Succeeded: true, StatusCode: 204, Duration: 1500 * time.Microsecond, Pagination: &broker.NextPage{HasMore: true, Param: "p", Next: "n"}}, "req_1")
	b, err := json.Marshal(r)
	want := `{"object":"action_result","status":"succeeded","output":null,"statusCode":204,"durationMs":1,"requestId":"req_1","pagination":{"hasMore":true,"param":"p","next":"n"}}`
	if err != nil || string(b) != want {
		t.Errorf("%v %s", err, b)
	}
}

func TestPagesOfAListAtHand(t *testing.T) {
	cursors, err := wire.NewCursors([]byte("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	s := &surface{cursors: cursors}
	all := []string{"a", "b", "c", "d", "e"}
	same := func(v string) string { return v }
	var seen []string
	after := ""
	for range 4 {
		page, err := list(s, claviger.Caller{}, "r", wire.Paging{Limit: 2, After: after}, []string{"f"}, same, same, func(p broker.Page) ([]string, bool, error) {
			part, more := window(all, p, same)
			return part, more, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, page.Body.Data...)
		if after = page.Body.NextCursor; after == "" {
			break
		}
	}
	if !reflect.DeepEqual(seen, all) {
		t.Errorf("%v", seen)
	}
}

func TestAbuse_006_ACursorIsGoodForItsOwnListOnly(t *testing.T) {
	cursors, err := wire.NewCursors([]byte("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	s := &surface{cursors: cursors}
	same := func(v string) string { return v }
	fetch := func(broker.Page) ([]string, bool, error) { return []string{"a"}, true, nil }
	open := func(c claviger.Caller, route string, filter []string, after string) (string, error) {
		page, err := list(s, c, route, wire.Paging{Limit: 1, After: after}, filter, same, same, fetch)
		if err != nil {
			return "", err
		}
		return page.Body.NextCursor, nil
	}
	mine, err := open(claviger.Caller{}, "r", []string{"a", "b"}, "")
	if err != nil || mine == "" {
		t.Fatal(mine, err)
	}
	if _, err := open(claviger.Caller{}, "r", []string{"a", "b"}, mine); err != nil {
		t.Error("the own cursor is refused:", err)
	}
	for name, try := range map[string]func() (string, error){
		"another route":  func() (string, error) { return open(claviger.Caller{}, "q", []string{"a", "b"}, mine) },
		"another filter": func() (string, error) { return open(claviger.Caller{}, "r", []string{"ab", ""}, mine) },
		"a flipped bit":  func() (string, error) { return open(claviger.Caller{}, "r", []string{"a", "b"}, flip(mine)) },
		"a longer one":   func() (string, error) { return open(claviger.Caller{}, "r", []string{"a", "b"}, mine+"AA") },
	} {
		if _, err := try(); claviger.AsError(err) == nil || claviger.AsError(err).Code != "invalid_cursor" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// flip changes one bit of what a cursor's first character stands for.
func flip(cursor string) string {
	first := "A"
	if cursor[0] == 'A' {
		first = "Q"
	}
	return first + cursor[1:]
}
