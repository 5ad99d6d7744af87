package main

import (
	"context"
	"crypto/rand"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"claviger/api"
	"claviger/client"
)

func (p *program) keyCommand() *cobra.Command {
	return group("key", "API keys, and the keys that encrypt", p.keyCreate(), p.keyList(),
		p.remove("revoke ID", "Make an API key stop working at once", p.completeKeys, (*client.Client).RevokeAPIKey),
		ask(p, "encryption", "Show how far the rotation of the encryption key is", cobra.NoArgs,
			func(ctx context.Context, c *client.Client, _ []string) (api.Encryption, error) {
				return c.Encryption(ctx)
			}, p.printEncryption),
		ask(p, "rotate-encryption", "Encrypt with a new key from now on, and re-encrypt what is stored", cobra.NoArgs,
			func(ctx context.Context, c *client.Client, _ []string) (api.Encryption, error) {
				return c.RotateEncryption(ctx)
			}, p.printEncryption))
}

func (p *program) keyCreate() *cobra.Command {
	var in api.CreateAPIKey
	var lifetime time.Duration
	c := ask(p, "create NAME", "Make an API key and print it, this once", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string) (api.NewAPIKey, error) {
		in.Name = args[0]
		if lifetime > 0 {
			at := time.Now().Add(lifetime).UTC()
			in.ExpiresAt = &at
		}
		return c.CreateAPIKey(ctx, in, client.IdempotencyKey(rand.Text()))
	}, func(key api.NewAPIKey) {
		p.fields([][2]string{
			{"id", key.ID},
			{"name", key.Name},
			{"key", key.Key},
			{"expires", when(key.ExpiresAt)},
			{"permissions", strings.Join(key.Scopes, " ")},
		})
		p.printf("Keep the key now: it is not shown again.\n")
	})
	c.PreRunE = func(*cobra.Command, []string) error {
		if lifetime < 0 {
			return usagef("--expires-in must be positive.")
		}
		return nil
	}
	f := c.Flags()
	f.StringVar(&in.WorkspaceID, "workspace", "", "bind it to one workspace")
	f.StringArrayVar(&in.Scopes, "scope", nil, "`permission` it has; default: all of yours")
	f.DurationVar(&lifetime, "expires-in", 0, "how long it lives, for example 720h; default: no end")
	f.StringArrayVar(&in.AllowedIPs, "allow-ip", nil, "`address` or network that it may be used from")
	return c
}

func (p *program) keyList() *cobra.Command {
	return listing[api.APIKey]{
		use: "list", short: "List API keys", args: cobra.NoArgs,
		items: func(ctx context.Context, c *client.Client, _ []string) iter.Seq2[api.APIKey, error] {
			return c.APIKeys(ctx)
		},
		none: "No API keys.", heading: []string{"id", "name", "ends in", "state", "workspace", "expires", "last used"},
		row: func(k api.APIKey) []string {
			state := "active"
			if k.RevokedAt != nil {
				state = "revoked"
			}
			return []string{k.ID, k.Name, "..." + k.Hint, state, k.WorkspaceID, when(k.ExpiresAt), when(k.LastUsedAt)}
		},
	}.command(p)
}

func (p *program) printEncryption(e api.Encryption) {
	p.fields([][2]string{
		{"current key", strconv.FormatUint(uint64(e.Generation), 10)},
		{"keys", strconv.Itoa(e.Keys)},
		{"ciphertexts", strconv.Itoa(e.Sealed)},
		{"under older keys", strconv.Itoa(e.Outdated)},
		{"rotated", when(e.RotatedAt)},
	})
}
