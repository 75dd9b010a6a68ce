package statement

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// SSHNamespace is the namespace of every SSHSIG over a statement (OpenSSH
// PROTOCOL.sshsig, section 2), so that a signature made for git, for a file or
// for another program never counts as one of ours, nor ours as one of theirs.
// The message that is signed is the PAE of the envelope. What is written here
// can be made and checked with OpenSSH alone:
//
//	ssh-keygen -Y sign -n stemma-statement@v1 -f KEY pae.bin
const SSHNamespace = "stemma-statement@v1"

// RSA keys outside these sizes, in bits, are refused.
const (
	MinRSA = 2048
	MaxRSA = 8192
)

// sshKeyTypes are the key types that may sign. Certificates are not keys:
// nothing in a trust list says which authority may issue them.
var sshKeyTypes = map[string]bool{
	ssh.KeyAlgoED25519:    true,
	ssh.KeyAlgoECDSA256:   true,
	ssh.KeyAlgoECDSA384:   true,
	ssh.KeyAlgoECDSA521:   true,
	ssh.KeyAlgoSKED25519:  true,
	ssh.KeyAlgoSKECDSA256: true,
	ssh.KeyAlgoRSA:        true,
}

type sshPublicKey struct{ key ssh.PublicKey }

func (k sshPublicKey) String() string {
	return k.key.Type() + " " + base64.StdEncoding.EncodeToString(k.key.Marshal())
}

func (k sshPublicKey) crypto() crypto.PublicKey {
	if c, ok := k.key.(ssh.CryptoPublicKey); ok {
		return c.CryptoPublicKey()
	}
	return nil
}

// SSHKey makes a PublicKey of an SSH public key: ssh-ed25519,
// ecdsa-sha2-nistp256, 384 or 521, their FIDO forms sk-…@openssh.com (a
// signature must show that the key was touched), or ssh-rsa of 2048 to 8192
// bits.
func SSHKey(key ssh.PublicKey) (PublicKey, error) {
	if key == nil || !sshKeyTypes[key.Type()] {
		typ := "none"
		if key != nil {
			typ = key.Type()
		}
		return PublicKey{}, fmt.Errorf("SSH key type %q cannot sign statements; use ssh-ed25519, ecdsa-sha2-nistp256, sk-ssh-ed25519@openssh.com or ssh-rsa", typ)
	}
	wire := key.Marshal()
	material := "ssh:" + string(wire)
	switch c := (sshPublicKey{key}).crypto().(type) {
	case *rsa.PublicKey:
		if n := c.N.BitLen(); n < MinRSA || n > MaxRSA {
			return PublicKey{}, fmt.Errorf("the RSA key has %d bits, must be %d to %d", n, MinRSA, MaxRSA)
		}
	case ed25519.PublicKey:
		if err := checkEd25519(c); err != nil {
			return PublicKey{}, err
		}
		if key.Type() == ssh.KeyAlgoED25519 {
			material = "ed25519:" + string(c)
		}
	}
	return PublicKey{kind: KeySSH, ssh: sshPublicKey{key}, id: ssh.FingerprintSHA256(key), material: material}, nil
}

// isSSHSIG tells an armored SSH signature from a raw one.
func isSSHSIG(sig []byte) bool { return bytes.HasPrefix(sig, []byte("-----BEGIN ")) }

// sshSignature is a parsed SSHSIG and the key that it says it is by.
type sshSignature struct {
	sig *sshsig.Signature
	key PublicKey
}

// parseSSHSIG reads an armored signature and nothing beside it.
func parseSSHSIG(armored []byte) (sshSignature, error) {
	if !isSSHSIG(armored) {
		return sshSignature{}, errors.New("not an armored SSH signature")
	}
	block, rest := pem.Decode(armored)
	if block == nil || block.Type != sshsig.PEMType || len(block.Headers) > 0 || len(bytes.TrimSpace(rest)) > 0 {
		return sshSignature{}, errors.New("the SSH signature is not one armored block")
	}
	sig, err := sshsig.ParseSignature(block.Bytes)
	if err != nil {
		return sshSignature{}, fmt.Errorf("reading SSH signature: %w", err)
	}
	key, err := SSHKey(sig.PublicKey)
	if err != nil {
		return sshSignature{}, fmt.Errorf("reading SSH signature: %w", err)
	}
	// Only FIDO keys sign more than a blob (flags and counter).
	switch sig.PublicKey.Type() {
	case ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256:
	default:
		if len(sig.Signature.Rest) > 0 {
			return sshSignature{}, errors.New("reading SSH signature: bytes after the signature")
		}
	}
	return sshSignature{sig, key}, nil
}

func (s sshSignature) verify(pae []byte, key sshPublicKey) error {
	err := sshsig.Verify(bytes.NewReader(pae), s.sig, key.key, s.sig.HashAlgorithm, SSHNamespace)
	if errors.Is(err, sshsig.ErrNamespaceMismatch) {
		return fmt.Errorf("the SSH signature is for namespace %q, a statement's is %q", s.sig.Namespace, SSHNamespace)
	}
	if err != nil {
		return fmt.Errorf("the SSH signature does not verify: %w", err)
	}
	return nil
}

type sshSigner struct {
	signer ssh.Signer
	public PublicKey
}

// NewSSHSigner signs with an SSH key: a private key, or one that an agent or a
// hardware token holds.
func NewSSHSigner(signer ssh.Signer) (Signer, error) {
	public, err := SSHKey(signer.PublicKey())
	if err != nil {
		return nil, fmt.Errorf("making signer: %w", err)
	}
	return &sshSigner{signer, public}, nil
}

func (s *sshSigner) KeyID() (string, error) { return s.public.id, nil }
func (s *sshSigner) Public() PublicKey      { return s.public }

// Sign returns the armored SSHSIG, SHA-512, over the PAE.
func (s *sshSigner) Sign(_ context.Context, pae []byte) ([]byte, error) {
	sig, err := sshsig.Sign(bytes.NewReader(pae), s.signer, sshsig.HashSHA512, SSHNamespace)
	if err != nil {
		return nil, fmt.Errorf("signing with SSH key %s: %w", s.public.id, err)
	}
	armored := sshsig.Armor(sig)
	// The secret is elsewhere: an agent that signs with another key, or a
	// token that was not touched, is found out here and not by an auditor.
	if err := s.public.Verify(pae, armored); err != nil {
		return nil, fmt.Errorf("signing with SSH key %s: checking what was signed: %w", s.public.id, err)
	}
	return armored, nil
}
