package oscal

import (
	"regexp"
	"testing"
)

func TestUUID(t *testing.T) {
	pattern := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	a, b := UUID("log", "1"), UUID("log", "2")
	if !pattern.MatchString(a) || a == b || a != UUID("log", "1") {
		t.Errorf("UUIDs %s and %s", a, b)
	}
	if UUID("ab", "c") == UUID("a", "bc") {
		t.Error("words run together")
	}
}

func TestLineAndToken(t *testing.T) {
	for in, want := range map[string]string{"": "-", " \n ": "-", " a\r\n b\t": "a b", "a\u2028b": "a b", "a\x00b": "a b"} {
		if got := Line(in); got != want {
			t.Errorf("Line(%q) is %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]bool{"ID.AM-02": true, "ai-rmf-gv-1.1_smt": true, "": false, "NHI1:2025": false, "GOVERN 1.1": false, "1a": false, "a\n": false} {
		if got := IsToken(in); got != want {
			t.Errorf("IsToken(%q) is %v", in, got)
		}
	}
}
