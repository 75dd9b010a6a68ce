// Package admission is a Kubernetes validating admission webhook: it asks the
// gate about the images and models of a workload before they go live, and
// records each verdict.
//
// It takes AdmissionReview of admission.k8s.io/v1 by POST /validate over TLS.
// What it knows of the cluster is the request alone: it asks the API server
// nothing.
package admission

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/stemma-lineage/stemma/internal/app"
	"github.com/stemma-lineage/stemma/internal/gate"
	"github.com/stemma-lineage/stemma/internal/keys"
)

const (
	// maxBody is the largest AdmissionReview, in bytes. An object in etcd has
	// at most 1.5 MiB, and a review of an update holds two.
	maxBody = 8 << 20
	// maxWaiting is how many reviews are answered at once.
	maxWaiting = 32
	// answerIn is how long an answer may take when the API server sets no
	// time; its own default is 10 s.
	answerIn = 9 * time.Second
	stopIn   = 10 * time.Second
)

// Options of a webhook.
type Options struct {
	Workspace   *app.Workspace
	Key         keys.Key // signs the verdicts; not needed with DryRun
	Environment string   // of every namespace that Namespaces does not name
	// Namespaces gives the environment of a namespace. The workload itself has
	// no say in it.
	Namespaces map[string]string
	Policies   []string // those to ask; without any, those in force
	FailOpen   bool     // let undecided pass, with a warning
	DryRun     bool     // let all pass, with warnings, and record nothing
	Now        func() time.Time
	// Diagnostics get a line for each answer; nil: none.
	Diagnostics *slog.Logger
}

// Server answers reviews. Make it with New.
type Server struct {
	o       Options
	inForce gate.InForce
	waiting chan struct{}
}

// New makes a webhook of options.
func New(o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Diagnostics == nil {
		o.Diagnostics = slog.New(slog.DiscardHandler)
	}
	return &Server{o: o, waiting: make(chan struct{}, maxWaiting)}
}

// Handler gives the routes: POST /validate, GET /livez and GET /readyz.
func (s *Server) Handler() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("POST /validate", s.validate)
	m.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	m.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if _, err := s.o.Workspace.Log.Head(r.Context()); err != nil {
			http.Error(w, "the log cannot be read: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "ok\n")
	})
	return m
}

func (s *Server) validate(w http.ResponseWriter, r *http.Request) {
	select {
	case s.waiting <- struct{}{}:
		defer func() { <-s.waiting }()
	default:
		http.Error(w, fmt.Sprintf("%d reviews are being answered already; try again", maxWaiting), http.StatusServiceUnavailable)
		return
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		http.Error(w, "send the AdmissionReview as application/json", http.StatusUnsupportedMediaType)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		http.Error(w, fmt.Sprintf("the AdmissionReview is larger than %d bytes", maxBody), http.StatusRequestEntityTooLarge)
		return
	case err != nil:
		http.Error(w, "reading the AdmissionReview: "+err.Error(), http.StatusBadRequest)
		return
	}
	req, err := parseReview(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience(r))
	defer cancel()
	out, err := json.Marshal(review{APIVersion: apiVersion, Kind: reviewKind, Response: s.decide(ctx, req)})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(out)
}

// patience is how long the API server waits, less what the way takes: it sends
// its time-out as the parameter timeout.
func patience(r *http.Request) time.Duration {
	if d, err := time.ParseDuration(r.URL.Query().Get("timeout")); err == nil && d > 0 && d <= 30*time.Second {
		return d * 9 / 10
	}
	return answerIn
}

// Serve answers on a listener, over TLS, until the context ends; then it
// answers what it has begun, and returns nil.
func (s *Server) Serve(ctx context.Context, l net.Listener, t *tls.Config) error {
	h := &http.Server{Handler: s.Handler(), TLSConfig: t, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second,
		WriteTimeout: 45 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(s.o.Diagnostics.Handler(), slog.LevelWarn)}
	done := make(chan error, 1)
	go func() { done <- h.ServeTLS(l, "", "") }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopIn)
	defer cancel()
	err := h.Shutdown(stop)
	<-done
	return err
}

// TLS gives a configuration with the certificate and key in two files. They
// are read anew when they change, so that a certificate can be renewed under a
// running webhook. With a file of certificate authorities, only clients that
// show a certificate of one of them may ask.
func TLS(certFile, keyFile, clientCA string) (*tls.Config, error) {
	p := &pair{cert: certFile, key: keyFile}
	if _, err := p.get(nil); err != nil {
		return nil, err
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: p.get}
	if clientCA != "" {
		text, err := os.ReadFile(clientCA)
		if err != nil {
			return nil, err
		}
		c.ClientCAs = x509.NewCertPool()
		if !c.ClientCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", clientCA)
		}
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return c, nil
}

// pair is a certificate that is read again when its file changes. A pair that
// is being replaced, and does not fit together, leaves the last one in use.
type pair struct {
	cert, key string

	mu   sync.Mutex
	at   time.Time // when the file was changed that is in use
	last *tls.Certificate
}

func (p *pair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	st, err := os.Stat(p.cert)
	if err == nil && p.last != nil && st.ModTime().Equal(p.at) {
		return p.last, nil
	}
	if err == nil {
		var c tls.Certificate
		if c, err = tls.LoadX509KeyPair(p.cert, p.key); err == nil {
			p.last, p.at = &c, st.ModTime()
		}
	}
	if p.last != nil {
		return p.last, nil
	}
	return nil, fmt.Errorf("reading the TLS certificate: %w", err)
}
