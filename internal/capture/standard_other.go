//go:build !linux

package capture

// standard is a file that the command was given as its standard input or
// output. Only Linux tells its name.
type standard struct {
	path  string
	state identity
	adds  bool
}

func standardOf(any) *standard { return nil }

func (*standard) moved() bool { return false }

func (*standard) shared() bool { return false }

func (*standard) is(*standard) bool { return false }
