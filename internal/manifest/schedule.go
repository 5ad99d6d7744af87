package manifest

import (
	"errors"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"claviger"
)

// minInterval is the least time between two runs: a schedule is no loop.
const minInterval = time.Minute

// Schedule says when a sync runs.
type Schedule struct{ next cron.Schedule }

// ParseSchedule reads five cron fields, @hourly, @daily, @midnight, @weekly,
// @monthly, @yearly, @annually or "@every 15m", in the given IANA time zone, UTC if
// empty. A schedule that never comes, comes more than once a minute or names a zone
// in its own text is an *Error of KindInvalid, code invalid_schedule.
func ParseSchedule(text, zone string) (s Schedule, err error) {
	refuse := func(why string) (Schedule, error) {
		return Schedule{}, claviger.Invalid("schedule", CodeSchedule, "The schedule is not valid: %s.", why)
	}
	location := time.UTC
	if zone != "" {
		if location, err = time.LoadLocation(zone); err != nil || zone == "Local" {
			return refuse("there is no such time zone")
		}
	}
	if strings.Contains(text, "TZ") || len(text) > 100 { // the library's own zones end it with a panic if they are ill-formed
		return refuse("it has five fields or a word such as @hourly, and its zone stands in timeZone")
	}
	parser := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)
	parsed, err := parser.Parse(text)
	if err != nil {
		return refuse("write five fields such as 15 2 * * *, a word such as @hourly, or @every 15m")
	}
	if every, ok := parsed.(cron.ConstantDelaySchedule); ok && every.Delay < minInterval {
		return refuse("it comes more than once a minute")
	}
	if spec, ok := parsed.(*cron.SpecSchedule); ok {
		spec.Location = location
	}
	if s = (Schedule{parsed}); s.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return refuse("it never comes")
	}
	return s, nil
}

// Next answers the first time after t; the zero time for the zero Schedule.
func (s Schedule) Next(t time.Time) time.Time {
	if s.next == nil {
		return time.Time{}
	}
	return s.next.Next(t)
}

// reason answers the words of a refusal without its frame.
func reason(err error) string {
	var e *claviger.Error
	if !errors.As(err, &e) {
		return "it is not valid"
	}
	_, why, _ := strings.Cut(e.Message, ": ")
	return strings.TrimSuffix(why, ".")
}
