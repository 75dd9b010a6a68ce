package witnessing

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sys/unix"

	"github.com/stemma-lineage/stemma/internal/durable"
)

// Errors that callers tell apart.
var (
	ErrNotAWitness = errors.New("no witness here")
	ErrLostState   = errors.New("what the witness cosigned last is not known any more")
	ErrInUse       = errors.New("another process is this witness")
)

const (
	keyHeader = "stemma-witness-key/v1"
	noneYet   = "none\n"
)

// Dir is the directory of a witness:
//
//	key       the private key; never copied, never restored from a backup
//	key.pub   its verifier key (C2SP tlog-cosignature)
//	logs      verifier keys of the logs that it cosigns, one a line
//	state/    for each log the checkpoint it cosigned last, or "none"
//	forks/    evidence of logs that showed it two histories
//
// A key whose state was lost must not sign again: it could cosign a second
// history. So both are in one directory, and a missing state is refused.
type Dir struct {
	path   string
	signer *torchwood.CosignatureSigner
	write  func(path string, data []byte) error // durable.WriteFile, or a failing one in tests
}

// InitDir makes a witness in dir, which must hold none. The name should be an
// address without a scheme that the witness owns, such as witness.example/w1.
func InitDir(dir, name string) (*Dir, error) {
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making witness: %w", err)
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making witness: %w", err)
	}
	s, err := torchwood.NewCosignatureSigner(name, private)
	if err != nil {
		return nil, fmt.Errorf("making witness: name %q: %w; leave out white space and '+'", name, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "key"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("making witness: %s holds one already, and keys are never replaced; choose another folder", dir)
	} else if err != nil {
		return nil, fmt.Errorf("making witness: %w", err)
	}
	_, err = fmt.Fprintf(f, "%s\nname: %s\nseed: %s\n", keyHeader, name, base64.StdEncoding.EncodeToString(private.Seed()))
	if err := durable.Finish(f, filepath.Join(dir, "key"), err); err != nil {
		return nil, errors.Join(fmt.Errorf("making witness: %w", err), os.Remove(filepath.Join(dir, "key")))
	}
	if err := durable.MkdirAll(filepath.Join(dir, "state"), 0o700); err != nil {
		return nil, fmt.Errorf("making witness: %w", err)
	}
	for name, text := range map[string]string{"key.pub": s.Verifier().String() + "\n", "logs": "# verifier keys of the logs that are cosigned; stemma witness add writes a line\n"} {
		if err := durable.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, fmt.Errorf("making witness: %w", err)
		}
	}
	return OpenDir(dir)
}

// OpenDir opens the witness in dir.
func OpenDir(dir string) (*Dir, error) {
	path := filepath.Join(dir, "key")
	st, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s holds no key; stemma witness init makes one", ErrNotAWitness, dir)
	} else if err != nil {
		return nil, fmt.Errorf("opening witness: %w", err)
	}
	if m := st.Mode().Perm(); m&0o077 != 0 {
		return nil, fmt.Errorf("opening witness: others may read %s (mode %04o); run: chmod 600 %s", path, m, path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("opening witness: %w", err)
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) != 4 || lines[0] != keyHeader || lines[3] != "" {
		return nil, fmt.Errorf("opening witness: %s is not the three lines of a %s", path, keyHeader)
	}
	name, ok := strings.CutPrefix(lines[1], "name: ")
	text64, ok2 := strings.CutPrefix(lines[2], "seed: ")
	seed, err := base64.StdEncoding.Strict().DecodeString(text64)
	if !ok || !ok2 || err != nil || len(seed) != ed25519.SeedSize { // never say what stands there
		return nil, fmt.Errorf("opening witness: %s is damaged; make a new witness, since its state may be as well", path)
	}
	s, err := torchwood.NewCosignatureSigner(name, ed25519.NewKeyFromSeed(seed))
	if err != nil {
		return nil, fmt.Errorf("opening witness: name %q: %w", name, err)
	}
	return &Dir{path: dir, signer: s, write: func(path string, data []byte) error { return durable.WriteFile(path, data, 0o600) }}, nil
}

// Key gives the verifier key of the witness.
func (d *Dir) Key() string { return d.signer.Verifier().String() }

// Name gives the name in its cosignatures.
func (d *Dir) Name() string { return d.signer.Name() }

// Lock makes this process the only one that signs, until release is called or
// the process ends.
func (d *Dir) Lock() (release func(), err error) {
	f, err := os.OpenFile(filepath.Join(d.path, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking witness: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("%w: %s; stop it first", ErrInUse, d.path)
	}
	return func() { f.Close() }, nil
}

// AddLog lets the witness cosign a log, from nothing on.
func (d *Dir) AddLog(vkey string) (note.Verifier, error) {
	v, err := note.NewVerifier(vkey)
	if err != nil {
		return nil, fmt.Errorf("adding log: %q is no public key of a log: %w", vkey, err)
	}
	all, err := d.Logs()
	if err != nil {
		return nil, err
	}
	for _, old := range all {
		if old.Name() == v.Name() && old.KeyHash() == v.KeyHash() {
			return v, nil
		}
	}
	text, err := os.ReadFile(filepath.Join(d.path, "logs"))
	if err != nil {
		return nil, fmt.Errorf("adding log: %w", err)
	}
	// The state first: a line without a state is one that was lost.
	if _, err := os.Stat(d.state(v.Name())); errors.Is(err, os.ErrNotExist) {
		err = d.write(d.state(v.Name()), []byte(noneYet))
		if err != nil {
			return nil, fmt.Errorf("adding log: %w", err)
		}
	} else if err != nil {
		return nil, fmt.Errorf("adding log: %w", err)
	}
	if n := len(text); n > 0 && text[n-1] != '\n' {
		text = append(text, '\n')
	}
	if err := durable.WriteFile(filepath.Join(d.path, "logs"), append(text, vkey+"\n"...), 0o644); err != nil {
		return nil, fmt.Errorf("adding log: %w", err)
	}
	return v, nil
}

// Logs gives the keys of the logs that the witness cosigns.
func (d *Dir) Logs() ([]note.Verifier, error) {
	text, err := os.ReadFile(filepath.Join(d.path, "logs"))
	if err != nil {
		return nil, fmt.Errorf("reading the logs of the witness: %w", err)
	}
	var out []note.Verifier
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		v, err := note.NewVerifier(line)
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %q is no public key of a log: %w", filepath.Join(d.path, "logs"), i+1, line, err)
		}
		out = append(out, v)
	}
	return out, nil
}

// state gives the file that holds what was cosigned last of a log, named by
// the SHA-256 of its origin.
func (d *Dir) state(origin string) string {
	sum := sha256.Sum256([]byte(origin))
	return filepath.Join(d.path, "state", hex.EncodeToString(sum[:])+".txt")
}

// last reads the signed checkpoint that was cosigned last; nil: none yet.
func (d *Dir) last(origin string) ([]byte, error) {
	b, err := os.ReadFile(d.state(origin))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: the state of %s is missing from %s; this key must sign no more, make a new witness (or, if its line in logs was written by hand and the log is new: take the line away and run stemma witness add)", ErrLostState, origin, d.path)
	} else if err != nil {
		return nil, fmt.Errorf("reading the state of %s: %w", origin, err)
	}
	if string(b) == noneYet {
		return nil, nil
	}
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: the state of %s is an empty file; this key must sign no more, make a new witness", ErrLostState, origin)
	}
	return b, nil
}
