package signers_test

import (
	"testing"

	"claviger/clavigertest/signers"
)

// What a library signed it accepts, and with another secret or body it does not.
func TestEveryLibrarySignsAndVerifies(t *testing.T) {
	p := signers.Start(t)
	const body = `{"type":"greeting","text":"gr\u00fc\u00dfe"}`
	for library, args := range map[string]map[string]any{
		signers.StandardWebhooks: {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "body": body},
		signers.Svix:             {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "body": body, "id": "msg_7"},
		signers.Stripe:           {"secret": "whsec_of_stripe", "body": `{"id":"evt_1","object":"event"}`},
		signers.Octokit:          {"secret": "a secret of GitHub", "body": body},
		signers.Twilio:           {"secret": "12345", "url": "https://hooks.example.com/sms?a=b", "body": body},
		signers.Slack:            {"secret": "8f742231b10e8888abcd99yyyzzz85a5", "body": "token=x&text=hello+there"},
		signers.Shopify:          {"secret": "hush", "body": body},
	} {
		t.Run(library, func(t *testing.T) {
			headers, sent := p.Sign(t, library, args)
			secret := args["secret"].(string)
			if err := p.Verify(t, library, secret, headers, sent); err != nil {
				t.Errorf("its own signature %v: %v", headers, err)
			}
			if err := p.Verify(t, library, secret, headers, append(sent, ' ')); err == nil {
				t.Error("another body is accepted")
			}
			other := "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
			if err := p.Verify(t, library, other, headers, sent); err == nil {
				t.Error("another secret is accepted")
			}
		})
	}
}

func TestTwilioSignsForms(t *testing.T) {
	p := signers.Start(t)
	const url = "https://hooks.example.com/sms"
	headers, sent := p.Sign(t, signers.Twilio, map[string]any{"secret": "12345", "url": url, "params": map[string]string{"From": "+14158675310", "Body": "hi there"}})
	headers["url"] = url
	if err := p.Verify(t, signers.Twilio, "12345", headers, sent); err != nil {
		t.Errorf("%s: %v", sent, err)
	}
	headers["url"] = url + "/other"
	if err := p.Verify(t, signers.Twilio, "12345", headers, sent); err == nil {
		t.Error("another address is accepted")
	}
}
