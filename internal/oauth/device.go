package oauth

import (
	"context"
	"net/url"
	"time"

	"claviger"
)

// The bounds of a device flow (RFC 8628, section 3.2).
const (
	deviceInterval    = 5 * time.Second // between polls, unless the server says otherwise
	maxDeviceInterval = 5 * time.Minute
	deviceLifetime    = 15 * time.Minute
	maxUserCode       = 64
)

// Device is a device flow under way. UserCode and the addresses are for the person
// who decides; DeviceCode is ours alone.
type Device struct {
	DeviceCode              claviger.Secret
	UserCode                string
	VerificationURI         string
	VerificationURIComplete string // has the code in it; empty if the server makes none
	ExpiresAt               time.Time
	Interval                time.Duration // the least time between two polls
}

// StartDevice begins a device flow (RFC 8628, section 3.1). The client authenticates
// as it does at the token endpoint.
func (c *Client) StartDevice(ctx context.Context, cfg Config, client claviger.OAuthClient, scopes []string) (Device, error) {
	params := url.Values{}
	cfg.scopes(params, scopes)
	raw, err := c.send(ctx, cfg, client, call{endpoint: cfg.Endpoints.Device, params: params, auth: cfg.Rules.ClientAuth}).settled()
	if err != nil {
		return Device{}, err
	}
	if err := classify(cfg, raw, "$.device_code").Err(); err != nil {
		return Device{}, err
	}
	tree, _ := raw.read("json")
	d := Device{
		UserCode:                text(tree, "$.user_code"),
		VerificationURI:         text(tree, "", "$.verification_uri", "$.verification_url"),
		VerificationURIComplete: text(tree, "", "$.verification_uri_complete", "$.verification_url_complete"),
		ExpiresAt:               raw.Received.Add(deviceLifetime),
		Interval:                deviceInterval,
	}
	code := text(tree, "$.device_code")
	if !printable(code, maxToken) || !printable(d.UserCode, maxUserCode) || !usableAddress(d.VerificationURI) {
		return Device{}, errBadResponse()
	}
	d.DeviceCode = claviger.NewSecretString(code)
	if d.VerificationURIComplete != "" && !usableAddress(d.VerificationURIComplete) {
		d.VerificationURIComplete = ""
	}
	if v, ok := find(tree, "$.expires_in"); ok {
		if n, ok := number(v); ok {
			d.ExpiresAt = raw.Received.Add(min(seconds(n), 24*time.Hour))
		}
	}
	if v, ok := find(tree, "$.interval"); ok {
		if n, ok := number(v); ok && n > 0 {
			d.Interval = min(max(seconds(n), time.Second), maxDeviceInterval)
		}
	}
	return d, nil
}

// PollDevice asks once whether the person has decided. Wait for Interval before the
// first and between polls, and hand each answer's class to [Device.Next].
func (c *Client) PollDevice(ctx context.Context, cfg Config, client claviger.OAuthClient, d Device, proof *Proof) Attempt {
	what := cfg.token(grantDevice, proof)
	what.params.Del("resource") // RFC 8707 has it in the first request here, not in each poll
	what.params.Set("device_code", reveal(d.DeviceCode))
	return c.send(ctx, cfg, client, what)
}

// Next answers the flow after a poll, and whether another poll may come: after pending
// as before, after slow_down five seconds later for good (RFC 8628, section 3.5),
// after failures of the network or the server twice as late; never after the end.
func (d Device) Next(class Class, now time.Time) (next Device, again bool) {
	switch class.Verdict {
	case Pending:
	case SlowDown:
		d.Interval = min(d.Interval+5*time.Second, maxDeviceInterval)
	case Unavailable, RateLimited:
		d.Interval = min(max(2*d.Interval, class.After), maxDeviceInterval)
	default:
		return d, false
	}
	return d, now.Add(d.Interval).Before(d.ExpiresAt)
}
