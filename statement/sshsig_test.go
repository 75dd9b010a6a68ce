package statement

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/pem"
	"io"
	"strings"
	"testing"

	"github.com/hiddeco/sshsig"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"golang.org/x/crypto/ssh"
)

func sshSignatureIn(t testing.TB, namespace string, key any, payload []byte) []byte {
	t.Helper()
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := sshsig.Sign(bytes.NewReader(dsse.PAE(PayloadType, payload)), signer, sshsig.HashSHA256, namespace)
	if err != nil {
		t.Fatal(err)
	}
	return sshsig.Armor(sig)
}

func TestSSHKeyTypes(t *testing.T) {
	ec256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsa2048, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]any{"ssh-ed25519": privateOf(2), "ecdsa-sha2-nistp256": ec256, "ecdsa-sha2-nistp384": ec384, "ssh-rsa": rsa2048} {
		t.Run(name, func(t *testing.T) {
			s := sshSignerOf(t, key)
			trust, err := ParseTrust([]byte(TrustedKey{Principal: ben, Public: s.Public()}.String()))
			if err != nil {
				t.Fatal(err)
			}
			if got := trust.Keys()[0].Public.String(); !strings.HasPrefix(got, name+" ") {
				t.Errorf("trust line has %s", got)
			}
			v, err := Verify(signed(t, envelopePayload, s), trust, envelopeTime)
			if err != nil || !v.Verified() || v.Principals()[0] != ben {
				t.Errorf("%+v, %v", v.Signatures, err)
			}
			// SHA-256 and SHA-512 are both SSHSIG hashes.
			e := &Envelope{PayloadType: PayloadType, Payload: []byte(envelopePayload),
				Signatures: []Signature{{Sig: sshSignatureIn(t, SSHNamespace, key, []byte(envelopePayload))}}}
			if v := e.Verify(trust, envelopeTime); !v.Verified() {
				t.Errorf("%+v", v.Signatures)
			}
		})
	}
}

// touchedKey answers as a FIDO key does: it signs the application, flags and
// counter with the message (OpenSSH PROTOCOL.u2f).
type touchedKey struct {
	public  ssh.PublicKey
	private ed25519.PrivateKey
	flags   byte
}

func (k touchedKey) PublicKey() ssh.PublicKey { return k.public }

func (k touchedKey) Sign(_ io.Reader, data []byte) (*ssh.Signature, error) {
	app, msg := sha256.Sum256([]byte("ssh:")), sha256.Sum256(data)
	tail := []byte{k.flags, 0, 0, 0, 7}
	body := append(append(app[:], tail...), msg[:]...)
	return &ssh.Signature{Format: ssh.KeyAlgoSKED25519, Blob: ed25519.Sign(k.private, body), Rest: tail}, nil
}

func newTouchedKey(t *testing.T, flags byte) touchedKey {
	t.Helper()
	private := privateOf(5)
	public, err := ssh.ParsePublicKey(ssh.Marshal(struct {
		Name        string
		Key         []byte
		Application string
	}{ssh.KeyAlgoSKED25519, private.Public().(ed25519.PublicKey), "ssh:"}))
	if err != nil {
		t.Fatal(err)
	}
	return touchedKey{public, private, flags}
}

func TestHardwareKeyMustBeTouched(t *testing.T) {
	s, err := NewSSHSigner(newTouchedKey(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	trust, err := ParseTrust([]byte(TrustedKey{Principal: ben, Public: s.Public()}.String()))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(s.Public().String(), "sk-ssh-ed25519@openssh.com ") {
		t.Errorf("key is %s", s.Public())
	}
	v, err := Verify(signed(t, envelopePayload, s), trust, envelopeTime)
	if err != nil || !v.Verified() {
		t.Errorf("touched: %+v, %v", v.Signatures, err)
	}
	untouched, err := NewSSHSigner(newTouchedKey(t, 0))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Sign(context.Background(), []byte(envelopePayload), untouched); err == nil || !strings.Contains(err.Error(), "user presence") {
		t.Errorf("signing without a touch: %v", err)
	}
}

func TestSSHKeysThatAreRefused(t *testing.T) {
	rsa1024 := ssh.Marshal(struct {
		Name string
		E, N []byte
	}{"ssh-rsa", []byte{1, 0, 1}, append([]byte{0, 0x80}, bytes.Repeat([]byte{1}, 127)...)})
	if pub, err := ssh.ParsePublicKey(rsa1024); err == nil {
		if _, err := SSHKey(pub); err == nil || !strings.Contains(err.Error(), "1024 bits") {
			t.Errorf("RSA of 1024 bits: %v", err)
		}
	} else {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(privateOf(2))
	if err != nil {
		t.Fatal(err)
	}
	cert := &ssh.Certificate{Key: signer.PublicKey(), CertType: ssh.UserCert, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, signer); err != nil {
		t.Fatal(err)
	}
	if _, err := SSHKey(cert); err == nil {
		t.Error("a certificate is accepted as a key")
	}
	if _, err := SSHKey(nil); err == nil {
		t.Error("no key is accepted as a key")
	}
}

// An agent that answers with a signature over something else is found out
// when signing.
func TestSignerChecksItsAgent(t *testing.T) {
	signer, err := ssh.NewSignerFromKey(privateOf(2))
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSSHSigner(wrongAgent{signer})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Sign(context.Background(), []byte("{}"), s); err == nil || !strings.Contains(err.Error(), "checking what was signed") {
		t.Errorf("got %v", err)
	}
}

type wrongAgent struct{ ssh.Signer }

func (a wrongAgent) Sign(r io.Reader, _ []byte) (*ssh.Signature, error) {
	return a.Signer.Sign(r, []byte("another message"))
}

func TestSSHSIGRefuses(t *testing.T) {
	good := sshSignatureIn(t, SSHNamespace, privateOf(2), []byte(envelopePayload))
	block, _ := pem.Decode(good)
	sig, err := sshsig.ParseSignature(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	sig.Signature.Rest = []byte{1}
	for name, armored := range map[string][]byte{
		"raw bytes":             block.Bytes,
		"another PEM type":      pem.EncodeToMemory(&pem.Block{Type: "SIGNATURE", Bytes: block.Bytes}),
		"headers":               pem.EncodeToMemory(&pem.Block{Type: sshsig.PEMType, Headers: map[string]string{"a": "b"}, Bytes: block.Bytes}),
		"two blocks":            append(append([]byte(nil), good...), good...),
		"cut off":               good[:len(good)/2],
		"bytes after the blob":  pem.EncodeToMemory(&pem.Block{Type: sshsig.PEMType, Bytes: append(append([]byte(nil), block.Bytes...), 0)}),
		"bytes after signature": sshsig.Armor(sig),
	} {
		if _, err := parseSSHSIG(armored); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := parseSSHSIG(good); err != nil {
		t.Errorf("the good one is refused: %v", err)
	}
}
