package app

import (
	"context"
	"errors"
	"os"
	"strings"

	"claviger"
	"claviger/internal/keeper"
	"claviger/internal/store"
)

// Inspection is an instance seen from outside, without starting it: what its settings
// come to, and what is where they point.
type Inspection struct {
	Settings              // with the defaults in the place of what is empty
	Used           bool   // there is a database
	Applied, Known int64  // the schema of the database, and of this version
	DatabaseFault  error  // why it could not be looked at
	KeyPath        string // of the master key's file; empty if the key stands in the settings themselves
	KeyFault       error  // why the master key could not be opened
}

// Inspect looks at an instance and changes nothing.
func Inspect(ctx context.Context, s Settings) Inspection {
	c := Config{Settings: s}
	c.fill()
	i := Inspection{Settings: c.Settings}
	i.Applied, i.Known, i.DatabaseFault = store.Inspect(ctx, c.DatabaseURL)
	i.Used = i.Applied > 0
	if errors.Is(i.DatabaseFault, store.ErrNotFound) || missingFolder(i.DatabaseFault, c.DatabaseURL) {
		i.DatabaseFault = nil
	}
	c.MasterKey.Use(func(address []byte) {
		scheme, path, _ := strings.Cut(string(address), ":")
		if scheme == "file" {
			i.KeyPath = strings.TrimPrefix(path, "//")
		}
		_, err := os.Lstat(i.KeyPath)
		if scheme != "file" || i.Used || err == nil { // else the first start makes it
			_, _, i.KeyFault = keeper.Keeper{Random: randomSource}.Open(ctx, string(address), false)
		}
	})
	return i
}

// InFile reports whether a file of settings, as far as it can be read, has a value for a key.
func InFile(file, key string) bool {
	values := map[string]string{}
	_ = readFile(file, values) // a faulty file is another check's finding
	_, there := values[key]
	return there
}

// missingFolder reports whether a database file is not there because its folder is not:
// the first start makes both.
func missingFolder(err error, url string) bool {
	return strings.HasPrefix(url, "sqlite:") && claviger.IsKind(err, claviger.KindInvalid)
}
