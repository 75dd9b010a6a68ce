package keys

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/stemma-lineage/stemma/internal/durable"
)

// Checkpoints of logs are kept beside the keys, so that a whole folder that
// was put back from a backup is noticed: $STEMMA_CONFIG/checkpoints, or
// stemma/checkpoints in the user's configuration directory, a file for each
// log's key.

func checkpointPath(vkey string) (string, error) {
	name, err := logName(vkey)
	if err != nil {
		return "", fmt.Errorf("looking for the kept checkpoint: %w", err)
	}
	dir, err := Dir()
	return filepath.Join(filepath.Dir(dir), "checkpoints", name), err
}

// KeptCheckpoint gives the signed checkpoint of a log that was kept last, and
// where; nil: none is kept here.
func KeptCheckpoint(vkey string) (signed []byte, path string, err error) {
	path, err = checkpointPath(vkey)
	if err != nil {
		return nil, "", err
	}
	signed, err = os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, path, nil
	} else if err != nil {
		return nil, path, fmt.Errorf("reading the kept checkpoint: %w", err)
	}
	return signed, path, nil
}

// KeepCheckpoint keeps the signed checkpoint of a log whose signing key is
// here. Of other logs nothing is kept: they may be copies that others go on
// with.
func KeepCheckpoint(vkey string, signed []byte) error {
	name, err := logName(vkey)
	if err != nil {
		return err
	}
	if p, err := path(name); err != nil {
		return err
	} else if _, err := os.Stat(p); errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("keeping the checkpoint: %w", err)
	}
	p, err := checkpointPath(vkey)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
		return fmt.Errorf("keeping the checkpoint: %w", err)
	}
	return durable.WriteFile(p, signed, 0o600)
}

// MonitorPath gives the file in which a monitor keeps the last checkpoint of a
// log, if none is named.
func MonitorPath(vkey string) (string, error) {
	p, err := checkpointPath(vkey)
	if err != nil {
		return "", err
	}
	return filepath.Join(filepath.Dir(filepath.Dir(p)), "monitor", filepath.Base(p)+".txt"), nil
}
