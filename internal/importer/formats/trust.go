package formats

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/go-jose/go-jose/v4"

	"github.com/stemma-lineage/stemma/internal/importer/sigstore"
)

// AddTrust puts what signatures are checked with into the options. What a file
// is shows in its content: an OpenPGP ring of public keys (RFC 9580, armored
// or binary), a JSON Web Key Set (RFC 7517), or what [sigstore.NewTrust]
// reads. Several of a kind add up.
func (o *Options) AddTrust(files ...sigstore.File) error {
	var rest []sigstore.File
	var sets [][]json.RawMessage
	for _, f := range files {
		switch {
		case bytes.Contains(f.Data, []byte("-----BEGIN PGP ")) || isRing(f.Data):
			ring, err := publicRing(f.Data)
			if err != nil {
				return fmt.Errorf("reading trust material %s: %w", f.Name, err)
			}
			o.OpenPGP = append(o.OpenPGP, ring...)
		case isKeySet(f.Data):
			keys, err := keySet(f.Data)
			if err != nil {
				return fmt.Errorf("reading trust material %s: %w", f.Name, err)
			}
			sets = append(sets, keys)
		default:
			rest = append(rest, f)
		}
	}
	if len(sets) > 0 {
		var all []json.RawMessage
		for _, s := range sets {
			all = append(all, s...)
		}
		text, err := json.Marshal(map[string][]json.RawMessage{"keys": all})
		if err != nil {
			return fmt.Errorf("reading trust material: %w", err)
		}
		o.JWKS = text
	}
	if len(rest) == 0 {
		return nil
	}
	var err error
	o.Trust, err = sigstore.NewTrust(rest...)
	return err
}

// isRing tells whether the bytes begin with an OpenPGP key (RFC 9580 section
// 4.2: the first bit is set in the first byte of every packet, which no text
// has).
func isRing(data []byte) bool {
	if len(data) < 3 || data[0]&0x80 == 0 {
		return false
	}
	_, err := openpgp.ReadKeyRing(bytes.NewReader(data))
	return err == nil
}

// publicRing gives the binary form of public keys. A private key is refused.
func publicRing(data []byte) ([]byte, error) {
	var out []byte
	if isRing(data) {
		out = data
	}
	begin := []byte("-----BEGIN PGP ")
	for rest := data; len(out) < len(data); {
		at := bytes.Index(rest, begin)
		if at < 0 {
			break
		}
		block := rest[at:]
		rest = block[len(begin):]
		b, err := armor.Decode(bytes.NewReader(block))
		if err != nil {
			return nil, fmt.Errorf("the armor cannot be read: %w", err)
		}
		body, err := io.ReadAll(b.Body)
		if err != nil {
			return nil, fmt.Errorf("the armor cannot be read: %w", err)
		}
		out = append(out, body...)
	}
	ring, err := openpgp.ReadKeyRing(bytes.NewReader(out))
	if err != nil {
		return nil, fmt.Errorf("are no OpenPGP keys: %w", err)
	}
	for _, e := range ring {
		if e.PrivateKey != nil {
			return nil, errors.New("this is a private key; name the file of its public key, and keep this one to yourself")
		}
	}
	return out, nil
}

func isKeySet(data []byte) bool {
	var set struct {
		Keys []struct {
			Kty string `json:"kty"`
		} `json:"keys"`
	}
	return json.Unmarshal(data, &set) == nil && len(set.Keys) > 0 && set.Keys[0].Kty != ""
}

func keySet(data []byte) ([]json.RawMessage, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	var keys jose.JSONWebKeySet
	if err := errors.Join(json.Unmarshal(data, &set), json.Unmarshal(data, &keys)); err != nil {
		return nil, fmt.Errorf("is no key set that can be used: %w", err)
	}
	for i, k := range keys.Keys {
		if !k.IsPublic() {
			return nil, fmt.Errorf("keys[%d] holds a private or shared key; give the set that the issuer publishes at its jwks_uri", i)
		}
	}
	return set.Keys, nil
}
