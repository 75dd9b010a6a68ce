package otel

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stemma-lineage/stemma/internal/importer/importertest"
)

// spansReader writes a document of n spans as it is read.
func spansReader(before, after string, n int, span func(i int) string) io.Reader {
	r, w := io.Pipe()
	go func() {
		fmt.Fprint(w, before)
		for i := range n {
			if i > 0 {
				fmt.Fprint(w, ",")
			}
			if _, err := fmt.Fprint(w, span(i)); err != nil {
				return
			}
		}
		fmt.Fprint(w, after)
		w.Close()
	}()
	return r
}

// TestParts reads documents far beyond the limit: every span is recorded, and
// no part is large.
func TestParts(t *testing.T) {
	const n = 8_000
	pad := strings.Repeat("x", 300)
	otlp := func(i int) string {
		return fmt.Sprintf(`{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"%016x","name":"execute_tool t","startTimeUnixNano":"179","attributes":[{"key":"pad","value":{"stringValue":"%s"}}]}`, i+1, pad)
	}
	jaeger := func(i int) string {
		return fmt.Sprintf(`{"traceID":"1","spanID":"%x","operationName":"execute_tool t","startTime":5,"duration":1,"tags":[{"key":"pad","value":"%s"}],"processID":"p"}`, i+1, pad)
	}
	for name, r := range map[string]io.Reader{
		"otlp":   spansReader("\xef\xbb\xbf{\"resourceSpans\":[{\"resource\":{},\"scopeSpans\":[{\"spans\":[", "]}]}]}", n, otlp),
		"tempo":  spansReader(`{"trace":{"batches":[{"instrumentationLibrarySpans":[{"spans":[`, "]}]}]}}", n, otlp),
		"jaeger": spansReader(`{"data":[{"traceID":"1","spans":[`, `],"processes":{"p":{"serviceName":"s"}}}]}`, n, jaeger),
	} {
		seen, parts := map[string]bool{}, 0
		for it, err := range Read(r, Options{MaxDocument: 1 << 16}) {
			if err != nil {
				t.Fatal(err)
			}
			importertest.Check(t, it)
			if it.Refusal != nil {
				t.Fatalf("%s: %v", name, it.Refusal)
			}
			if parts++; len(it.Evidence) > partSize+1000 {
				t.Errorf("%s: a part of %d bytes", name, len(it.Evidence))
			}
			for _, d := range it.Statements {
				seen[d.Subjects[0].Name] = true
			}
		}
		if len(seen) != n+1 || parts < 3 {
			t.Errorf("%s: %d activities in %d parts, want %d", name, len(seen), parts, n+1)
		}
	}
}

// TestReadError tells of a source that fails, wherever it does.
func TestReadError(t *testing.T) {
	broken := errors.New("the disk is gone")
	for _, before := range []string{"", `{"resourceSpans":[`, `{"resourceSpans":[{"scopeSpans":[{"spans":[` + strings.Repeat(" ", 5000), "\x00\x00\x01\x00"} {
		got := error(nil)
		for _, err := range Read(io.MultiReader(strings.NewReader(before), iotest.ErrReader(broken)), Options{MaxDocument: 1000}) {
			got = err
		}
		if !errors.Is(got, broken) {
			t.Errorf("after %.30q: %v", before, got)
		}
	}
}
