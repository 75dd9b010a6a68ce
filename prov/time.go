package prov

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Instant is a point of valid time in nanoseconds since the Unix epoch, UTC.
// It reaches from 1678 to 2262.
type Instant int64

// The ends of time: a period that begins at Beginning or ends at Forever is
// open on that side.
const (
	Beginning Instant = math.MinInt64
	Forever   Instant = math.MaxInt64
)

// At gives the instant of t, clamped to the range of Instant.
func At(t time.Time) Instant {
	if t.IsZero() {
		return Beginning
	}
	if y := t.Year(); y < 1679 {
		return Beginning + 1
	} else if y > 2261 {
		return Forever - 1
	}
	return Instant(t.UnixNano())
}

// Time gives the instant as a time in UTC.
func (i Instant) Time() time.Time { return time.Unix(0, int64(i)).UTC() }

// String gives RFC 3339 in UTC with as many digits as are needed, and "" for
// either end of time.
func (i Instant) String() string {
	if i == Beginning || i == Forever {
		return ""
	}
	return i.Time().Format(time.RFC3339Nano)
}

// ParseTime reads a time as a person or a statement writes it: RFC 3339 with
// a zone, or a date, which means its first moment in UTC.
func ParseTime(s string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t, nil
	}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04"} {
		if len(s) >= len(layout) {
			if _, err := time.Parse(layout, s[:len(layout)]); err == nil && !strings.ContainsAny(s[len(layout):], "Z+-") {
				return time.Time{}, fmt.Errorf("time %q has no zone; write %sZ for UTC, or an offset such as +02:00", s, strings.Replace(s, " ", "T", 1))
			}
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time; write RFC 3339, for example 2026-03-01T12:00:00Z, or a date", s)
}

// Period is a half-open interval of valid time: From is in it, To is not.
type Period struct{ From, To Instant }

// Always is the period without ends.
var Always = Period{Beginning, Forever}

// Holds tells whether the instant lies in the period.
func (p Period) Holds(i Instant) bool { return p.From <= i && i < p.To }

// AllKnown as AsOf.Known means everything in the log.
const AllKnown uint64 = math.MaxUint64

// AsOf is the pair of clocks of a question: what was true at Valid, as far as
// the first Known entries of the log tell.
type AsOf struct {
	Valid Instant // Forever: no limit, the whole history
	Known uint64  // a log size; AllKnown: the whole log
}

// Now is the whole history as all entries tell it.
var Now = AsOf{Valid: Forever, Known: AllKnown}
