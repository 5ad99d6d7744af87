package vault

import (
	"testing"
	"time"
)

// The wall clock is set back and forth; what has expired stays so, and what has not is
// not asked for.
func TestAbuse_089_SteppedClocks(t *testing.T) {
	start := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		wall, passed, want time.Duration // since the start
	}{
		"in step":          {time.Hour, time.Hour, time.Hour},
		"a day back":       {-day, time.Hour, time.Hour},
		"ten minutes back": {50 * time.Minute, time.Hour, time.Hour},
		"a day ahead":      {day + time.Hour, time.Hour, day + time.Hour},
		"ahead and back":   {2 * time.Hour, 2 * time.Hour, 2 * time.Hour},
		"asleep":           {2 * time.Hour, time.Minute, 2 * time.Hour},
	} {
		if got := steady(start, start.Add(c.wall), c.passed); !got.Equal(start.Add(c.want)) {
			t.Errorf("%s: %s after the start, want %s", name, got.Sub(start), c.want)
		}
	}
	if k := (&keeping{base: time.Now()}); k.clock(k.base.Add(time.Hour)).Sub(k.base) != time.Hour {
		t.Error("an hour later is not an hour later")
	}
}
