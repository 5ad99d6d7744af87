package events

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"claviger"
)

// A signing secret as its owner sees it: whsec_ and the base64 of 32 random bytes.
const (
	secretPrefix = "whsec_"
	secretBytes  = 32
)

// NewSecret makes a signing secret.
func NewSecret(random io.Reader) (claviger.Secret, error) {
	key := make([]byte, secretBytes)
	if _, err := io.ReadFull(random, key); err != nil {
		return claviger.Secret{}, err
	}
	return claviger.NewSecretString(secretPrefix + base64.StdEncoding.EncodeToString(key)), nil
}

var errBadSecret = errors.New("events: not a signing secret")

// sign answers the header webhook-signature: "v1," and the base64 of the HMAC-SHA256
// over "id.seconds.body", one for each secret, with a space between them (Standard
// Webhooks, "Signature scheme").
func sign(id claviger.EventID, at time.Time, body []byte, secrets []claviger.Secret) (string, error) {
	signed := make([]byte, 0, len(id)+len(body)+16)
	signed = append(append(signed, id...), '.')
	signed = append(strconv.AppendInt(signed, at.Unix(), 10), '.')
	signed = append(signed, body...)
	out := make([]string, 0, len(secrets))
	for _, s := range secrets {
		var err error
		s.Use(func(text []byte) {
			encoded, ok := strings.CutPrefix(string(text), secretPrefix)
			key, bad := base64.StdEncoding.DecodeString(encoded)
			if !ok || bad != nil || len(key) == 0 {
				err = errBadSecret
				return
			}
			h := hmac.New(sha256.New, key)
			h.Write(signed)
			out = append(out, "v1,"+base64.StdEncoding.EncodeToString(h.Sum(nil)))
		})
		if err != nil {
			return "", err
		}
	}
	return strings.Join(out, " "), nil
}
