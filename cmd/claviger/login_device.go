package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"
	"unicode"

	"claviger"
	"claviger/api"
	"claviger/client"
)

// loginByCode shows a code and waits for the person who types it elsewhere (RFC 8628).
func (p *program) loginByCode(ctx context.Context, c *client.Client) (claviger.Secret, error) {
	d, err := c.BeginLogin(ctx, hostName())
	if err != nil {
		return claviger.Secret{}, err
	}
	life := time.Duration(d.ExpiresIn) * time.Second
	ctx, cancel := context.WithTimeoutCause(ctx, life, loginError{"Nobody let this command line in."})
	defer cancel()
	p.warnf("Open %s\nand type the code %s, or on a machine that is logged in: claviger auth approve %s\nWaiting %s.\n",
		escape(d.VerificationURI), escape(d.UserCode), escape(d.UserCode), life)
	pace := max(time.Duration(d.Interval)*time.Second, time.Second)
	for {
		if err := p.pause(ctx, pace); err != nil {
			return claviger.Secret{}, context.Cause(ctx)
		}
		key, err := c.RedeemLogin(ctx, api.RedeemLogin{DeviceCode: d.DeviceCode})
		var e *client.Error
		switch {
		case err == nil:
			return claviger.NewSecretString(key.Key), nil
		case client.HasCode(err, "authorization_pending"):
		case errors.As(err, &e) && e.Code == "slow_down":
			pace = max(pace+time.Second, e.RetryAfter)
		case client.HasCode(err, "access_denied"):
			return claviger.Secret{}, loginError{"The login was refused."}
		case errors.As(err, &e) && e.Status == 0 && ctx.Err() == nil:
			pace = min(2*pace, time.Minute) // the network is away for a while
		default:
			return claviger.Secret{}, err
		}
	}
}

// hostName answers what this machine calls itself, as far as a server accepts it.
func hostName() string {
	name, err := os.Hostname()
	name = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) && !unicode.IsSpace(r) {
			return r
		}
		return -1
	}, name)
	if err != nil || name == "" || len(name) > 100 {
		return "a machine without a name"
	}
	return name
}
