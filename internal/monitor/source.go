package monitor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

// ErrUnreadable says that the log's files could not be had. It says nothing
// about what they hold.
var ErrUnreadable = errors.New("the log cannot be read")

// Sizes of files (C2SP tlog-tiles): a bundle has up to 256 entries of up to
// 65,535 bytes.
const (
	maxHashes  = torchwood.TileWidth * tlog.HashSize
	maxEntries = torchwood.TileWidth * (2 + 1<<16)
	maxNote    = 64 << 10
)

// Source reads the files of a log that is exported as C2SP tlog-tiles. It
// trusts nothing that it reads.
type Source struct {
	// fetch gives a file of at most limit bytes; fs.ErrNotExist if it is not
	// there.
	fetch func(ctx context.Context, path string, limit int64) ([]byte, error)
}

// OpenSource reads a folder, or what stands under an http or https address.
func OpenSource(where string) Source {
	if strings.HasPrefix(where, "http://") || strings.HasPrefix(where, "https://") {
		client := &http.Client{Timeout: 30 * time.Second}
		base := strings.TrimSuffix(where, "/") + "/"
		return Source{func(ctx context.Context, path string, limit int64) ([]byte, error) {
			return get(ctx, client, base+path, limit)
		}}
	}
	dir := os.DirFS(where)
	return Source{func(_ context.Context, path string, limit int64) ([]byte, error) {
		f, err := dir.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return atMost(f, path, limit)
	}}
}

func get(ctx context.Context, client *http.Client, url string, limit int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "stemma (github.com/stemma-lineage/stemma)")
	r, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	switch r.StatusCode {
	case http.StatusOK:
		return atMost(r.Body, url, limit)
	case http.StatusNotFound, http.StatusGone:
		return nil, fmt.Errorf("%s: %w", url, fs.ErrNotExist)
	}
	return nil, fmt.Errorf("%s: the server answered %s", url, r.Status)
}

func atMost(r io.Reader, name string, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes, which no such file may be", name, limit)
	}
	return b, err
}

// ReadEndpoint reads a small file.
func (s Source) ReadEndpoint(ctx context.Context, path string) ([]byte, error) {
	b, err := s.fetch(ctx, path, maxNote)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return b, nil
}

// ReadTiles reads tiles, a few at a time. A part of a tile that is not there
// is cut out of the full one: a log may take parts away when the tile is full
// (C2SP tlog-tiles).
func (s Source) ReadTiles(ctx context.Context, tiles []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(tiles))
	errs := make([]error, len(tiles))
	var wg sync.WaitGroup
	room := make(chan struct{}, 8)
	for i, t := range tiles {
		wg.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			out[i], errs[i] = s.tile(ctx, t)
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return out, nil
}

func (s Source) tile(ctx context.Context, t tlog.Tile) ([]byte, error) {
	limit := int64(maxHashes)
	if t.L < 0 {
		limit = maxEntries
	}
	b, err := s.fetch(ctx, torchwood.TilePath(t), limit)
	if !errors.Is(err, fs.ErrNotExist) || t.W == torchwood.TileWidth {
		return b, err
	}
	full := t
	full.W = torchwood.TileWidth
	whole, ferr := s.fetch(ctx, torchwood.TilePath(full), limit)
	if ferr != nil {
		return nil, err // of the part: that is what is missing
	}
	if t.L >= 0 {
		return whole[:min(len(whole), t.W*tlog.HashSize)], nil
	}
	n := 0
	for range t.W {
		if len(whole)-n < 2 {
			break
		}
		n += 2 + int(binary.BigEndian.Uint16(whole[n:]))
	}
	return whole[:min(len(whole), n)], nil
}

// SaveTiles does nothing: tiles are read once.
func (s Source) SaveTiles([]tlog.Tile, [][]byte) {}
