package main

import (
	"bufio"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/digitorus/timestamp"
	"github.com/rogpeppe/go-internal/testscript"
)

var answersAt = regexp.MustCompile(`http://127\.0\.0\.1:[0-9]+`)

// answering NAME PROGRAM ARG… begins a server, and sets NAME to the address
// that it says on standard error. It is stopped at the end of the script, or
// by quit.
func answering(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: answering NAME PROGRAM ARG…")
	}
	c := exec.Command(args[1], args[2:]...)
	c.Dir = ts.MkAbs(".")
	c.Env = append(os.Environ(), "STEMMA_CONFIG="+ts.Getenv("STEMMA_CONFIG"), "HOME="+ts.Getenv("HOME"), "XDG_CACHE_HOME="+ts.Getenv("XDG_CACHE_HOME"))
	says, err := c.StderrPipe()
	ts.Check(err)
	ts.Check(c.Start())
	ended := false
	stop := func() {
		if !ended {
			ended = true
			ts.Check(c.Process.Signal(syscall.SIGTERM))
			if err := c.Wait(); err != nil {
				ts.Fatalf("%s ended with %v", strings.Join(args[1:], " "), err)
			}
		}
	}
	ts.Defer(stop)
	answerers[ts.Getenv("WORK")+args[0]] = stop
	var all strings.Builder
	for lines := bufio.NewScanner(says); lines.Scan(); {
		all.WriteString(lines.Text() + "\n")
		if url := answersAt.FindString(lines.Text()); url != "" {
			ts.Setenv(args[0], url)
			go func() { _, _ = io.Copy(io.Discard, says) }()
			return
		}
	}
	ended = true
	ts.Fatalf("%s says no address: %s %v", strings.Join(args[1:], " "), &all, c.Wait())
}

var answerers = map[string]func(){} // scripts run one after the other

// quit NAME stops what answering began.
func quit(ts *testscript.TestScript, neg bool, args []string) {
	if stop := answerers[ts.Getenv("WORK")+strings.Join(args, " ")]; !neg && stop != nil {
		stop()
		return
	}
	ts.Fatalf("usage: quit NAME, of something that answers")
}

// authority answers timestamp queries (RFC 3161) on a free port of this
// machine until it is told to end.
func authority() {
	fatal := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	issue := func(c, by *x509.Certificate, key *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		fatal(err)
		if by == nil {
			by, key = c, k
		}
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, c, by, &k.PublicKey, key)
		fatal(err)
		c, err = x509.ParseCertificate(der)
		fatal(err)
		return c, k
	}
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	fatal(err)
	root, rootKey := issue(&x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test root"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	leaf, key := issue(&x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "test clock"},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}}}, root, rootKey)
	fatal(os.WriteFile(os.Args[1], pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw}), 0o600))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	fatal(err)
	fmt.Fprintf(os.Stderr, "answers at http://%s\n", l.Addr())
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	go func() {
		<-ended
		os.Exit(0)
	}()
	fatal(http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fatal(err)
		q, err := timestamp.ParseRequest(body)
		fatal(err)
		ts := timestamp.Timestamp{HashAlgorithm: q.HashAlgorithm, HashedMessage: q.HashedMessage, Nonce: q.Nonce, Time: time.Now(), Policy: asn1.ObjectIdentifier{1, 2, 3}, AddTSACertificate: q.Certificates}
		b, err := ts.CreateResponseWithOpts(leaf, key, crypto.SHA256)
		fatal(err)
		_, _ = w.Write(b)
	})))
}
