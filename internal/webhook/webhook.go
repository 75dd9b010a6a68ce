// Package webhook tells a receiver of findings that are new, changed or
// cleared since it was told last. Messages, headers and signatures are those of
// Standard Webhooks 1.0.0 with a symmetric secret: HMAC-SHA256 over id,
// timestamp and body, in webhook-signature after "v1,".
//
// Each message comes at least once: it is written down before it is sent, and
// struck out after the receiver said 2xx. A repeat has the same webhook-id.
package webhook

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stemma-lineage/stemma/internal/durable"
	"github.com/stemma-lineage/stemma/internal/finding"
)

// The types of messages.
const (
	New     = "finding.new"
	Changed = "finding.changed"
	Cleared = "finding.cleared" // no longer violated, or no longer looked for
)

// Receiver is where messages go, and the secret that both sides know. Neither
// the secret nor more of the address than its host is ever shown or kept.
type Receiver struct {
	URL    *url.URL
	secret []byte
}

// NewReceiver reads the address and the secret, "whsec_" with 24 to 64 bytes in
// base64.
func NewReceiver(address, secret string) (*Receiver, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, errors.New("the address of the webhook is no URL; write https://HOST/PATH")
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme != "https" && (u.Scheme != "http" || u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback())) {
		return nil, fmt.Errorf("the webhook at %s is not https; findings go to another machine only encrypted", u.Host)
	}
	text, ok := strings.CutPrefix(strings.TrimSpace(secret), "whsec_")
	key, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(key) < 24 || len(key) > 64 {
		return nil, errors.New(`the secret of the webhook is not "whsec_" with 24 to 64 bytes in base64; make one with: echo "whsec_$(openssl rand -base64 32)"`)
	}
	return &Receiver{u, key}, nil
}

// Sign gives the webhook-signature of a message.
func (r *Receiver) Sign(id string, at int64, body []byte) string {
	m := hmac.New(sha256.New, r.secret)
	fmt.Fprintf(m, "%s.%d.", id, at)
	m.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(m.Sum(nil))
}

// Asked is what findings are of: the log, its size, the moment, and what they
// were narrowed to. What is told by other narrowings is kept apart.
type Asked struct {
	Log     string `json:"log"`
	LogSize uint64 `json:"logSize"`
	At      string `json:"at"`
	Only    string `json:"only,omitempty"`
}

// data is what a message is about.
type data struct {
	Asked
	Finding *finding.Finding `json:"finding"` // when it is cleared, as it was told last
}

type message struct {
	ID   string          `json:"id"`
	Body json.RawMessage `json:"body"`
}

// told is the state of one receiver, on disk.
type told struct {
	Sent    uint64                      `json:"sent"` // messages so far: the last part of the next id
	Known   map[string]*finding.Finding `json:"known"`
	Pending []message                   `json:"pending"`
}

// Sender sends. The zero value of each field stands for the usual.
type Sender struct {
	Client   *http.Client
	Now      func() time.Time
	Sleep    func(context.Context, time.Duration) error
	Attempts int // of one message in one run; 0: 5
}

// Outcome says what a run of a sender came to.
type Outcome struct {
	Told    int // messages that were received
	Waiting int // messages that wait for the next run
}

// batch is how many messages are received before that is written down: after a
// crash so many are repeated at most.
const batch = 50

// Tell tells the receiver what is new, changed or cleared among the findings,
// which are those that are violated. The state is in dir. Findings that wait
// since an earlier run go first. An error says why some wait.
func (s Sender) Tell(ctx context.Context, dir string, r *Receiver, a Asked, fs []finding.Finding) (Outcome, error) {
	s = s.filled()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Outcome{}, err
	}
	sum := sha256.Sum256([]byte(r.URL.String() + "\x00" + a.Only))
	path := filepath.Join(dir, hex.EncodeToString(sum[:12])+".json")
	unlock, err := lock(path + ".lock")
	if err != nil {
		return Outcome{}, err
	}
	defer unlock()
	t, err := read(path)
	if err != nil {
		return Outcome{}, err
	}
	if err := t.take(a, hex.EncodeToString(sum[:6]), s.Now(), fs); err != nil {
		return Outcome{}, err
	}
	if err := t.write(path); err != nil {
		return Outcome{}, err
	}
	return s.drain(ctx, path, r, t)
}

func (s Sender) filled() Sender {
	s.Attempts = cmp.Or(s.Attempts, 5)
	if s.Now == nil {
		s.Now = time.Now
	}
	if s.Sleep == nil {
		s.Sleep = func(ctx context.Context, d time.Duration) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(d):
				return nil
			}
		}
	}
	if s.Client == nil {
		s.Client = &http.Client{Timeout: 20 * time.Second}
	}
	c := *s.Client
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // what was signed is for this address
	s.Client = &c
	return s
}

// drain sends what waits, in order, until something is not received.
func (s Sender) drain(ctx context.Context, path string, r *Receiver, t *told) (Outcome, error) {
	var o Outcome
	var failed error
	for len(t.Pending) > 0 && failed == nil {
		if failed = s.send(ctx, r, t.Pending[0]); failed != nil {
			break
		}
		t.Pending = t.Pending[1:]
		if o.Told++; o.Told%batch == 0 {
			failed = t.write(path)
		}
	}
	o.Waiting = len(t.Pending)
	if err := t.write(path); err != nil && failed == nil {
		failed = err
	}
	if failed != nil {
		return o, fmt.Errorf("the webhook at %s received %d messages, and %d wait: %w; run the same command again to send them", r.URL.Host, o.Told, o.Waiting, failed)
	}
	return o, nil
}

func lock(path string) (func(), error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, errors.New("another stemma is telling this webhook; wait until it is done")
	}
	return func() { f.Close() }, nil
}

func read(path string) (*told, error) {
	t := &told{}
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, t)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("what the webhook was told cannot be read: %w; move %s away, and everything is told anew", err, path)
	}
	if t.Known == nil {
		t.Known = map[string]*finding.Finding{}
	}
	return t, nil
}

func (t *told) write(path string) error {
	b, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return durable.WriteFile(path, b, 0o600)
}

// take puts messages about what is other than it was told into the queue.
func (t *told) take(a Asked, to string, now time.Time, fs []finding.Finding) error {
	seen := map[string]bool{}
	for i := range fs {
		f := &fs[i]
		seen[f.Fingerprint] = true
		was, kind := t.Known[f.Fingerprint], New
		if was != nil {
			same, err := alike(was, f)
			if err != nil {
				return err
			}
			if same {
				continue
			}
			kind = Changed
		}
		t.Known[f.Fingerprint] = f
		if err := t.queue(kind, a, to, now, f); err != nil {
			return err
		}
	}
	var gone []string
	for k := range t.Known {
		if !seen[k] {
			gone = append(gone, k)
		}
	}
	slices.Sort(gone)
	for _, k := range gone {
		if err := t.queue(Cleared, a, to, now, t.Known[k]); err != nil {
			return err
		}
		delete(t.Known, k)
	}
	return nil
}

// alike tells whether two findings say the same, but for their times.
func alike(a, b *finding.Finding) (bool, error) {
	var out [2][]byte
	for i, f := range []finding.Finding{*a, *b} {
		f.First, f.Last, f.Entries, f.Witness, f.Hidden = nil, "", nil, nil, 0
		var err error
		if out[i], err = json.Marshal(f); err != nil {
			return false, err
		}
	}
	return bytes.Equal(out[0], out[1]), nil
}

func (t *told) queue(kind string, a Asked, to string, now time.Time, f *finding.Finding) error {
	body, err := json.Marshal(struct {
		Type      string `json:"type"`
		Timestamp string `json:"timestamp"`
		Data      data   `json:"data"`
	}{kind, now.UTC().Format(time.RFC3339), data{a, f}})
	if err != nil {
		return err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %d %s", a.Log, to, t.Sent, body))
	t.Pending = append(t.Pending, message{"msg_" + hex.EncodeToString(sum[:16]), body})
	t.Sent++
	return nil
}

// send sends one message until it is received, as often as the sender may.
func (s Sender) send(ctx context.Context, r *Receiver, m message) error {
	wait := time.Second
	for n := 1; ; n++ {
		again, after, err := s.once(ctx, r, m)
		if err == nil || !again || n >= s.Attempts {
			return err
		}
		if err := s.Sleep(ctx, max(wait, min(after, time.Minute))); err != nil {
			return err
		}
		wait *= 2
	}
}

// once sends a message once. again tells whether it can help to do so again,
// after how long the receiver wants that.
func (s Sender) once(ctx context.Context, r *Receiver, m message) (again bool, after time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL.String(), bytes.NewReader(m.Body))
	if err != nil {
		return false, 0, errors.New("the request cannot be made")
	}
	at := s.Now().Unix()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "stemma")
	req.Header.Set("webhook-id", m.ID)
	req.Header.Set("webhook-timestamp", strconv.FormatInt(at, 10))
	req.Header.Set("webhook-signature", r.Sign(m.ID, at, m.Body))
	resp, err := s.Client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the address: it may hold a secret
		}
		return ctx.Err() == nil, 0, err
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection is used again
	switch c := resp.StatusCode; {
	case c >= 200 && c < 300:
		return false, 0, nil
	case c == http.StatusGone:
		return false, 0, errors.New("it answers 410 Gone: it wants no more messages")
	default:
		sec, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return c >= 500 || c == http.StatusTooManyRequests || c == http.StatusRequestTimeout, time.Duration(sec) * time.Second,
			fmt.Errorf("it answers %d %s", c, http.StatusText(c))
	}
}
