// Package mcp is the builder at /mcp/builder: connected systems read, patched, mended,
// checked and uploaded by an assistant that speaks the Model Context Protocol over
// Streamable HTTP (https://modelcontextprotocol.io/specification/2025-11-25), with the
// protocol's official SDK.
//
// What is edited is a draft, which lives in the session and in memory alone: bounded in
// number and size, gone when the session ends. The stored system changes by the tool
// upload and nothing else. Each tool is one operation of the core, run with the rights
// of whoever sent this very request; the tool call itself is an entry of the ledger.
//
// Trust boundary: an assistant may have been talked into anything by what it read. So
// no tool takes or returns the value of a secret: it answers with the page where a
// person gives it; a section is patched by whoever has read it; what moves a credential
// is listed first. A request is one strict JSON-RPC message (package wire reads it
// before the SDK does), from no other site's page, and a session answers to the caller
// that began it. The SDK sees no token, and what it finds wrong with arguments, which
// may quote them, is not passed on.
package mcp
