package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/stemma-lineage/stemma/internal/app"
	"github.com/stemma-lineage/stemma/internal/story"
)

// demoRollback is the moment of the rollback in the story.
const demoRollback = "2026-03-15T12:00:00Z"

// demoProofs ends the demo with what a risk team signs: that the poisoned data
// was not used again after the rollback, and that the good data was.
func demoProofs(ctx context.Context, dir string, w *app.Workspace, out io.Writer) error {
	for _, x := range []struct {
		asks, ref, file string
		code            int
	}{
		{"was the poisoned dataset, or anything made with it, used after the rollback? Prove the no", story.Dataset2, "not-after.zip", exitOK},
		{"and the dataset of February? Prove the yes", story.Dataset1, "used.zip", exitDenied},
	} {
		fmt.Fprintf(out, "\n── The risk team: %s\n$ stemma prove unused %s --after %s -o %s\n", x.asks, x.ref, demoRollback, x.file)
		file := filepath.Join(dir, x.file)
		if code := run(ctx, []string{"prove", "unused", x.ref, "--after", demoRollback, "-o", file, "--dir", dir}, nil, io.Discard, out); code != x.code {
			return fmt.Errorf("proving ended with exit code %d, not %d", code, x.code)
		}
		fmt.Fprintf(out, "$ stemma verify %s --log-key '%s'\n", x.file, w.Log.Key())
		if code := run(ctx, []string{"verify", file, "--log-key", w.Log.Key()}, nil, out, out); code != exitOK {
			return fmt.Errorf("verifying the proof ended with exit code %d", code)
		}
	}
	_, err := fmt.Fprintf(out, "\nThe same by a second program, which shares no code with this one: python3 tools/verify.py used.zip '%s'\n", w.Log.Key())
	return err
}
