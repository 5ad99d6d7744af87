package main

import (
	"context"
	"crypto/rand"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"claviger/api"
	"claviger/client"
)

func (p *program) keyCommand() *cobra.Command {
	return group("key", "API keys, and the keys that encrypt", p.keyCreate(), p.keyList(), p.keyRevoke(),
		p.encryption("encryption", "Show how far the rotation of the encryption key is", func(c *client.Client, ctx context.Context) (api.Encryption, error) {
			return c.Encryption(ctx)
		}),
		p.encryption("rotate-encryption", "Encrypt with a new key from now on, and re-encrypt what is stored", func(c *client.Client, ctx context.Context) (api.Encryption, error) {
			return c.RotateEncryption(ctx)
		}))
}

func (p *program) keyCreate() *cobra.Command {
	var in api.CreateAPIKey
	var lifetime time.Duration
	c := command("create NAME", "Make an API key and print it, this once", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		in.Name = args[0]
		if lifetime < 0 {
			return usagef("--expires-in must be positive.")
		}
		if lifetime > 0 {
			at := time.Now().Add(lifetime).UTC()
			in.ExpiresAt = &at
		}
		c, err := p.connect()
		if err != nil {
			return err
		}
		key, err := c.CreateAPIKey(ctx, in, client.IdempotencyKey(rand.Text()))
		if err != nil {
			return err
		}
		return p.show(key, func() {
			p.fields([][2]string{
				{"id", key.ID},
				{"name", key.Name},
				{"key", key.Key},
				{"expires", when(key.ExpiresAt)},
				{"permissions", strings.Join(key.Scopes, " ")},
			})
			p.printf("Keep the key now: it is not shown again.\n")
		})
	})
	f := c.Flags()
	f.StringVar(&in.WorkspaceID, "workspace", "", "bind it to one workspace")
	f.StringArrayVar(&in.Scopes, "scope", nil, "`permission` it has; default: all of yours")
	f.DurationVar(&lifetime, "expires-in", 0, "how long it lives, for example 720h; default: no end")
	f.StringArrayVar(&in.AllowedIPs, "allow-ip", nil, "`address` or network that it may be used from")
	return c
}

func (p *program) keyList() *cobra.Command {
	return command("list", "List API keys", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		c, err := p.connect()
		if err != nil {
			return err
		}
		list, err := client.Collect(c.APIKeys(ctx), 0)
		if err != nil {
			return err
		}
		return p.show(list, func() {
			rows := make([][]string, len(list))
			for i, k := range list {
				state := "active"
				if k.RevokedAt != nil {
					state = "revoked"
				}
				rows[i] = []string{k.ID, k.Name, "..." + k.Hint, state, k.WorkspaceID, when(k.ExpiresAt), when(k.LastUsedAt)}
			}
			p.table("No API keys.", []string{"id", "name", "ends in", "state", "workspace", "expires", "last used"}, rows)
		})
	})
}

func (p *program) keyRevoke() *cobra.Command {
	return command("revoke ID", "Make an API key stop working at once", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		c, err := p.connect()
		if err != nil {
			return err
		}
		gone, err := c.RevokeAPIKey(ctx, args[0])
		return p.deleted(gone, err)
	})
}

func (p *program) encryption(use, short string, call func(*client.Client, context.Context) (api.Encryption, error)) *cobra.Command {
	return command(use, short, cobra.NoArgs, func(ctx context.Context, _ []string) error {
		c, err := p.connect()
		if err != nil {
			return err
		}
		e, err := call(c, ctx)
		if err != nil {
			return err
		}
		return p.show(e, func() {
			p.fields([][2]string{
				{"current key", strconv.FormatUint(uint64(e.Generation), 10)},
				{"keys", strconv.Itoa(e.Keys)},
				{"ciphertexts", strconv.Itoa(e.Sealed)},
				{"under older keys", strconv.Itoa(e.Outdated)},
				{"rotated", when(e.RotatedAt)},
			})
		})
	})
}
