// Package keys keeps signing keys in the user's configuration directory and
// makes signers of them. No key ever enters a log, a bundle or a message.
// The byte format of a key file is in docs/format-envelope.md.
package keys

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"sort"
	"strings"

	"github.com/stemma-lineage/stemma/internal/durable"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// DefaultName is the name of the key that is used when none is named.
const DefaultName = "default"

// ErrNotFound says that there is no key of that name.
var ErrNotFound = errors.New("no such key")

// ErrExposed says that others than the user may reach a key.
var ErrExposed = errors.New("the key is exposed")

const (
	header    = "stemma-key/v1"
	logPrefix = "log-"
	maxFile   = 64 << 10
)

// Dir gives the directory of keys: $STEMMA_CONFIG/keys, or stemma/keys in the
// user's configuration directory.
func Dir() (string, error) {
	if d := os.Getenv("STEMMA_CONFIG"); d != "" {
		return filepath.Join(d, "keys"), nil
	}
	d, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("looking for the configuration directory: %w; set STEMMA_CONFIG", err)
	}
	return filepath.Join(d, "stemma", "keys"), nil
}

// Key is a person's or service's signing key.
type Key struct {
	Name      string
	Principal prov.Ref
	Private   ed25519.PrivateKey
}

// Signer gives the key's signer.
func (k Key) Signer() (statement.Signer, error) { return statement.NewEd25519Signer(k.Private) }

// Trusted gives the key's public half for a trust list.
func (k Key) Trusted() (statement.TrustedKey, error) {
	pub, err := statement.Ed25519Key(k.Private.Public().(ed25519.PublicKey))
	return statement.TrustedKey{Principal: k.Principal.String(), Public: pub}, err
}

var nameGrammar = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$`)

func path(name string) (string, error) {
	if !nameGrammar.MatchString(name) {
		return "", fmt.Errorf("key name %q: use up to 100 letters, digits, '-', '_' and '.', beginning with a letter or digit", name)
	}
	dir, err := Dir()
	return filepath.Join(dir, name+".key"), err
}

// Generate makes a key; it never replaces one.
func Generate(name string, principal prov.Ref) (Key, error) {
	if strings.HasPrefix(name, logPrefix) {
		return Key{}, fmt.Errorf("making key: names that begin with %s are those of logs' keys; choose another", logPrefix)
	}
	if err := statement.CheckPrincipal(principal.String()); err != nil {
		return Key{}, fmt.Errorf("making key: %w", err)
	}
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Key{}, fmt.Errorf("making key: %w", err)
	}
	k := Key{name, principal, priv}
	if err := create(name, formatKey(k)); err != nil {
		return Key{}, err
	}
	return k, nil
}

func formatKey(k Key) string {
	return fmt.Sprintf("%s\nprincipal: %s\nseed: %s\n", header, k.Principal, base64.StdEncoding.EncodeToString(k.Private.Seed()))
}

// create writes a new key file. A file that could not be written whole is
// taken away again, so that what is there is a key.
func create(name, text string) error {
	p, err := path(name)
	if err != nil {
		return fmt.Errorf("making key: %w", err)
	}
	dir := filepath.Dir(p)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making key: %w", err)
	}
	if err := checkDir(dir); err != nil {
		return fmt.Errorf("making key: %w", err)
	}
	f, err := os.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("making key: %w: keys are never replaced; choose another name, or move the file away", err)
	}
	if err != nil {
		return fmt.Errorf("making key: %w", err)
	}
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = durable.SyncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("making key: %w", errors.Join(err, os.Remove(p)))
	}
	return nil
}

// checkDir refuses a directory in which others could read or put key files.
func checkDir(dir string) error {
	st, err := os.Stat(dir)
	if err != nil {
		return err
	}
	return checkMode(st, dir, "700")
}

func checkMode(st fs.FileInfo, p, want string) error {
	if runtime.GOOS == "windows" {
		return nil // the mode there says nothing about who may read
	}
	if m := st.Mode().Perm(); m&0o077 != 0 {
		return fmt.Errorf("%w: others may use %s (mode %04o); run: chmod %s %s", ErrExposed, p, m, want, quote(p))
	}
	return nil
}

// quote makes a path safe to paste into a shell.
func quote(p string) string {
	if strings.Trim(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-") == "" {
		return p
	}
	return "'" + strings.ReplaceAll(p, "'", `'\''`) + "'"
}

func read(name string) (string, error) {
	p, err := path(name)
	if err != nil {
		return "", fmt.Errorf("reading key: %w", err)
	}
	b, err := readSecret(p)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: %s (looked for %s)", ErrNotFound, name, p)
	}
	if err == nil {
		err = checkDir(filepath.Dir(p))
	}
	if err != nil {
		return "", fmt.Errorf("reading key %s: %w", name, err)
	}
	return string(b), nil
}

// readSecret reads a small file that nobody but the user may reach. The mode
// is that of the open file, not of what stands at the path a moment later.
func readSecret(p string) ([]byte, error) {
	f, err := os.Open(p)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", p)
	}
	if err := checkMode(st, p, "600"); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%s is larger than %d bytes, which no key is", p, maxFile)
	}
	return b, err
}

// Load reads a key.
func Load(name string) (Key, error) {
	text, err := read(name)
	if err != nil {
		return Key{}, err
	}
	k, err := parseKey(text)
	if err != nil {
		return Key{}, fmt.Errorf("reading key %s: %w", name, err)
	}
	k.Name = name
	return k, nil
}

// parseKey reads the text of a key file. Its errors never repeat the text:
// any line may hold the secret.
func parseKey(text string) (Key, error) {
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	if lines[0] != header {
		return Key{}, fmt.Errorf("the first line is not %s; it is no key, or of a newer version", header)
	}
	if len(lines) != 4 || lines[3] != "" {
		return Key{}, errors.New("it is not three whole lines; it was cut off or changed, restore it from a copy")
	}
	principal, ok := strings.CutPrefix(lines[1], "principal: ")
	if !ok || statement.CheckPrincipal(principal) != nil {
		return Key{}, errors.New("line 2 is not \"principal: \" and the Ref of an identity")
	}
	ref, err := prov.ParseRef(principal)
	if err != nil {
		return Key{}, errors.New("line 2 is not \"principal: \" and the Ref of an identity")
	}
	text, ok = strings.CutPrefix(lines[2], "seed: ")
	seed, err := base64.StdEncoding.Strict().DecodeString(text)
	if !ok || err != nil || len(seed) != ed25519.SeedSize {
		return Key{}, fmt.Errorf("line 3 is not \"seed: \" and %d bytes in base64", ed25519.SeedSize)
	}
	return Key{Principal: ref, Private: ed25519.NewKeyFromSeed(seed)}, nil
}

// Public gives the line that puts a key into a trust list.
func Public(name string) (string, error) {
	k, err := Load(name)
	if err != nil {
		return "", err
	}
	t, err := k.Trusted()
	if err != nil {
		return "", fmt.Errorf("reading key %s: %w", name, err)
	}
	return t.String(), nil
}

// List gives the names of the keys, sorted, logs' keys left out. Whether each
// can be loaded is for Load to say.
func List() ([]string, error) {
	dir, err := Dir()
	if err != nil {
		return nil, err
	}
	all, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing keys: %w", err)
	}
	var out []string
	for _, e := range all {
		name, ok := strings.CutSuffix(e.Name(), ".key")
		if ok && nameGrammar.MatchString(name) && !strings.HasPrefix(name, logPrefix) {
			out = append(out, name)
		}
	}
	sort.Strings(out)
	return out, nil
}
