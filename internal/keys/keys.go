// Package keys keeps signing keys in the user's configuration directory and
// makes signers of them. No key ever enters a log, a bundle or a message.
package keys

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/mod/sumdb/note"

	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// ErrNotFound says that there is no key of that name.
var ErrNotFound = errors.New("no such key")

const header = "stemma-key/v1"

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

func path(name string) (string, error) {
	if name == "" || strings.ContainsAny(name, "/\\") || name[0] == '.' {
		return "", fmt.Errorf("key name %q: use letters, digits, '-' and '_'", name)
	}
	dir, err := Dir()
	return filepath.Join(dir, name+".key"), err
}

// Generate makes a key; it never replaces one.
func Generate(name string, principal prov.Ref) (Key, error) {
	if principal.Class() != prov.ClassIdentity {
		return Key{}, fmt.Errorf("making key: %s is not an identity; write person:you@example.org", principal)
	}
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Key{}, fmt.Errorf("making key: %w", err)
	}
	text := fmt.Sprintf("%s\nprincipal: %s\nseed: %s\n", header, principal, base64.StdEncoding.EncodeToString(priv.Seed()))
	if err := create(name, text); err != nil {
		return Key{}, err
	}
	return Key{name, principal, priv}, nil
}

func create(name, text string) error {
	p, err := path(name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
		return fmt.Errorf("making key: %w", err)
	}
	f, err := os.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
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
	if err != nil {
		return fmt.Errorf("making key: %w", err)
	}
	return nil
}

func read(name string) (string, error) {
	p, err := path(name)
	if err != nil {
		return "", err
	}
	st, err := os.Stat(p)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: %s (looked for %s)", ErrNotFound, name, p)
	} else if err != nil {
		return "", fmt.Errorf("reading key: %w", err)
	}
	if m := st.Mode().Perm(); m&0o077 != 0 {
		return "", fmt.Errorf("reading key: %s may be read by others (mode %04o); run: chmod 600 %s", p, m, p)
	}
	b, err := os.ReadFile(p)
	if err != nil {
		return "", fmt.Errorf("reading key: %w", err)
	}
	return string(b), nil
}

// Load reads a key.
func Load(name string) (Key, error) {
	text, err := read(name)
	if err != nil {
		return Key{}, err
	}
	lines := strings.Split(text, "\n")
	if len(lines) < 3 || lines[0] != header {
		return Key{}, fmt.Errorf("reading key %s: it does not begin with %s", name, header)
	}
	principal, err := prov.ParseRef(strings.TrimPrefix(lines[1], "principal: "))
	if err != nil {
		return Key{}, fmt.Errorf("reading key %s: principal: %w", name, err)
	}
	seed, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[2], "seed: "))
	if err != nil || len(seed) != ed25519.SeedSize {
		return Key{}, fmt.Errorf("reading key %s: the seed is not %d bytes in base64", name, ed25519.SeedSize)
	}
	return Key{name, principal, ed25519.NewKeyFromSeed(seed)}, nil
}

// List gives the names of the keys, logs' keys left out.
func List() ([]string, error) {
	dir, err := Dir()
	if err != nil {
		return nil, err
	}
	all, err := filepath.Glob(filepath.Join(dir, "*.key"))
	if err != nil {
		return nil, err
	}
	var out []string
	for _, p := range all {
		if n := strings.TrimSuffix(filepath.Base(p), ".key"); !strings.HasPrefix(n, "log-") {
			out = append(out, n)
		}
	}
	sort.Strings(out)
	return out, nil
}

// logName gives the name under which a log's key is kept: by the hash in its
// public key, so that logs of one origin do not meet.
func logName(vkey string) string {
	parts := strings.SplitN(vkey, "+", 3)
	return "log-" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, parts[0]+"-"+parts[1])
}

// GenerateLogKey makes the signing key of a log and gives its signer, and its
// public key as a C2SP note verifier key.
func GenerateLogKey(origin string) (note.Signer, string, error) {
	skey, vkey, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return nil, "", fmt.Errorf("making log key: %w", err)
	}
	if err := create(logName(vkey), skey+"\n"); err != nil {
		return nil, "", err
	}
	s, err := note.NewSigner(skey)
	return s, vkey, err
}

// LoadLogKey reads the signing key that belongs to a log's public key.
func LoadLogKey(vkey string) (note.Signer, error) {
	text, err := read(logName(vkey))
	if err != nil {
		return nil, err
	}
	s, err := note.NewSigner(strings.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("reading log key: %w", err)
	}
	return s, nil
}

// DefaultPrincipal gives who the user is: STEMMA_PRINCIPAL, else the address
// that git knows, else the login name.
func DefaultPrincipal() (prov.Ref, error) {
	if p := os.Getenv("STEMMA_PRINCIPAL"); p != "" {
		return prov.ParseRef(p)
	}
	if out, err := exec.Command("git", "config", "user.email").Output(); err == nil && len(bytes.TrimSpace(out)) > 0 {
		return prov.Ref{Kind: prov.Person, Name: string(bytes.TrimSpace(out))}, nil
	}
	user := os.Getenv("USER")
	if user == "" {
		user = "user"
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return prov.Ref{Kind: prov.Person, Name: user + "@" + host}, nil
}

// SSHSigner signs with an OpenSSH private key file that has no passphrase.
func SSHSigner(file string) (statement.Signer, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading SSH key: %w", err)
	}
	s, err := ssh.ParsePrivateKey(b)
	if err != nil {
		return nil, fmt.Errorf("reading SSH key %s: %w", file, err)
	}
	return statement.NewSSHSigner(s)
}
