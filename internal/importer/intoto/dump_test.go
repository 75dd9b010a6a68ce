package intoto

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDump(t *testing.T) {
	root := fixtures(t)
	for _, f := range claimed(t, root) {
		d, _ := os.ReadFile(filepath.Join(root, f))
		var b strings.Builder
		b.WriteString("== " + f + "\n")
		for _, it := range readItems(t, d, Options{}) {
			summarise(&b, it)
		}
		s := b.String()
		lines := strings.Split(s, "\n")
		if len(lines) > 70 {
			lines = append(lines[:70], "…")
		}
		t.Log("\n" + strings.Join(lines, "\n"))
	}
}
