package main

import (
	"context"
	"testing"

	"github.com/stemma-lineage/stemma/internal/query"
)

func TestInterruptEndsAQuestion(t *testing.T) {
	for _, c := range askCommands() {
		ctx, cancel := context.WithCancel(context.Background())
		c.SetContext(ctx)
		o, err := options(c)
		if err != nil {
			t.Fatal(err)
		}
		if o.Stop == nil || o.Stop() {
			t.Errorf("%s: stops before it is interrupted", c.Name())
		}
		if cancel(); o.Stop == nil || !o.Stop() {
			t.Errorf("%s: goes on when it is interrupted", c.Name())
		}
	}
	if got := exitCode(query.ErrStopped); got != exitFailure {
		t.Errorf("a stopped question ends with exit code %d, want %d", got, exitFailure)
	}
}
