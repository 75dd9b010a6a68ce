// Package shim holds the two processes that stand beside a command whose calls
// are followed, and what they and the recorder share: the shim, which prepares
// itself by the recorder's steps and then becomes the command; and the keeper,
// which answers the kernel when the recorder is stopped or gone. Both are the
// program's own binary, called again with a first argument of this package.
//
// They run when this package is initialised, so that whatever imports it needs
// to do nothing for them. It imports next to nothing, so that this is early.
package shim

// The first arguments by which the program's own binary is called to stand in
// for one of the processes.
const (
	Arg       = "__stemma-trace-shim"
	KeeperArg = "__stemma-trace-keeper"
)

// ProtocolVersion is that of the protocol of nested runs: the process that will
// become the inner command connects to the outer run's socket, and so proves its
// pid by the socket's credentials. It sends one line of JSON, a Hello, and gets
// one back, a Welcome. Then the outer run sends the frames of all events of that
// process and its descendants until one of the two ends. The inner recorder
// reads them from the same connection, which its shim hands to it. A recorder
// that does not take its events from the outer run announces itself all the same.
const ProtocolVersion = 1

// Hello is what the inner run says.
type Hello struct {
	Version int    `json:"version"`
	ID      string `json:"id"`
	Probe   bool   `json:"probe,omitempty"`
	// Announce asks for no events: the recorder, which is the one who says it,
	// only tells that it is there, because it follows its command by itself.
	Announce bool `json:"announce,omitempty"`
}

// Welcome is what the outer run answers.
type Welcome struct {
	Backend string `json:"backend,omitempty"`
	Refused string `json:"refused,omitempty"`
}
