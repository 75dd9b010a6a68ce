package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestSnapshot: the snapshot file only saves time. Gone, cut or changed, the
// answer is the same.
func TestSnapshot(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("STEMMA_CONFIG", filepath.Join(dir, "config"))
	t.Setenv("STEMMA_PRINCIPAL", "person:test@example.org")
	events := filepath.Join(dir, "events.ndjson")
	if err := os.WriteFile(events, generated(1200), 0o600); err != nil {
		t.Fatal(err)
	}
	stemma(t, "init", "--dir", dir)
	stemma(t, "import", "openlineage", "--dir", dir, events)
	path := filepath.Join(dir, ".stemma", "snapshot")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("no snapshot after an import of 1200 events: %v", err)
	}
	ask := func() string { return stemma(t, "blast", "dataset:db/t5", "--dir", dir, "-o", "json") }
	want := ask()
	changed := func(at int) []byte {
		b := append([]byte{}, good...)
		b[at] ^= 0x10
		return b
	}
	for name, content := range map[string][]byte{
		"absent": nil, "empty": {}, "cut": good[:len(good)/2], "longer": append(append([]byte{}, good...), "more"...),
		"root changed": changed(3), "head changed": changed(40), "middle changed": changed(len(good) / 2), "end changed": changed(len(good) - 1),
		"zeros": make([]byte, len(good)),
	} {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if content != nil {
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := ask(); got != want {
			t.Errorf("snapshot %s: another answer", name)
		}
	}
	// One that is damaged where only the fold looks is found out by the next
	// entry, and the log is folded anew.
	if err := os.WriteFile(path, changed(len(good)-1), 0o600); err != nil {
		t.Fatal(err)
	}
	stemma(t, "notice", "dataset:db/t5", "--kind", "withdrawn", "--dir", dir)
	got := ask()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if want := ask(); got != want {
		t.Error("an entry after the damage: another answer")
	}
}
