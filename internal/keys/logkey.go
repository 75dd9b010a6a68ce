package keys

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// ErrLogKey says that text is not the public key of a log.
var ErrLogKey = errors.New("not a log's public key")

// logName gives the name under which a log's key is kept: by the hash in its
// public key, so that logs of one origin do not meet.
func logName(vkey string) (string, error) {
	v, err := note.NewVerifier(vkey)
	if err != nil {
		return "", fmt.Errorf("%w: %w; it looks like origin+hash+base64", ErrLogKey, err)
	}
	plain := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, strings.ToLower(v.Name()))
	// The hash tells keys apart; the origin is for people, so it may be cut.
	return fmt.Sprintf("%s%.60s-%08x", logPrefix, plain, v.KeyHash()), nil
}

// GenerateLogKey makes the signing key of a log and gives its signer, and its
// public key as a C2SP note verifier key. The origin is the name in both: not
// empty, no white space, no '+' (C2SP signed-note).
func GenerateLogKey(origin string) (note.Signer, string, error) {
	skey, vkey, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return nil, "", fmt.Errorf("making log key: %w", err)
	}
	s, err := note.NewSigner(skey)
	if err != nil {
		return nil, "", fmt.Errorf("making log key: origin %q: %w; leave out white space and '+'", origin, err)
	}
	name, err := logName(vkey)
	if err != nil {
		return nil, "", fmt.Errorf("making log key: origin %q: %w", origin, err)
	}
	if err := create(name, skey+"\n"); err != nil {
		return nil, "", err
	}
	return s, vkey, nil
}

// LoadLogKey reads the signing key that belongs to a log's public key.
func LoadLogKey(vkey string) (note.Signer, error) {
	name, err := logName(vkey)
	if err != nil {
		return nil, fmt.Errorf("reading log key: %w", err)
	}
	text, err := read(name)
	if err != nil {
		return nil, err
	}
	// The library's error says what is wrong and never the text.
	s, err := note.NewSigner(strings.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("reading log key %s: %w", name, err)
	}
	v, err := note.NewVerifier(vkey)
	if err != nil {
		return nil, fmt.Errorf("reading log key %s: %w", name, err)
	}
	// Signing once and verifying shows that this is the secret of that key:
	// name and hash could agree by chance, or by a file put in its place.
	signed, err := note.Sign(&note.Note{Text: "stemma key check\n"}, s)
	if err == nil {
		_, err = note.Open(signed, note.VerifierList(v))
	}
	if err != nil {
		return nil, fmt.Errorf("reading log key %s: it is not the key of %s: %w", name, v.Name(), err)
	}
	return s, nil
}
