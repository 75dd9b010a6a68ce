//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// maxResident is how much memory an import may take for any file, in bytes. A
// unit is read as a whole, so it is some times the largest document that an
// importer takes, and has nothing to do with the size of the file.
const maxResident = 1 << 30

// TestImportLarge imports files that are larger than that, or that are made to
// look small and be large, each in a process of its own, and looks at the most
// memory that it held.
func TestImportLarge(t *testing.T) {
	size := int64(200 << 20)
	if testing.Short() {
		size = 140 << 20 // still too large for a document
	}
	dir := t.TempDir()
	t.Setenv("STEMMA_CONFIG", filepath.Join(dir, "config"))
	t.Setenv("STEMMA_PRINCIPAL", "person:test@example.org")
	stemma(t, "init", "--dir", dir)
	pad := strings.Repeat("x", 256<<10)
	for _, c := range []struct {
		name, want string // want is "" or the reason of a refusal
		write      func(w *bufio.Writer, n *int64)
	}{
		{"events.ndjson", "", func(w *bufio.Writer, n *int64) {
			for i := 0; *n < size; i++ {
				k, _ := fmt.Fprintf(w, `{"eventType":"COMPLETE","eventTime":"2026-03-01T00:00:00Z","producer":"https://example.org/p","schemaURL":"https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",`+
					`"run":{"runId":"01908c54-9b2b-7c00-8000-%012x","facets":{"own":{"text":%q}}},"job":{"namespace":"n","name":"j"},"outputs":[{"namespace":"db","name":"t"}]}`+"\n", i, pad)
				*n += int64(k)
			}
		}},
		{"one.json", "too-large", func(w *bufio.Writer, n *int64) {
			k, _ := w.WriteString(`{"eventType":"COMPLETE","eventTime":"2026-03-01T00:00:00Z","producer":"https://example.org/p","schemaURL":"https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent","run":{"runId":"01908c54-9b2b-7c00-8000-000000000000"},"job":{"namespace":"n","name":"j"},"inputs":[`)
			for *n += int64(k); *n < size; *n += int64(k) {
				k, _ = w.WriteString(`{"namespace":"db","name":"t"},`)
			}
		}},
		{"bom.json", "too-large", func(w *bufio.Writer, n *int64) {
			k, _ := w.WriteString(`{"bomFormat":"CycloneDX","specVersion":"1.6","components":[`)
			for *n += int64(k); *n < size; *n += int64(k) {
				k, _ = w.WriteString(`{"type":"library","name":"x"},`)
			}
		}},
		{"many.json", "too-large", func(w *bufio.Writer, n *int64) { // no larger than a document may be
			w.WriteString(`{"bomFormat":"CycloneDX","specVersion":"1.6","components":[`)
			for i := 0; *n < min(size, 24<<20); i++ {
				k, _ := fmt.Fprintf(w, `{"type":"library","name":"x%d"},`, i)
				*n += int64(k)
			}
			w.WriteString(`{"type":"library","name":"last"}]}`)
		}},
		{"deep.json", "", func(w *bufio.Writer, n *int64) {
			w.WriteString(`{"resourceSpans":`)
			for ; *n < size; *n++ {
				w.WriteByte('[')
			}
		}},
		{"keys.json", "", func(w *bufio.Writer, n *int64) {
			w.WriteString(`{"_type":"https://in-toto.io/Statement/v1"`)
			for i := 0; *n < size; i++ {
				k, _ := fmt.Fprintf(w, `,"%d":0`, i)
				*n += int64(k)
			}
		}},
		{"commits.txt", "", func(w *bufio.Writer, n *int64) {
			w.WriteString("tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n\n")
			for ; *n < size; *n += int64(len(pad)) {
				w.WriteString(pad)
			}
		}},
		{"model.safetensors", "", func(w *bufio.Writer, n *int64) {
			w.WriteString("\x02\x00\x00\x00\x00\x00\x00\x00{}")
			for ; *n < size; *n += int64(len(pad)) {
				w.WriteString(pad)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), c.name)
			f, err := os.Create(file)
			if err != nil {
				t.Fatal(err)
			}
			w, n := bufio.NewWriterSize(f, 1<<20), int64(0)
			c.write(w, &n)
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
			f.Close()
			cmd := exec.Command("stemma", "import", "auto", "-o", "json", "--dir", dir, file)
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			most := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
			var a importJSON
			if err := json.Unmarshal(out, &a); err != nil || len(a.Files) != 1 {
				t.Fatalf("%v\n%s", err, out)
			}
			t.Logf("%s: %d MiB resident; %s", outcome(a.Files[0]), most>>20, a.Files[0].Format)
			if a.Files[0].Accepted == 0 && len(a.Files[0].Refused) == 0 {
				t.Errorf("neither accepted nor refused: %s", out)
			}
			if c.want != "" && (len(a.Files[0].Refused) != 1 || a.Files[0].Refused[0].Reason != c.want) {
				t.Errorf("want refused as %s: %s", c.want, out)
			}
			if most > maxResident {
				t.Errorf("%d MiB of memory were held, the limit is %d", most>>20, maxResident>>20)
			}
		})
	}
}
