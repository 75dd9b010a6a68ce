package graph

import (
	"bytes"
	"testing"
)

func TestContainsFold(t *testing.T) {
	for _, name := range []string{"", "a", "Model:Fraud@7", "dataset:S3://Lake/é\xff", "aab"} {
		for _, want := range []string{"", "a", "fraud@7", "LAKE", "é", "ab", "aabb", "\xff"} {
			if got, is := containsFold([]byte(name), asciiLower(want)), bytes.Contains(asciiLower(name), asciiLower(want)); got != is {
				t.Errorf("containsFold(%q, %q) = %v", name, want, got)
			}
		}
	}
}

func asciiLower(s string) []byte {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] += 'a' - 'A'
		}
	}
	return b
}
