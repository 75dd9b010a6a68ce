package keys

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/stemma-lineage/stemma/statement"
)

// ErrLocked says that an SSH key has a passphrase that is not known here.
var ErrLocked = errors.New("the SSH key is locked by a passphrase")

// SSHSigner signs with an SSH key. The key is named by
//
//	SHA256:…      the fingerprint of a key in the agent at $SSH_AUTH_SOCK
//	FILE.pub      a public key file; the agent holds the private key
//	FILE          a private key file; a locked one is looked for in the agent
//
// Keys on hardware tokens are used through the agent.
func SSHSigner(key string) (statement.Signer, error) { return SSHSignerAsk(key, nil) }

// SSHSignerAsk is SSHSigner with a way to ask the user for the passphrase of
// a locked file that the agent does not hold.
func SSHSignerAsk(key string, ask func(file string) ([]byte, error)) (statement.Signer, error) {
	s, err := sshSigner(key, ask)
	if err != nil {
		return nil, fmt.Errorf("loading SSH key %s: %w", key, err)
	}
	return statement.NewSSHSigner(s)
}

func sshSigner(key string, ask func(string) ([]byte, error)) (ssh.Signer, error) {
	if strings.HasPrefix(key, "SHA256:") {
		return fromAgent(key)
	}
	if strings.HasSuffix(key, ".pub") {
		text, err := os.ReadFile(key)
		if err != nil {
			return nil, err
		}
		pub, _, _, _, err := ssh.ParseAuthorizedKey(text)
		if err != nil {
			return nil, err
		}
		return fromAgent(ssh.FingerprintSHA256(pub))
	}
	text, err := readSecret(key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w; give a private key file, or the SHA256:… of a key in the agent (ssh-add -l lists them)", err)
	}
	if err != nil {
		return nil, err
	}
	s, err := ssh.ParsePrivateKey(text)
	var locked *ssh.PassphraseMissingError
	if !errors.As(err, &locked) {
		if err != nil {
			return nil, fmt.Errorf("%w; for a key on a hardware token run ssh-add and give its SHA256:… fingerprint", err)
		}
		return s, nil
	}
	return unlock(key, text, locked.PublicKey, ask)
}

// unlock finds a locked key in the agent, else asks for its passphrase.
func unlock(file string, text []byte, pub ssh.PublicKey, ask func(string) ([]byte, error)) (ssh.Signer, error) {
	if pub != nil {
		if s, err := fromAgent(ssh.FingerprintSHA256(pub)); err == nil {
			return s, nil
		}
	}
	if ask == nil {
		return nil, fmt.Errorf("%w; run: ssh-add %s", ErrLocked, quote(file))
	}
	pass, err := ask(file)
	if err != nil {
		return nil, err
	}
	s, err := ssh.ParsePrivateKeyWithPassphrase(text, pass)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLocked, err)
	}
	return s, nil
}

// agentSigner signs by asking the agent anew each time, so that nothing stays
// open between signatures and a key taken out of the agent stops signing.
type agentSigner struct {
	socket string
	public ssh.PublicKey
}

func fromAgent(fingerprint string) (ssh.Signer, error) {
	socket := os.Getenv("SSH_AUTH_SOCK")
	if socket == "" {
		return nil, errors.New("no agent: SSH_AUTH_SOCK is not set; start one with: eval $(ssh-agent) && ssh-add")
	}
	var found ssh.PublicKey
	err := withAgent(socket, func(a agent.ExtendedAgent) error {
		list, err := a.List()
		if err != nil {
			return fmt.Errorf("listing the agent's keys: %w", err)
		}
		for _, k := range list {
			if ssh.FingerprintSHA256(k) == fingerprint {
				found, err = ssh.ParsePublicKey(k.Blob)
				return err
			}
		}
		return fmt.Errorf("the agent does not hold %s among its %d keys; run ssh-add, and ssh-add -l to see them", fingerprint, len(list))
	})
	if err != nil {
		return nil, err
	}
	return &agentSigner{socket, found}, nil
}

func withAgent(socket string, do func(agent.ExtendedAgent) error) error {
	conn, err := net.DialTimeout("unix", socket, 5*time.Second)
	if err != nil {
		return fmt.Errorf("asking the SSH agent: %w", err)
	}
	defer conn.Close()
	return do(agent.NewClient(conn))
}

func (s *agentSigner) PublicKey() ssh.PublicKey { return s.public }

func (s *agentSigner) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return s.SignWithAlgorithm(rand, data, "")
}

// SignWithAlgorithm is what RSA needs: an agent signs by SHA-1 unless told
// otherwise (draft-miller-ssh-agent, section 3.6.1).
func (s *agentSigner) SignWithAlgorithm(_ io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	var flags agent.SignatureFlags
	switch algorithm {
	case ssh.KeyAlgoRSASHA256:
		flags = agent.SignatureFlagRsaSha256
	case ssh.KeyAlgoRSASHA512:
		flags = agent.SignatureFlagRsaSha512
	}
	var sig *ssh.Signature
	err := withAgent(s.socket, func(a agent.ExtendedAgent) (err error) {
		sig, err = a.SignWithFlags(s.public, data, flags)
		return err
	})
	return sig, err
}
