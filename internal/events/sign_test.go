package events

import (
	"errors"
	"strings"
	"testing"
	"time"

	"claviger"
)

// The example of the specification (Standard Webhooks, "Signature scheme"), as its
// reference implementations in JavaScript and Go compute it.
func TestSignTheKnownExample(t *testing.T) {
	secret := claviger.NewSecretString("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	got, err := sign("msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`), []claviger.Secret{secret})
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; err != nil || got != want {
		t.Errorf("%s %v, want %s", got, err, want)
	}
}

func TestSignRefusesWhatIsNoSecret(t *testing.T) {
	good := claviger.NewSecretString("whsec_" + strings.Repeat("QUJD", 8))
	for name, text := range map[string]string{"empty": "", "no prefix": "QUJD", "no base64": "whsec_!", "no bytes": "whsec_"} {
		if got, err := sign("msg_1", time.Unix(1, 0), nil, []claviger.Secret{good, claviger.NewSecretString(text)}); !errors.Is(err, errBadSecret) || got != "" {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
}

func TestPausesCoverADay(t *testing.T) {
	total, n := time.Duration(0), 0
	for total < Window {
		n++
		total += pause(n, 0)
	}
	if n < 10 || n > 14 {
		t.Errorf("%d attempts in a day", n)
	}
	if pause(1, time.Minute) != time.Minute || pause(1, 48*time.Hour) != time.Hour || pause(9, time.Minute) != 4*time.Hour || pause(1000, 0) != 6*time.Hour || pause(0, 0) != 5*time.Second {
		t.Error("an endpoint's wish counts for an hour at most and never hastens")
	}
}
