package statement

import (
	"fmt"
	"strconv"
	"time"

	"github.com/stemma-lineage/stemma/prov"
)

// Time is a time in a statement: RFC 3339 with a zone (section 5.6). A time
// without a zone is refused, because it names no instant.
type Time struct{ time.Time }

// NewTime gives t in UTC.
func NewTime(t time.Time) Time { return Time{t.UTC()} }

// MarshalJSON writes RFC 3339 in UTC.
func (t Time) MarshalJSON() ([]byte, error) {
	return strconv.AppendQuote(nil, t.UTC().Format(time.RFC3339Nano)), nil
}

// UnmarshalJSON reads RFC 3339.
func (t *Time) UnmarshalJSON(b []byte) error {
	s, err := strconv.Unquote(string(b))
	if err != nil {
		return fmt.Errorf("%s is not a time; write RFC 3339 in quotes, for example \"2026-03-01T12:00:00Z\"", b)
	}
	return t.parse(s)
}

func (t *Time) parse(s string) error {
	v, err := prov.ParseTime(s)
	if err != nil {
		return err
	}
	if y := v.UTC().Year(); y < 1679 || y > 2261 {
		return fmt.Errorf("time %s lies outside the years 1679 to 2261", s)
	}
	t.Time = v.UTC()
	return nil
}

// String gives RFC 3339 in UTC.
func (t Time) String() string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// Instant gives the time as an instant, or or when it is not set.
func (t Time) Instant(or prov.Instant) prov.Instant {
	if t.IsZero() {
		return or
	}
	return prov.At(t.Time)
}
