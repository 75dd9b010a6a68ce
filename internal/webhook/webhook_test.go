package webhook

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stemma-lineage/stemma/internal/finding"
)

var secretBytes = []byte("a secret of thirty-two bytes ok.")

var secret = "whsec_" + base64.StdEncoding.EncodeToString(secretBytes)

// flaky is a receiver that checks signatures, and answers what it is told to
// before it receives.
type flaky struct {
	t       *testing.T
	key     *Receiver
	answers []int
	got     []string // "type subject", once for each id
	ids     []string // of all requests
	bodies  map[string]string
}

func (f *flaky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Error(err)
	}
	id := r.Header.Get("webhook-id")
	at, err := strconv.ParseInt(r.Header.Get("webhook-timestamp"), 10, 64)
	if err != nil || r.Header.Get("webhook-signature") != f.key.Sign(id, at, body) {
		f.t.Errorf("message %s: the signature %q does not verify (%v)", id, r.Header.Get("webhook-signature"), err)
	}
	if old, ok := f.bodies[id]; ok && old != string(body) {
		f.t.Errorf("message %s is repeated with another body", id)
	}
	f.ids = append(f.ids, id)
	if len(f.answers) > 0 {
		code := f.answers[0]
		f.answers = f.answers[1:]
		if code == 0 { // receives, and the answer is lost
			f.take(id, body)
			panic(http.ErrAbortHandler)
		}
		if w.WriteHeader(code); code >= 300 {
			return
		}
	}
	f.take(id, body)
}

func (f *flaky) take(id string, body []byte) {
	if _, ok := f.bodies[id]; ok {
		return
	}
	f.bodies[id] = string(body)
	var m struct {
		Type string `json:"type"`
		Data struct {
			Log     string
			Finding finding.Finding `json:"finding"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &m); err != nil {
		f.t.Error(err)
	}
	f.got = append(f.got, m.Type+" "+m.Data.Finding.Subject+" "+string(m.Data.Finding.Severity))
}

func one(subject string, s finding.Severity) finding.Finding {
	return finding.Finding{Detector: "L06", Subject: subject, Outcome: finding.Violated, Severity: s, Fingerprint: "f-" + subject, Witness: []finding.Hop{}, Entries: []uint64{1}}
}

type house struct {
	*flaky
	dir    string
	r      *Receiver
	s      Sender
	slept  []time.Duration
	server *httptest.Server
}

func newHouse(t *testing.T) *house {
	h := &house{flaky: &flaky{t: t, bodies: map[string]string{}}, dir: t.TempDir()}
	h.server = httptest.NewServer(h.flaky)
	t.Cleanup(h.server.Close)
	h.server.Config.ErrorLog = nil
	var err error
	if h.r, err = NewReceiver(h.server.URL+"/hooks/T0KEN-in-the-path", secret); err != nil {
		t.Fatal(err)
	}
	h.key = h.r
	h.s = Sender{Client: h.server.Client(), Attempts: 3, Now: func() time.Time { return time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC) },
		Sleep: func(_ context.Context, d time.Duration) error { h.slept = append(h.slept, d); return nil }}
	return h
}

func (h *house) tell(fs ...finding.Finding) (Outcome, error) {
	return h.s.Tell(h.t.Context(), h.dir, h.r, Asked{Log: "example.org/log", LogSize: 7, At: "2026-03-01T00:00:00Z"}, fs)
}

func (h *house) want(got ...string) {
	h.t.Helper()
	if !slices.Equal(h.got, got) {
		h.t.Errorf("received\n%s\nwant\n%s", strings.Join(h.got, "\n"), strings.Join(got, "\n"))
	}
}

func TestTellsWhatIsOther(t *testing.T) {
	h := newHouse(t)
	a, b := one("deployment:a", finding.High), one("deployment:b", finding.High)
	for range 2 { // the second time there is nothing to tell
		if _, err := h.tell(a, b); err != nil {
			t.Fatal(err)
		}
	}
	b.Severity = finding.Critical
	if _, err := h.tell(b); err != nil {
		t.Fatal(err)
	}
	b.Entries = []uint64{1, 9} // says the same
	if o, err := h.tell(b); err != nil || o != (Outcome{}) {
		t.Fatal(o, err)
	}
	if _, err := h.tell(a, b); err != nil {
		t.Fatal(err)
	}
	h.want("finding.new deployment:a high", "finding.new deployment:b high", "finding.changed deployment:b critical", "finding.cleared deployment:a high", "finding.new deployment:a high")
	if slices.Sort(h.ids); len(slices.Compact(h.ids)) != 5 {
		t.Errorf("%d ids for 5 messages", len(h.ids))
	}
}

func TestTriesAgain(t *testing.T) {
	h := newHouse(t)
	h.answers = []int{500, 429, 200, 0, 200} // the answer to the second is lost
	o, err := h.tell(one("a", finding.High), one("b", finding.Low))
	if err != nil || o.Told != 2 {
		t.Fatal(o, err)
	}
	h.want("finding.new a high", "finding.new b low")
	if len(h.ids) != 5 || h.ids[3] != h.ids[4] || h.ids[0] != h.ids[2] {
		t.Errorf("ids of the requests: %v", h.ids)
	}
	if !slices.Equal(h.slept, []time.Duration{time.Second, 2 * time.Second, time.Second}) {
		t.Errorf("waited %v", h.slept)
	}
}

func TestWhatIsNotReceivedWaits(t *testing.T) {
	h := newHouse(t)
	h.answers = []int{200, 503, 503, 503}
	o, err := h.tell(one("a", finding.High), one("b", finding.High), one("c", finding.High))
	if err == nil || o != (Outcome{Told: 1, Waiting: 2}) || !strings.Contains(err.Error(), "503") {
		t.Fatal(o, err)
	}
	h.noSecret(err.Error())
	h.want("finding.new a high")
	// What waits comes first, though it is cleared meanwhile.
	if o, err = h.tell(one("a", finding.High), one("c", finding.High)); err != nil || o.Told != 3 {
		t.Fatal(o, err)
	}
	h.want("finding.new a high", "finding.new b high", "finding.new c high", "finding.cleared b high")
	files, err := filepath.Glob(filepath.Join(h.dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		h.noSecret(string(text))
	}
}

func (h *house) noSecret(text string) {
	h.t.Helper()
	for _, s := range []string{secret, string(secretBytes), "T0KEN"} {
		if strings.Contains(text, s) {
			h.t.Errorf("%q shows %q", text, s)
		}
	}
}

func TestNotTriedAgain(t *testing.T) {
	for _, code := range []int{301, 400, 401, 410} {
		h := newHouse(t)
		h.answers = []int{code}
		if o, err := h.tell(one("a", finding.High)); err == nil || o.Waiting != 1 || len(h.ids) != 1 || !strings.Contains(err.Error(), strconv.Itoa(code)) {
			t.Errorf("%d: %v, %v, %d requests", code, o, err, len(h.ids))
		}
	}
	h := newHouse(t)
	h.server.Close()
	_, err := h.tell(one("a", finding.High))
	if err == nil || len(h.slept) != 2 {
		t.Fatalf("%v, waited %v", err, h.slept)
	}
	h.noSecret(err.Error())
}

// A run that ends at any request repeats only what it cannot know to be
// received, and the next tells all.
func TestEndsAtAnyRequest(t *testing.T) {
	const n = 60
	var fs []finding.Finding
	for i := range n {
		fs = append(fs, one(fmt.Sprintf("d%02d", i), finding.High))
	}
	for _, at := range []int{0, 1, 30, 49, 50, 51, 59} {
		h := newHouse(t)
		ctx, cancel := context.WithCancel(t.Context())
		h.s.Client.Transport = ending{h.s.Client.Transport, cancel, &at}
		if _, err := h.s.Tell(ctx, h.dir, h.r, Asked{Log: "l"}, fs); err == nil {
			t.Fatal("it was not ended")
		}
		h.s.Client.Transport = ending{h.s.Client.Transport.(ending).RoundTripper, func() {}, new(int)}
		if _, err := h.s.Tell(t.Context(), h.dir, h.r, Asked{Log: "l"}, fs); err != nil {
			t.Fatal(err)
		}
		if len(h.got) != n {
			t.Errorf("ended at %d: %d of %d received", at, len(h.got), n)
		}
	}
}

type ending struct {
	http.RoundTripper
	cancel func()
	left   *int
}

func (e ending) RoundTrip(r *http.Request) (*http.Response, error) {
	if *e.left--; *e.left == -1 {
		e.cancel()
	}
	return e.RoundTripper.RoundTrip(r)
}

func TestReceivers(t *testing.T) {
	for _, x := range []struct{ url, secret, says string }{
		{"https://hooks.example/x", secret, ""},
		{"http://127.0.0.1:1/x", secret, ""},
		{"http://[::1]:1/x", secret, ""},
		{"http://hooks.example/x?token=T0KEN", secret, "not https"},
		{"hooks.example", secret, "no URL"},
		{"https://hooks.example/x", "hunter2", "whsec_"},
		{"https://hooks.example/x", "whsec_c2hvcnQ=", "24 to 64"},
	} {
		_, err := NewReceiver(x.url, x.secret)
		if (err == nil) != (x.says == "") || err != nil && !strings.Contains(err.Error(), x.says) {
			t.Errorf("%s: %v, want %q", x.url, err, x.says)
		}
		if err != nil && (strings.Contains(err.Error(), "T0KEN") || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%v shows a secret", err)
		}
	}
}

// The signature is what OpenSSL gives over "msg_1.1772323200." and the body.
func TestSignature(t *testing.T) {
	r, err := NewReceiver("https://hooks.example/", secret)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := r.Sign("msg_1", 1772323200, []byte(`{"type":"finding.new"}`)), "v1,05QBAw1CQTCbpymoj9b3aOWYRRB4eQM2hsv3Ea2vt+s="; got != want {
		t.Errorf("signed %s, want %s", got, want)
	}
}
