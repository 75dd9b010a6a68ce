package main

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The webhook answers over TLS, and ends with exit code 0 on SIGTERM.
func TestServeEndsOnSIGTERM(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("STEMMA_CONFIG", filepath.Join(dir, "config"))
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	priv, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for name, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: priv}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if code := run(t.Context(), []string{"--dir", dir, "init", "--as", "person:ann@example.org"}, nil, &out, &out); code != 0 {
		t.Fatalf("init: %s", &out)
	}
	r, w := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- run(t.Context(), []string{"--dir", dir, "serve", "--admission", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key, "--env", "prod", "--policy", "library:two-person"}, nil, io.Discard, w)
	}()
	lines := bufio.NewScanner(r)
	if !lines.Scan() {
		t.Fatal("it says nothing")
	}
	_, url, ok := strings.Cut(lines.Text(), "answering AdmissionReview at ")
	if !ok {
		t.Fatalf("it says %q", lines.Text())
	}
	go func() { // the rest of what it says
		for lines.Scan() {
		}
	}()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	a, err := client.Post(url, "application/json", strings.NewReader(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u1","operation":"CREATE","namespace":"shop",
"kind":{"group":"","version":"v1","kind":"Pod"},"object":{"spec":{"containers":[{"name":"main","image":"main:1"}]}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(a.Body)
	if a.Body.Close(); err != nil || !strings.Contains(string(text), `"allowed":false`) || !strings.Contains(string(text), "name it by digest") {
		t.Errorf("it answers %v %s", err, text)
	}
	client.CloseIdleConnections()
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := <-code; got != 0 {
		t.Errorf("it ended with exit code %d", got)
	}
}
