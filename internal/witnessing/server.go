package witnessing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/time/rate"

	"github.com/stemma-lineage/stemma/internal/durable"
	"github.com/stemma-lineage/stemma/witness"
)

// Limits of a Server. A cosignature costs a write to the disk, so each log has
// its own limit, and everything together has one before signatures are looked
// at.
const (
	requestsPerSecond = 200
	perLogPerSecond   = 10
	maxForks          = 64 // files of evidence that are kept
)

// Server answers add-checkpoint (C2SP tlog-witness). It reads what it cosigned
// last from the disk for every request, writes what it will cosign before it
// signs, and does both for one log under one lock: whatever fails, and
// wherever the process ends, it never signs two trees of which neither
// continues the other.
type Server struct {
	dir         *Dir
	diagnostics *slog.Logger
	all         *rate.Limiter
	logs        map[string]*knownLog // by origin

	written func() // tests end the process here: written, not yet signed
}

type knownLog struct {
	keys  []note.Verifier
	limit *rate.Limiter
	mu    sync.Mutex // held from reading the state until it is written
}

// NewServer makes a server of the witness and checks that the state of every
// log is there. The caller holds [Dir.Lock].
func NewServer(d *Dir, diagnostics *slog.Logger) (*Server, error) {
	s := &Server{dir: d, diagnostics: diagnostics, all: rate.NewLimiter(requestsPerSecond, 2*requestsPerSecond), logs: map[string]*knownLog{}}
	all, err := d.Logs()
	if err != nil {
		return nil, err
	}
	for _, v := range all {
		k := s.logs[v.Name()]
		if k == nil {
			k = &knownLog{limit: rate.NewLimiter(perLogPerSecond, 5*perLogPerSecond)}
			s.logs[v.Name()] = k
		}
		k.keys = append(k.keys, v)
		if _, _, err := s.state(v.Name()); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Serve answers until ctx ends, and ends what it has begun.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	h := &http.Server{Handler: s, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(s.diagnostics.Handler(), slog.LevelDebug)}
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	c, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return h.Shutdown(c)
}

// refusal is an answer other than a cosignature.
type refusal struct {
	status int
	text   string
	size   bool // the text is the size that was cosigned last
}

func (r *refusal) Error() string { return r.text }

func refuse(status int, format string, args ...any) error {
	return &refusal{status: status, text: fmt.Sprintf(format, args...)}
}

// ServeHTTP answers POST …/add-checkpoint, and GET /livez.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/livez" && r.Method == http.MethodGet:
		fmt.Fprintln(w, "ok")
		return
	case !strings.HasSuffix(r.URL.Path, "/add-checkpoint"): // a proxy may leave its prefix
		http.Error(w, "this is a witness (C2SP tlog-witness); it answers POST /add-checkpoint", http.StatusNotFound)
		return
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "use POST", http.StatusMethodNotAllowed)
		return
	case !s.all.Allow():
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many requests; try again later", http.StatusTooManyRequests)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, witness.MaxRequest))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		err = refuse(http.StatusRequestEntityTooLarge, "the request is larger than %d bytes", witness.MaxRequest)
	} else if err != nil {
		err = refuse(http.StatusBadRequest, "the request could not be read")
	}
	var lines []byte
	if err == nil {
		lines, err = s.add(body)
	}
	var no *refusal
	switch {
	case err == nil:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write(lines) // whoever asked has gone: it asks again
	case errors.As(err, &no) && no.size:
		w.Header().Set("Content-Type", "text/x.tlog.size")
		w.WriteHeader(no.status)
		fmt.Fprintf(w, "%s\n", no.text)
	case errors.As(err, &no):
		http.Error(w, no.text, no.status)
	default:
		s.diagnostics.Error("not cosigned", "error", err)
		http.Error(w, "the witness cannot cosign now", http.StatusInternalServerError)
	}
}

// add gives the cosignature that a request asks for.
func (s *Server) add(body []byte) ([]byte, error) {
	req, err := witness.ParseRequest(body)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "%v", err)
	}
	origin := witness.Origin(req.Note)
	log := s.logs[origin]
	if log == nil {
		return nil, refuse(http.StatusNotFound, "this witness does not know the log %q", origin)
	}
	cp, key, err := openAny(req.Note, log.keys)
	var unknown *note.UnverifiedNoteError
	var wrong *note.InvalidSignatureError
	switch {
	case errors.As(err, &unknown), errors.As(err, &wrong):
		return nil, refuse(http.StatusForbidden, "the checkpoint has no signature of a key that this witness knows for %s", origin)
	case err != nil:
		return nil, refuse(http.StatusBadRequest, "%v", err)
	case req.Old > cp.Tree.N:
		return nil, refuse(http.StatusBadRequest, "the old size %d is larger than that of the checkpoint, %d", req.Old, cp.Tree.N)
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	return s.cosign(cp, key, req)
}

// cosign is called under the lock of the log.
func (s *Server) cosign(cp witness.Checkpoint, key note.Verifier, req witness.Request) ([]byte, error) {
	last, signed, err := s.state(cp.Origin)
	if err != nil {
		return nil, err
	}
	if req.Old != last.N {
		return nil, &refusal{http.StatusConflict, fmt.Sprint(last.N), true}
	}
	if last.N == cp.Tree.N && last.Hash != cp.Tree.Hash && len(signed) > 0 {
		s.keep(witness.Fork{Known: signed, Shown: cp.Signed()}, key)
		return nil, &refusal{http.StatusConflict, fmt.Sprint(last.N), true}
	}
	if err := witness.Consistent(last, cp.Tree, req.Proof); err != nil {
		s.diagnostics.Warn("a proof did not hold", "log", cp.Origin, "size", cp.Tree.N, "error", err)
		return nil, refuse(http.StatusUnprocessableEntity, "%v", err)
	}
	if last != cp.Tree || len(signed) == 0 {
		// Here and not before, so that nobody uses it up with old checkpoints.
		if !s.logs[cp.Origin].limit.Allow() {
			return nil, refuse(http.StatusTooManyRequests, "too many checkpoints of this log; try again later")
		}
		if err := s.dir.write(s.dir.state(cp.Origin), cp.Signed()); err != nil {
			return nil, fmt.Errorf("keeping the state of %s: %w", cp.Origin, err)
		}
	}
	if s.written != nil {
		s.written()
	}
	n, err := note.Sign(&note.Note{Text: cp.Text}, s.dir.signer)
	if err != nil {
		return nil, fmt.Errorf("cosigning: %w", err)
	}
	s.diagnostics.Info("cosigned", "log", cp.Origin, "size", cp.Tree.N, "from", last.N)
	return n[bytes.LastIndex(n, []byte("\n\n"))+2:], nil
}

// state gives the tree that was cosigned last, and its checkpoint.
func (s *Server) state(origin string) (tlog.Tree, []byte, error) {
	empty, _ := tlog.TreeHash(0, nil)
	signed, err := s.dir.last(origin)
	if err != nil || len(signed) == 0 {
		return tlog.Tree{Hash: empty}, nil, err
	}
	var keys []note.Verifier
	if k := s.logs[origin]; k != nil {
		keys = k.keys
	}
	cp, _, err := openAny(signed, keys)
	if err != nil {
		return tlog.Tree{}, nil, fmt.Errorf("%w: the state of %s cannot be read: %v; this key must sign no more, make a new witness", ErrLostState, origin, err)
	}
	return cp.Tree, signed, nil
}

// openAny verifies a checkpoint with any of the keys of its log.
func openAny(signed []byte, keys []note.Verifier) (cp witness.Checkpoint, key note.Verifier, err error) {
	for _, key = range keys {
		if cp, err = witness.Open(signed, key, nil); err == nil {
			return cp, key, nil
		}
	}
	if err == nil {
		err = errors.New("no key is known for it")
	}
	return cp, nil, err
}

// keep writes evidence of two histories, once for each.
func (s *Server) keep(f witness.Fork, key note.Verifier) {
	vkey, err := s.vkey(key)
	if err != nil {
		s.diagnostics.Error("evidence could not be kept", "error", err)
		return
	}
	f.Key, f.Found, f.By = vkey, time.Now(), "witness "+s.dir.Name()
	dir := filepath.Join(s.dir.path, "forks")
	name := filepath.Join(dir, f.FileName())
	list, _ := os.ReadDir(dir) // there may be none yet
	if _, err := os.Stat(name); err == nil || len(list) >= maxForks {
		return
	}
	err = durable.MkdirAll(dir, 0o700)
	if err == nil {
		err = durable.WriteFile(name, witness.FormatFork(f), 0o644)
	}
	if err != nil {
		s.diagnostics.Error("evidence could not be kept", "error", err)
		return
	}
	s.diagnostics.Error("the log signed two histories", "log", key.Name(), "evidence", name)
}

// vkey finds the text of a log's key.
func (s *Server) vkey(key note.Verifier) (string, error) {
	text, err := os.ReadFile(filepath.Join(s.dir.path, "logs"))
	if err != nil {
		return "", err
	}
	for _, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if v, err := note.NewVerifier(line); err == nil && v.Name() == key.Name() && v.KeyHash() == key.KeyHash() {
			return line, nil
		}
	}
	return "", fmt.Errorf("the key of %s is not in the file logs any more", key.Name())
}
