package trace

import "os"

type relay struct{}

func catch() *relay { return &relay{} }

func (*relay) passTo(*os.Process) {}

func (*relay) stop() {}
