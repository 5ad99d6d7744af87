package mcp

import (
	"context"
	"embed"
	"fmt"
	"strings"

	"claviger"
)

//go:embed guide/*.md
var guide embed.FS

// instructions are what a client's model is told of the server.
const instructions = "Builds connected systems. Work in this order: help, read_section, ask the person, patch_section with your intent, repair, validate, upload. " +
	"Secrets never pass through you: a manifest names them by kv:// references, and a person gives the values on the page that answers name in assignSecretsAt."

// topics are the help topics by the file that holds their text.
var topics = map[string]string{
	"connectedSystemUi": "ui", "section": "section", "workflow": "workflow", "authentication": "authentication", "authentication catalog": "catalog",
}

func (x *session) help(ctx context.Context, c claviger.Caller, in helpIn) (out helpOut, err error) {
	file, ok := topics[in.Topic]
	if !ok {
		return out, claviger.Invalid("topic", "unknown_topic", "The topics are connectedSystemUi, section, workflow, authentication and authentication catalog.")
	}
	text, err := guide.ReadFile("guide/" + file + ".md")
	if err != nil {
		return out, err
	}
	out = helpOut{Topic: in.Topic, Text: string(text)}
	if file == "catalog" {
		out.Text += x.catalogue()
	}
	if file != "ui" {
		return out, nil
	}
	out.AssignSecretsAt = x.core.SystemPage("{systemKey}")
	if in.SystemKey == "" {
		return out, nil
	}
	slots, err := x.core.SystemSlots(ctx, c, in.SystemKey)
	if err != nil {
		return out, err
	}
	out.AssignSecretsAt, out.Slots = x.core.SystemPage(in.SystemKey), slotNeeds(slots)
	return out, nil
}

// catalogue is the table of methods.
func (x *session) catalogue() string {
	var b strings.Builder
	b.WriteString("\n| method | required variables | other variables | secrets | on calls | checks what comes in |\n|---|---|---|---|---|---|\n")
	for _, m := range x.core.SystemMethods() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", m.Method, strings.Join(m.Variables, ", "), strings.Join(m.Optional, ", "), strings.Join(m.Secrets, ", "), yes(m.OnCalls), yes(m.Inbound))
	}
	return b.String()
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
