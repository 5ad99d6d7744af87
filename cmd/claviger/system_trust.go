package main

import (
	"context"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"claviger"
	"claviger/api"
	"claviger/client"
	"claviger/internal/certify"
)

// trustLevels are the levels of a certificate, the lowest first.
func trustLevels() []string { return []string{"BRONZE", "SILVER", "GOLD", "PLATINUM"} }

func (p *program) verifyTrustCommand() *cobra.Command {
	var level, save, offline, trusted string
	c := command("verify-trust SYSTEM", "Prove what a system can do, and sign the level that it reached", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		want := slices.Index(trustLevels(), strings.ToUpper(level))
		if level != "" && want < 0 {
			return usagef("A level is bronze, silver, gold or platinum.")
		}
		if offline != "" {
			return p.verifyOffline(args[0], offline, trusted, want)
		}
		report, err := tried(ctx, p, "Proving what can be done by", args[0], (*client.Client).VerifyTrust)
		if err != nil {
			return err
		}
		if save != "" && report.Certificate != nil {
			text, err := indent(report.Certificate)
			if err != nil {
				return err
			}
			if err := replaceDocument(save, text); err != nil {
				return err
			}
		}
		if err := p.show(report, func() { p.printTrust(report) }); err != nil {
			return err
		}
		if report.Status != "passed" || slices.Index(trustLevels(), report.Level) < want {
			return failed(exitFailure)
		}
		return nil
	})
	c.Long = "Verify-trust takes a system up the ladder: bronze (its manifest is valid), silver (its slots have\n" +
		"their values and are healthy), gold (each was used with its own credential), platinum (every\n" +
		"operation, the webhooks and the background slots were proven). The server signs what was reached\n" +
		"over a hash of the manifest; any change ends the certificate. With --offline nothing is asked: the\n" +
		"files here are held against a certificate that was saved. A check that failed makes the exit code 1."
	f := c.Flags()
	f.StringVar(&level, "level", "", "the least `level` that will do: bronze, silver, gold or platinum")
	f.StringVar(&save, "save", "", "`file` to write the certificate to")
	f.StringVar(&offline, "offline", "", "`file` of a certificate to hold the files here against, without a server")
	f.StringVar(&trusted, "fingerprint", "", "with --offline: the fingerprint of the key that must have signed")
	p.completeFlag(c, "level", oneOf("bronze", "silver", "gold", "platinum"))
	c.ValidArgsFunction = completeFolders
	return c
}

func (p *program) printTrust(report api.TrustReport) {
	p.printChecks(report.Checks)
	if report.Certificate == nil {
		p.printf("%s reached no level.\n", escape(report.SystemKey))
		return
	}
	p.printf("%s reached %s.\n", escape(report.SystemKey), escape(report.Level))
	p.printCertificate(*report.Certificate)
}

func (p *program) printChecks(checks []api.TrustCheck) {
	table(p, "Nothing was looked at.", []string{"level", "check", "of", "result", "code", "note"}, checks, func(x api.TrustCheck) []string {
		return []string{strings.ToLower(x.Level), x.Name, x.Subject, x.Status, x.Code, x.Message}
	})
}

func (p *program) printCertificate(c api.Certificate) {
	p.fields([][2]string{
		{"manifest", c.ContractHash + " (version " + c.Version + ")"},
		{"signed by", c.Issuer + ", key " + c.PublicKeyFingerprint},
		{"signed at", when(&c.IssuedAt)},
	})
}

// offlineVerdict is what a certificate says of the files here.
type offlineVerdict struct {
	SystemKey   string `json:"systemKey"`
	Valid       bool   `json:"valid"`
	Level       string `json:"level"`
	Code        string `json:"code,omitempty"`
	Message     string `json:"message,omitempty"`
	Expected    string `json:"expectedHash"`
	Found       string `json:"foundHash"`
	Fingerprint string `json:"publicKeyFingerprint"`
}

// verifyOffline holds the files of a system against a certificate.
func (p *program) verifyOffline(key, file, trusted string, want int) error {
	b, err := p.loadSystem(key)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return usagef("%s", err)
	}
	c, err := certify.Read(text)
	if err == nil {
		err = c.Verify(b.Contract(), trusted)
	}
	if err == nil && c.SystemKey != key {
		err = claviger.Errorf(claviger.KindConflict, certify.CodeForeign, "The certificate is for the system %s.", c.SystemKey)
	}
	v := offlineVerdict{
		SystemKey: key, Valid: err == nil, Level: c.Level, Expected: c.ContractHash, Found: b.Contract().String(), Fingerprint: c.PublicKeyFingerprint,
	}
	if err != nil {
		e := claviger.AsError(err)
		v.Code, v.Message = e.FineCode(), e.Message
	}
	err = p.show(v, func() {
		if !v.Valid {
			p.printf("%s\n", escape(v.Message))
			return
		}
		p.printf("%s is what was signed: %s, %s.\n", escape(key), escape(v.Level), escape(v.Found))
		p.printf("The key is %s.\n", escape(v.Fingerprint))
		if trusted == "" {
			p.printf("Whose it is the file cannot prove: compare it with the server's, or give --fingerprint.\n")
		}
	})
	if err == nil && (!v.Valid || slices.Index(trustLevels(), v.Level) < want) {
		return failed(exitFailure)
	}
	return err
}

// systemCertificate shows the certificate that the server keeps, and whether it holds.
func (p *program) systemCertificate() *cobra.Command {
	c := try(p, "certificate SYSTEM", "Show a system's certificate, and whether it still holds", "", p.completeSystems,
		(*client.Client).Certificate, p.printCertificateState, func(state api.CertificateState) bool { return state.Valid })
	c.Long = "A certificate that no longer holds, because the manifest has changed, makes the exit code 1."
	return c
}

func (p *program) printCertificateState(state api.CertificateState) {
	if c := state.Certificate; c != nil {
		p.printf("%s: %s\n", escape(c.SystemKey), escape(c.Level))
		p.printCertificate(*c)
	}
	if !state.Valid {
		p.printf("It does not hold. %s\n", escape(state.Message))
	}
}
