package main

import (
	"context"
	"os"
	"slices"
	"strconv"
	"strings"

	"claviger/internal/app"
)

// settingsChecks look at names and values, wherever they come from, and at the process.
func settingsChecks() []check {
	return []check{
		{
			id: "settings.valid", what: "the settings can be read, and none is misspelt", security: true, look: lookSettings,
			fix: "Correct the setting: claviger serve --help lists all",
		},
		{
			id: "settings.conflict", what: "the file and the environment do not contradict each other", warning: true, look: lookConflict,
			fix: "Say each thing in one place; the environment wins over the file",
		},
		{
			id: "settings.secret_in_file", what: "no secret stands in the settings file", security: true, look: lookSecretInFile,
			fix: "Name a key file with master.key: file:PATH, and give the bootstrap secret by variable, once",
		},
		{
			id: "settings.secret_in_environment", what: "the master key does not stand in the environment", security: true, warning: true, look: lookSecretInEnvironment,
			fix: "Name a key file: CLAVIGER_MASTER_KEY=file:PATH. The environment is inherited and shown in dumps",
		},
		{
			id: "settings.bootstrap", what: "the bootstrap secret is gone after the first start, and was no short one", security: true, warning: true, look: lookBootstrap,
			fix: "Remove CLAVIGER_BOOTSTRAP_CLIENT_SECRET: only the first start reads it; use 32 random characters or more",
		},
		{
			id: "ledger.mode", what: "every use is durable in the ledger before it leaves", security: true, warning: true, look: lookLedgerMode,
			fix: "Set ledger.mode to strict; relaxed can lose the records of the last 50 ms",
		},
		{
			id: "log.level", what: "the log does not tell every step", security: true, warning: true, look: lookLogLevel,
			fix: "Set log.level to info",
		},
		{
			id: "debug.environment", what: "no variable weakens or exposes the process", security: true, look: lookDebug,
			fix: "Unset it where the server runs",
		},
		{
			id: "process.root", what: "the server's user is not root", security: true, look: lookRoot,
			fix: "Run it as a user of its own that owns the data folder",
		},
		{
			id: "process.capabilities", what: "the process has no rights beyond its user's", security: true, look: lookCapabilities,
			fix: "Drop all capabilities; for a port below 1024 keep CAP_NET_BIND_SERVICE only, or put a proxy in front",
		},
		{
			id: "process.build", what: "the program was built without instrumentation", security: true, look: lookBuild,
			fix: "Run a release build",
		},
	}
}

func lookSettings(_ context.Context, p *patient) ([]string, error) {
	if p.unset != nil {
		return []string{said(p.unset)}, nil
	}
	return nil, nil
}

// lookConflict compares the settings file with the environment, by name.
func lookConflict(_ context.Context, p *patient) (found []string, _ error) {
	if p.file == "" {
		return nil, errSkipped
	}
	for _, s := range app.AllSettings() {
		if p.variable(s.Variable) == "" || !app.InFile(p.file, s.Key) {
			continue
		}
		found = append(found, s.Key+" stands in "+p.file+" and in "+s.Variable)
	}
	return found, nil
}

func lookSecretInFile(_ context.Context, p *patient) (found []string, _ error) {
	if p.file == "" {
		return nil, errSkipped
	}
	if app.InFile(p.file, "master.key") && p.KeyPath == "" {
		found = append(found, p.file+" holds the master key")
	}
	if app.InFile(p.file, "bootstrap.client.secret") {
		found = append(found, p.file+" holds the bootstrap secret")
	}
	return found, nil
}

func lookSecretInEnvironment(_ context.Context, p *patient) ([]string, error) {
	if strings.HasPrefix(p.variable("CLAVIGER_MASTER_KEY"), "base64key:") {
		return []string{"CLAVIGER_MASTER_KEY holds the key itself"}, nil
	}
	return nil, nil
}

func lookBootstrap(_ context.Context, p *patient) (found []string, _ error) {
	secret := p.variable("CLAVIGER_BOOTSTRAP_CLIENT_SECRET")
	if secret != "" && p.Used {
		found = append(found, "CLAVIGER_BOOTSTRAP_CLIENT_SECRET is still set")
	}
	if secret != "" && len(secret) < 32 {
		found = append(found, "CLAVIGER_BOOTSTRAP_CLIENT_SECRET is shorter than 32 characters")
	}
	return found, nil
}

func lookLedgerMode(_ context.Context, p *patient) ([]string, error) {
	if p.LedgerMode == "relaxed" {
		return []string{"ledger.mode is relaxed"}, nil
	}
	return nil, nil
}

func lookLogLevel(_ context.Context, p *patient) ([]string, error) {
	if strings.EqualFold(p.LogLevel, "debug") {
		return []string{"log.level is debug"}, nil
	}
	return nil, nil
}

// lookDebug knows the switches of Go's run time that undo a guard or write secrets out.
func lookDebug(_ context.Context, p *patient) (found []string, _ error) {
	for _, name := range []string{"SSLKEYLOGFILE", "CLAVIGER_FAILPOINT"} {
		if p.variable(name) != "" {
			found = append(found, name+" is set")
		}
	}
	if strings.HasPrefix(p.variable("GOTRACEBACK"), "crash") {
		found = append(found, "GOTRACEBACK="+p.variable("GOTRACEBACK")+" leaves the memory, opened keys included, in a core dump")
	}
	for setting := range strings.SplitSeq(p.variable("GODEBUG"), ",") {
		name, value, _ := strings.Cut(setting, "=")
		risky := strings.HasPrefix(name, "tls") || strings.HasPrefix(name, "x509") || strings.HasPrefix(name, "http2debug") || strings.HasPrefix(name, "rsa1024min")
		if risky && value != "" {
			found = append(found, "GODEBUG has "+setting)
		}
	}
	return found, nil
}

func lookRoot(_ context.Context, p *patient) ([]string, error) {
	if p.euid < 0 {
		return nil, errSkipped
	}
	if p.euid == 0 {
		return []string{"this is root"}, nil
	}
	return nil, nil
}

// capNetBindService is the bit of the one capability that a server may want
// (capabilities(7)).
const capNetBindService = 1 << 10

func lookCapabilities(_ context.Context, p *patient) ([]string, error) {
	text, err := os.ReadFile(p.statuses + "/status")
	if err != nil || p.euid == 0 {
		return nil, errSkipped // another system, or root, who has them all
	}
	for line := range strings.Lines(string(text)) {
		bits, ok := strings.CutPrefix(line, "CapEff:")
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(bits), 16, 64)
		if err != nil {
			return nil, err
		}
		if n&^capNetBindService != 0 {
			return []string{"effective capabilities " + strings.TrimSpace(bits)}, nil
		}
	}
	return nil, nil
}

func lookBuild(_ context.Context, p *patient) (found []string, _ error) {
	for _, s := range p.build {
		if s.Key == "-race" && s.Value == "true" || s.Key == "-tags" && slices.Contains(strings.Split(s.Value, ","), "failpoints") {
			found = append(found, "built with "+s.Key+" "+s.Value)
		}
	}
	return found, nil
}
