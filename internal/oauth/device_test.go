package oauth_test

import (
	"testing"
	"time"

	"claviger"
	"claviger/clavigertest/oauthserver"
	"claviger/internal/oauth"
)

// TestAbuse_065_DeviceFlow: the interval is kept, slow_down is honoured for good, and
// the end is the end.
func TestAbuse_065_DeviceFlow(t *testing.T) {
	k := newKit(t, oauthserver.Policy{DevicePolls: 2, ClientAuth: claviger.ClientSecretPost}, nil)
	d, err := k.StartDevice(t.Context(), k.cfg, k.reg, []string{"a"})
	if err != nil {
		t.Fatal(err)
	}
	if d.UserCode != "WDJB-MJHT" || d.Interval != 5*time.Second || d.VerificationURI != k.server.URL+"/activate" || time.Until(d.ExpiresAt) > 10*time.Minute {
		t.Fatalf("%s %v %s", d.UserCode, d.Interval, d.VerificationURI)
	}
	var verdicts []oauth.Verdict
	k.server.Next(oauthserver.Fault{Skip: true, Status: 400, Body: `{"error":"slow_down"}`})
	for again := true; again; {
		a := k.PollDevice(t.Context(), k.cfg, k.reg, d, nil)
		class := oauth.Classify(k.cfg, a.Raw)
		verdicts = append(verdicts, class.Verdict)
		if class.Verdict == oauth.Granted {
			k.parsed(t, a)
		}
		d, again = d.Next(class, time.Now())
	}
	if want := []oauth.Verdict{oauth.SlowDown, oauth.Pending, oauth.Pending, oauth.Granted}; len(verdicts) != 4 || verdicts[0] != want[0] || verdicts[1] != want[1] || verdicts[3] != want[3] {
		t.Errorf("%v", verdicts)
	}
	if d.Interval != 10*time.Second {
		t.Errorf("interval %v after one slow_down", d.Interval)
	}
	if class := oauth.Classify(k.cfg, k.PollDevice(t.Context(), k.cfg, k.reg, d, nil).Raw); class.Verdict != oauth.Expired {
		t.Errorf("a code that was used: %s", class.Verdict)
	}
}

func TestDeviceNext(t *testing.T) {
	now := arrival()
	d := oauth.Device{Interval: 5 * time.Second, ExpiresAt: now.Add(time.Hour)}
	for _, c := range []struct {
		class    oauth.Class
		interval time.Duration
		again    bool
	}{
		{oauth.Class{Verdict: oauth.Pending}, 5 * time.Second, true},
		{oauth.Class{Verdict: oauth.SlowDown}, 10 * time.Second, true},
		{oauth.Class{Verdict: oauth.Unavailable}, 10 * time.Second, true},
		{oauth.Class{Verdict: oauth.RateLimited, After: time.Minute}, time.Minute, true},
		{oauth.Class{Verdict: oauth.RateLimited, After: time.Hour}, 5 * time.Minute, true},
		{oauth.Class{Verdict: oauth.Denied}, 5 * time.Second, false},
		{oauth.Class{Verdict: oauth.Expired}, 5 * time.Second, false},
		{oauth.Class{Verdict: oauth.Granted}, 5 * time.Second, false},
		{oauth.Class{Verdict: oauth.Refused}, 5 * time.Second, false},
	} {
		if got, again := d.Next(c.class, now); got.Interval != c.interval || again != c.again {
			t.Errorf("%s: %v %v", c.class.Verdict, got.Interval, again)
		}
	}
	if _, again := d.Next(oauth.Class{Verdict: oauth.Pending}, d.ExpiresAt.Add(-time.Second)); again {
		t.Error("a poll was allowed after the code's end")
	}
}

func TestStartDevice_HostileAnswers(t *testing.T) {
	k := newKit(t, oauthserver.Policy{}, nil)
	for name, change := range map[string]map[string]any{
		"script":        {"verification_uri": "javascript:alert(1)"},
		"file":          {"verification_uri": "file:///etc/passwd"},
		"flag":          {"verification_uri": "--flag"},
		"shell":         {"verification_uri": "$(calc)"},
		"user":          {"verification_uri": "https://acme.example@evil.example/"},
		"no address":    {"verification_uri": nil},
		"no code":       {"device_code": nil},
		"code is 7":     {"device_code": 7},
		"ill user code": {"user_code": "<b>1</b>\n"},
	} {
		k.server.Next(oauthserver.Fault{Change: change})
		if _, err := k.StartDevice(t.Context(), k.cfg, k.reg, nil); code(t, err) != "bad_token_response" {
			t.Errorf("%s: %v", name, err)
		}
	}
	k.server.Next(oauthserver.Fault{Change: map[string]any{"expires_in": 1e12, "interval": -7, "verification_uri_complete": "javascript:x"}})
	d, err := k.StartDevice(t.Context(), k.cfg, k.reg, nil)
	if err != nil || d.Interval != 5*time.Second || time.Until(d.ExpiresAt) > 24*time.Hour || d.VerificationURIComplete != "" {
		t.Errorf("%v %v %v %q", err, d.Interval, d.ExpiresAt, d.VerificationURIComplete)
	}
}
