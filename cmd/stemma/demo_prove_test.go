package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestDemoProofs has the two proofs of the demo verified by the second
// verifier.
func TestDemoProofs(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		if os.Getenv("STEMMA_TEST_REQUIRE") == "all" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir := t.TempDir()
	var out bytes.Buffer
	if code := run(context.Background(), []string{"demo", "--keep", dir}, nil, &out, &out); code != exitOK {
		t.Fatalf("the demo ended with exit code %d\n%s", code, out.String())
	}
	for name, verdict := range map[string]string{"not-after.zip": "PROVEN-NOT-AFTER", "used.zip": "USED"} {
		got, err := exec.Command(python, "-B", filepath.Join("..", "..", "tools", "verify.py"), filepath.Join(dir, name), filepath.Join(dir, ".stemma", "log.pub")).CombinedOutput()
		if err != nil || !strings.HasPrefix(string(got), verdict+"\n") {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
		if !strings.Contains(out.String(), "\n"+verdict+"\n") {
			t.Errorf("the demo does not say %s", verdict)
		}
	}
}
