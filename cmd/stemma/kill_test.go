package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stemma-lineage/stemma/internal/importer/openlineage"
)

// TestImportKilled kills an import again and again, lets the last run end, and
// wants every statement in the log once and a log that is as it should be.
func TestImportKilled(t *testing.T) {
	events := 12_000 // each is durable evidence; more would only last longer
	if testing.Short() {
		events = 3_000
	}
	dir := t.TempDir()
	t.Setenv("STEMMA_CONFIG", filepath.Join(dir, "config"))
	t.Setenv("STEMMA_PRINCIPAL", "person:test@example.org")
	input := generated(events)
	want := 0
	for it, err := range openlineage.Read(bytes.NewReader(input), openlineage.Options{}) {
		if err != nil || it.Refusal != nil {
			t.Fatalf("the generated events are not as meant: %v %v", err, it.Refusal)
		}
		want += len(it.Statements)
	}
	if want < events {
		t.Fatalf("%d statements of %d events", want, events)
	}
	file := filepath.Join(dir, "events.ndjson")
	if err := os.WriteFile(file, input, 0o600); err != nil {
		t.Fatal(err)
	}
	stemma(t, "init", "--dir", dir)

	seed := time.Now().UnixNano()
	t.Logf("seed %d, %d statements", seed, want)
	rnd := rand.New(rand.NewSource(seed))
	killed := 0
	for i := range 6 {
		c := exec.Command("stemma", "import", "openlineage", "--dir", dir, file)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(30+rnd.Intn(1800)) * time.Millisecond)
		_ = c.Process.Kill()
		var exit *exec.ExitError
		if err := c.Wait(); errors.As(err, &exit) && exit.ExitCode() == -1 {
			killed++
		} else if err != nil {
			t.Fatalf("run %d ended before it was killed: %v", i, err)
		}
		t.Logf("after run %d: %s entries", i, size(t, dir))
	}
	if killed == 0 {
		t.Fatal("no run lasted long enough to be killed; give more events")
	}
	stemma(t, "import", "openlineage", "--strict", "--dir", dir, file)
	if got := size(t, dir); got != strconv.Itoa(want) {
		t.Errorf("the log holds %s entries, want %d: each statement once", got, want)
	}
	stemma(t, "log", "fsck", "--dir", dir)
}

func stemma(t *testing.T, args ...string) string {
	t.Helper()
	var out, errOut bytes.Buffer
	c := exec.Command("stemma", args...)
	c.Stdout, c.Stderr = &out, &errOut
	if err := c.Run(); err != nil {
		t.Fatalf("stemma %s: %v\n%s%s", strings.Join(args, " "), err, out.String(), errOut.String())
	}
	return out.String()
}

func size(t *testing.T, dir string) string {
	t.Helper()
	return strings.TrimSpace(stemma(t, "log", "size", "--dir", dir))
}

// generated gives run events as OpenLineage clients send them, one a line.
func generated(n int) []byte {
	var b bytes.Buffer
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for i := range n {
		fmt.Fprintf(&b, `{"eventType":"COMPLETE","eventTime":%q,"producer":"https://example.org/p","schemaURL":"https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",`+
			`"run":{"runId":"01908c54-9b2b-7c00-8000-%012x"},"job":{"namespace":"n","name":"job%d"},"inputs":[{"namespace":"db","name":"t%d"}],"outputs":[{"namespace":"db","name":"t%d"}]}`+"\n",
			at.Add(time.Duration(i)*time.Second).Format(time.RFC3339), i, i%50, i%97, 100+i%89)
	}
	return b.Bytes()
}
