package access

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Facts are what is known when a condition is decided.
type Facts struct {
	// At is the moment; zero: not one moment.
	At time.Time
	// Keys are values by the name of the condition key, in lower case: "aws:principalarn".
	Keys map[string]string
}

// Condition decides a condition in the words of its source: a Condition
// element of AWS, or a condition of Google Cloud whose expression only bounds
// request.time. It gives Yes, No, or Unknown where a key is not known or the
// text is not understood.
func Condition(text string, f Facts) Outcome {
	if text == "" {
		return Yes
	}
	var doc map[string]json.RawMessage
	if json.Unmarshal([]byte(text), &doc) != nil {
		return Unknown
	}
	if e, ok := doc["expression"]; ok {
		var expr string
		if json.Unmarshal(e, &expr) != nil {
			return Unknown
		}
		return expression(expr, f)
	}
	out := Yes
	for op, raw := range doc {
		var keys map[string]any
		if json.Unmarshal(raw, &keys) != nil {
			return Unknown
		}
		for k, v := range keys {
			out = min(out, test(op, strings.ToLower(k), values(v), f))
		}
	}
	if len(doc) == 0 {
		return Unknown
	}
	return out
}

func values(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, x := range v {
			s, ok := x.(string)
			if !ok {
				return nil
			}
			out = append(out, s)
		}
		return out
	}
	return nil
}

// test decides one operator on one key (AWS IAM, condition operators).
func test(op, key string, want []string, f Facts) Outcome {
	if len(want) == 0 {
		return Unknown
	}
	if key == "aws:currenttime" && !f.At.IsZero() {
		return date(op, want, f.At)
	}
	got, ok := f.Keys[key]
	if !ok {
		return Unknown
	}
	var same func(pattern string) bool
	not := false
	switch op {
	case "StringEquals":
		same = func(p string) bool { return p == got }
	case "StringNotEquals":
		same, not = func(p string) bool { return p == got }, true
	case "StringEqualsIgnoreCase":
		same = func(p string) bool { return strings.EqualFold(p, got) }
	case "StringLike", "ArnLike", "ArnEquals":
		same = func(p string) bool { return Glob(p).Holds(got) }
	case "StringNotLike", "ArnNotLike", "ArnNotEquals":
		same, not = func(p string) bool { return Glob(p).Holds(got) }, true
	default:
		return Unknown
	}
	for _, p := range want {
		if strings.Contains(p, "${") {
			return Unknown // a policy variable
		}
	}
	return truth(slices.ContainsFunc(want, same) != not)
}

func date(op string, want []string, at time.Time) Outcome {
	if len(want) != 1 {
		return Unknown
	}
	t, err := time.Parse(time.RFC3339, want[0])
	if err != nil {
		if t, err = time.Parse(time.DateOnly, want[0]); err != nil {
			return Unknown
		}
	}
	switch op {
	case "DateLessThan":
		return truth(at.Before(t))
	case "DateLessThanEquals":
		return truth(!at.After(t))
	case "DateGreaterThan":
		return truth(at.After(t))
	case "DateGreaterThanEquals":
		return truth(!at.Before(t))
	}
	return Unknown
}

func truth(b bool) Outcome {
	if b {
		return Yes
	}
	return No
}

var timeBound = regexp.MustCompile(`^\(?\s*request\.time\s*(<=|>=|<|>)\s*timestamp\(\s*["']([^"']+)["']\s*\)\s*\)?$`)

// expression decides an expression of Google Cloud (IAM conditions, date and
// time) that bounds request.time by timestamps joined with "&&".
func expression(text string, f Facts) Outcome {
	if f.At.IsZero() {
		return Unknown
	}
	out := Yes
	for _, part := range strings.Split(text, "&&") {
		m := timeBound.FindStringSubmatch(strings.TrimSpace(part))
		if m == nil {
			out = min(out, Unknown)
			continue
		}
		t, err := time.Parse(time.RFC3339, m[2])
		if err != nil {
			out = min(out, Unknown)
			continue
		}
		switch m[1] {
		case "<":
			out = min(out, truth(f.At.Before(t)))
		case "<=":
			out = min(out, truth(!f.At.After(t)))
		case ">":
			out = min(out, truth(f.At.After(t)))
		case ">=":
			out = min(out, truth(!f.At.Before(t)))
		}
	}
	return out
}
