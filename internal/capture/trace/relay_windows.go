package trace

import "os"

func relay(*os.Process) (stop func()) { return func() {} }
