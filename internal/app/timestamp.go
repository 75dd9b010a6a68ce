package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/stemma-lineage/stemma/internal/durable"
	"github.com/stemma-lineage/stemma/internal/witnessing"
	"github.com/stemma-lineage/stemma/witness"
	"github.com/stemma-lineage/stemma/witness/stamp"
)

// ErrNoAuthority says that no certificate of a timestamp authority is trusted.
var ErrNoAuthority = errors.New("no timestamp authority is trusted here; --tsa-ca FILE trusts the certificates in a PEM file")

// AuthoritiesFile gives the file of the certificates of timestamp authorities
// that are trusted (PEM).
func (w *Workspace) AuthoritiesFile() string { return filepath.Join(w.Dir, "authorities.pem") }

// Timestamps gives the file of every timestamp of a checkpoint.
func (w *Workspace) Timestamps() witnessing.History {
	return witnessing.History{Path: filepath.Join(w.Dir, "timestamps")}
}

// Authorities reads the trusted certificates; nil: there are none.
func (w *Workspace) Authorities() (*stamp.Authorities, error) {
	text, err := os.ReadFile(w.AuthoritiesFile())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("reading timestamp authorities: %w", err)
	}
	a, err := stamp.ParseAuthorities(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", w.AuthoritiesFile(), err)
	}
	return a, nil
}

// TrustAuthority adds certificates to those that are trusted.
func (w *Workspace) TrustAuthority(text []byte) error {
	if _, err := stamp.ParseAuthorities(text); err != nil {
		return err
	}
	old, err := os.ReadFile(w.AuthoritiesFile())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("reading timestamp authorities: %w", err)
	}
	text = append(bytes.TrimSpace(text), '\n')
	if bytes.Contains(old, text) {
		return nil
	}
	return durable.WriteFile(w.AuthoritiesFile(), append(old, text...), 0o644)
}

// Timestamp asks a timestamp authority about the newest checkpoint, verifies
// its answer and keeps it.
func (w *Workspace) Timestamp(ctx context.Context, url string) (witness.Word, error) {
	a, err := w.Authorities()
	if err != nil {
		return witness.Word{}, err
	}
	if a == nil {
		return witness.Word{}, ErrNoAuthority
	}
	h, err := w.Log.Head(ctx)
	if err != nil {
		return witness.Word{}, err
	}
	s, nonce, err := witnessing.AskAuthority(ctx, url, h.Checkpoint)
	if err != nil {
		return witness.Word{}, err
	}
	word, err := a.Open(s, h.Size, nonce)
	if err != nil {
		return witness.Word{}, err
	}
	return word, w.Timestamps().Append(stamp.Format(s))
}

// stamps gives the newest timestamp that is not after a moment, verified.
func (w *Workspace) stamps(ctx context.Context, at time.Time, verifier note.Verifier) ([]witness.Word, error) {
	a, err := w.Authorities()
	if err != nil || a == nil {
		return nil, err
	}
	list, err := w.Timestamps().Notes()
	if err != nil {
		return nil, err
	}
	for i := len(list) - 1; i >= 0; i-- {
		s, err := stamp.Parse(list[i])
		if err != nil {
			return nil, fmt.Errorf("%w: timestamp %d: %w", witnessing.ErrHistory, i, err)
		}
		c, err := witness.Open(s.Signed, verifier, nil)
		if err != nil {
			return nil, fmt.Errorf("%w: timestamp %d: %w", witnessing.ErrHistory, i, err)
		}
		word, err := a.Open(s, c.Tree.N, nil)
		if err != nil {
			return nil, fmt.Errorf("timestamp %d: %w", i, err)
		}
		if word.Time.After(at) {
			continue
		}
		if err := w.continues(ctx, c); err != nil {
			return nil, err
		}
		return []witness.Word{word}, nil
	}
	return nil, nil
}
