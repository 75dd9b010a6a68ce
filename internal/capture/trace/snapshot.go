package trace

import (
	"context"
)

type snapshot struct{}

func (*snapshot) Name() string                    { return "snapshot" }
func (*snapshot) Probe(ctx context.Context) error { return ctx.Err() }
func (*snapshot) Run(ctx context.Context, c Command, sink func(Event)) (Outcome, error) {
	return Outcome{}, nil
}
