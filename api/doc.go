// Package api holds the shapes that travel over /v1, the native surface: one Go
// struct for each JSON object that is sent or answered, shared by the server
// (internal/surface/native) and by the public client (package client).
//
// Names are in camelCase, times are RFC 3339 in UTC, and what is absent is null in
// an answer and may be left out of a request. Every answer names its own kind in
// "object". The struct tags doc, example, enum, minLength, maxLength, maxItems and
// maxProperties are read when the OpenAPI document is made and when a request is
// checked; encoding/json ignores them.
//
// The package holds no logic, and no type of it can carry a claviger.Secret, whose
// encoding is an error: a stored credential value has no way into an answer. The
// few shapes that show a fresh secret once are marked by a Redacted method, which
// answers the shape without it, for everything that keeps an answer.
package api

// RedactedMark stands for a value that exists and is never shown. It is refused as
// an input, so that an answer sent back unchanged cannot overwrite a credential.
const RedactedMark = "***REDACTED***"
