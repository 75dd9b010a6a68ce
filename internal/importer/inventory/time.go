package inventory

import (
	"strconv"
	"strings"
	"time"

	"github.com/stemma-lineage/stemma/statement"
)

// layouts are how sources write times: RFC 3339, the AWS command line, CSV
// reports, CloudTrail's answers, dates.
var layouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02 15:04:05.999999999Z07:00",
	"2006-01-02 15:04:05.999999999Z0700", "2006-01-02 15:04:05.999999999 -0700 MST", "Jan 2, 2006, 3:04:05 PM", "Jan 2, 2006 3:04:05 PM", "2006-01-02"}

// ParseTime reads a time as sources write it: in one of their layouts, those
// without a zone in UTC, or as seconds since 1970, with a fraction, as text.
// Empty text gives the zero Time.
func ParseTime(text string) (statement.Time, bool) {
	text = strings.TrimSpace(text)
	if text == "" {
		return statement.Time{}, true
	}
	text = strings.ReplaceAll(text, "\u202f", " ") // CloudTrail writes it before PM
	for _, l := range layouts {
		if t, err := time.Parse(l, text); err == nil {
			return inRange(t)
		}
	}
	whole, frac, _ := strings.Cut(text, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || len(whole) < 9 || len(whole) > 11 {
		return statement.Time{}, false
	}
	nano := 0
	if frac != "" {
		if len(frac) > 9 {
			frac = frac[:9]
		}
		n, err := strconv.ParseUint(frac+strings.Repeat("0", 9-len(frac)), 10, 31)
		if err != nil {
			return statement.Time{}, false
		}
		nano = int(n)
	}
	return inRange(time.Unix(sec, int64(nano)))
}

func inRange(t time.Time) (statement.Time, bool) {
	if t = t.UTC(); t.Year() < 1679 || t.Year() > 2261 {
		return statement.Time{}, false
	}
	return statement.NewTime(t), true
}
