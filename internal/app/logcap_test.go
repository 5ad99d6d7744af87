package app

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestAbuse_293_WhatIsSaidTooOftenIsCounted(t *testing.T) {
	var out bytes.Buffer
	caps := newLogCaps()
	handler := cappedLog{slog.NewTextHandler(&out, nil), caps}.WithAttrs([]slog.Attr{slog.String("a", "b")})
	began := time.Unix(1_800_000_000, 0)
	say := func(message string, after time.Duration) {
		t.Helper()
		r := slog.NewRecord(began.Add(after), slog.LevelWarn, message, 0)
		if err := handler.Handle(context.Background(), r); err != nil {
			t.Fatal(err)
		}
	}
	for range 1000 {
		say("flood", 0)
	}
	say("something else", 0)
	if n := strings.Count(out.String(), "msg=flood"); n != logBurst {
		t.Errorf("%d of a flood were written", n)
	}
	if !strings.Contains(out.String(), `msg="something else" a=b`) {
		t.Error("a flood pushed another message out")
	}
	say("flood", time.Second)
	if lines := strings.Split(strings.TrimSpace(out.String()), "\n"); !strings.Contains(lines[len(lines)-1], "msg=flood a=b dropped=900") {
		t.Errorf("what was left out is not told: %s", lines[len(lines)-1])
	}
	if caps.total() != 900 {
		t.Errorf("%v are counted", caps.total())
	}
	// Messages that are no texts of the source share one count.
	out.Reset()
	for n := range 3 * maxMessages {
		say(fmt.Sprint("made up ", n), 2*time.Second)
	}
	if n := strings.Count(out.String(), "made up"); n > maxMessages+logBurst || len(caps.messages) > maxMessages+1 {
		t.Errorf("%d messages were written, %d are remembered", n, len(caps.messages))
	}
}
