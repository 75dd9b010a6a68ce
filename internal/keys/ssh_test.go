package keys

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/stemma-lineage/stemma/statement"
)

const payload = `{"_type":"https://in-toto.io/Statement/v1"}`

// tool skips the test on a machine without a program, unless all is required.
func tool(t *testing.T, name string) string {
	t.Helper()
	p, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("STEMMA_TEST_REQUIRE") == "all" {
			t.Fatalf("%s is required and not installed", name)
		}
		t.Skipf("%s is not installed; what it agrees with was not tested", name)
	}
	return p
}

func run(t *testing.T, stdin []byte, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// sshKey makes a key file with ssh-keygen.
func sshKey(t *testing.T, passphrase string, kind ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "id")
	run(t, nil, tool(t, "ssh-keygen"), append([]string{"-q", "-N", passphrase, "-C", "ann", "-f", file, "-t"}, kind...)...)
	return file
}

func trustFor(t *testing.T, s statement.Signer) *statement.Trust {
	t.Helper()
	trust, err := statement.NewTrust(statement.TrustedKey{Principal: ann.String(), Public: s.Public()})
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

func sign(t *testing.T, s statement.Signer) []byte {
	t.Helper()
	env, err := statement.Sign(context.Background(), []byte(payload), s)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// OpenSSH accepts our signatures and we accept OpenSSH's, over the same PAE.
func TestOpenSSHAgrees(t *testing.T) {
	keygen := tool(t, "ssh-keygen")
	for _, kind := range [][]string{{"ed25519"}, {"ecdsa", "-b", "256"}, {"rsa", "-b", "2048"}} {
		t.Run(kind[0], func(t *testing.T) {
			file := sshKey(t, "", kind...)
			s, err := SSHSigner(file)
			if err != nil {
				t.Fatal(err)
			}
			e, err := statement.ParseEnvelope(sign(t, s))
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			write := func(name string, text []byte) string {
				p := filepath.Join(dir, name)
				if err := os.WriteFile(p, text, 0o600); err != nil {
					t.Fatal(err)
				}
				return p
			}
			pae := write("pae", e.PAE())
			allowed := write("allowed", []byte("ann@acme.example "+s.Public().String()+"\n"))
			ours := write("ours.sig", e.Signatures[0].Sig)
			args := []string{"-Y", "verify", "-f", allowed, "-I", "ann@acme.example", "-n", statement.SSHNamespace, "-s", ours}
			run(t, e.PAE(), keygen, args...)
			if out, err := refuses(keygen, append(e.PAE(), '!'), args); err == nil {
				t.Errorf("ssh-keygen accepts another message: %s", out)
			}

			for _, c := range []struct {
				namespace string
				want      bool
			}{{statement.SSHNamespace, true}, {"file", false}} {
				os.Remove(pae + ".sig")
				run(t, nil, keygen, "-q", "-Y", "sign", "-n", c.namespace, "-f", file, pae)
				theirs, err := os.ReadFile(pae + ".sig")
				if err != nil {
					t.Fatal(err)
				}
				e.Signatures = []statement.Signature{{Sig: theirs}}
				if v := e.Verify(trustFor(t, s), time.Now()); v.Verified() != c.want {
					t.Errorf("namespace %s: %+v", c.namespace, v.Signatures)
				}
			}
		})
	}
}

func refuses(name string, stdin []byte, args []string) ([]byte, error) {
	cmd := exec.Command(name, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	return cmd.CombinedOutput()
}

// startAgent serves an SSH agent that holds the keys of the files.
func startAgent(t *testing.T, files ...string) agent.Agent {
	t.Helper()
	ring := agent.NewKeyring()
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		key, err := ssh.ParseRawPrivateKey(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := ring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := os.MkdirTemp("", "agent") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				agent.ServeAgent(ring, c) //nolint:errcheck // ends when the client hangs up
			}()
		}
	}()
	t.Setenv("SSH_AUTH_SOCK", filepath.Join(dir, "s"))
	return ring
}

func TestAgentSigns(t *testing.T) {
	for _, kind := range [][]string{{"ed25519"}, {"rsa", "-b", "2048"}} {
		t.Run(kind[0], func(t *testing.T) {
			file := sshKey(t, "", kind...)
			byFile, err := SSHSigner(file)
			if err != nil {
				t.Fatal(err)
			}
			ring := startAgent(t, file)
			var signer statement.Signer
			for _, name := range []string{byFile.Public().KeyID(), file + ".pub"} {
				if signer, err = SSHSigner(name); err != nil {
					t.Fatal(err)
				}
				v, err := statement.Verify(sign(t, signer), trustFor(t, byFile), time.Now())
				if err != nil || !v.Verified() {
					t.Errorf("%s: %+v, %v", name, v.Signatures, err)
				}
			}
			if err := ring.RemoveAll(); err != nil {
				t.Fatal(err)
			}
			if _, err := statement.Sign(context.Background(), []byte(payload), signer); err == nil {
				t.Error("signed with a key that the agent gave up")
			}
			if _, err := SSHSigner(byFile.Public().KeyID()); err == nil || !strings.Contains(err.Error(), "does not hold") {
				t.Errorf("a key that the agent does not hold: %v", err)
			}
		})
	}
}

func TestLockedSSHKey(t *testing.T) {
	file := sshKey(t, "open sesame", "ed25519")
	t.Setenv("SSH_AUTH_SOCK", "")
	if _, err := SSHSigner(file); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "run: ssh-add ") {
		t.Errorf("without a passphrase: %v", err)
	}
	answer := func(pass string) func(string) ([]byte, error) {
		return func(string) ([]byte, error) { return []byte(pass), nil }
	}
	open := sshKey(t, "", "ed25519")
	startAgent(t, open)
	if _, err := SSHSigner(file); !errors.Is(err, ErrLocked) {
		t.Errorf("with an agent that holds another key: %v", err)
	}
	if _, err := SSHSignerAsk(file, answer("wrong")); !errors.Is(err, ErrLocked) {
		t.Errorf("with the wrong passphrase: %v", err)
	}
	s, err := SSHSignerAsk(file, answer("open sesame"))
	if err != nil {
		t.Fatal(err)
	}
	run(t, nil, "ssh-keygen", "-q", "-p", "-P", "open sesame", "-N", "", "-f", file)
	plain, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	run(t, nil, "ssh-keygen", "-q", "-p", "-P", "", "-N", "open sesame", "-f", file)
	unlocked := filepath.Join(t.TempDir(), "unlocked")
	if err := os.WriteFile(unlocked, plain, 0o600); err != nil {
		t.Fatal(err)
	}
	startAgent(t, unlocked)
	byAgent, err := SSHSigner(file)
	if err != nil || !byAgent.Public().Same(s.Public()) {
		t.Errorf("locked, and held by the agent: %v", err)
	}
	v, err := statement.Verify(sign(t, s), trustFor(t, s), time.Now())
	if err != nil || !v.Verified() {
		t.Errorf("%+v, %v", v.Signatures, err)
	}
}

func TestSSHSignerRefuses(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	if _, err := SSHSigner("SHA256:abc"); err == nil || !strings.Contains(err.Error(), "SSH_AUTH_SOCK") {
		t.Errorf("no agent: %v", err)
	}
	if _, err := SSHSigner(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	file := filepath.Join(t.TempDir(), "id")
	if err := os.WriteFile(file, []byte("no key"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := SSHSigner(file); !errors.Is(err, ErrExposed) {
		t.Errorf("readable by others: %v", err)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := SSHSigner(file); err == nil {
		t.Error("a file without a key gave a signer")
	}
}
