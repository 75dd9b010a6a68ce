package admission

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/app"
	"github.com/stemma-lineage/stemma/internal/keys"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

func sha(name string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(name))) }

func image(name string) string { return "registry.example/acme/" + name + "@sha256:" + sha(name) }

// house is a workspace with people, two images and two models, and a webhook.
type house struct {
	t      *testing.T
	w      *app.Workspace
	keys   map[string]keys.Key
	url    string
	client *http.Client
	stop   context.CancelFunc
	ended  chan error
}

func newHouse(t *testing.T, change func(*Options)) *house {
	t.Helper()
	t.Setenv("STEMMA_CONFIG", filepath.Join(t.TempDir(), "config"))
	h := &house{t: t, keys: map[string]keys.Key{}, ended: make(chan error, 1)}
	for _, name := range []string{"ci", "rita", "sam"} {
		k, err := keys.Generate(name, prov.Ref{Kind: prov.Person, Name: name + "@acme.example"})
		if err != nil {
			t.Fatal(err)
		}
		h.keys[name] = k
	}
	var err error
	if h.w, err = app.Init(t.Context(), t.TempDir(), app.Options{Origin: "acme.example/log", Key: h.keys["ci"]}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.w.Close() })
	for _, name := range []string{"rita", "sam"} {
		k, err := h.keys[name].Trusted()
		if err == nil {
			err = h.w.AddTrust(k)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	h.govern()
	h.serve(change)
	return h
}

func thing(ref, content string) statement.Subject {
	r, err := prov.ParseRef(ref)
	if err != nil {
		panic(err)
	}
	var d statement.DigestSet
	if content != "" {
		d = statement.DigestSet{"sha256": sha(content)}
	}
	return statement.NewSubject(r, d)
}

func (h *house) say(who string, p statement.Predicate, s statement.Subject) {
	h.t.Helper()
	if _, err := h.w.Say(h.t.Context(), h.keys[who], []statement.Subject{s}, p); err != nil {
		h.t.Fatal(err)
	}
}

// govern records who is who, and approves the image and the model that are
// called good.
func (h *house) govern() {
	at := statement.NewTime(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	var people []statement.IdentityItem
	for _, name := range []string{"rita", "sam"} {
		people = append(people, statement.IdentityItem{Ref: "person:" + name + "@acme.example", MemberOf: []string{"team:" + name}})
	}
	people = append(people, statement.IdentityItem{Ref: "sa:shop/scorer", Owner: "person:ci@acme.example"})
	h.say("ci", &statement.Identity{Mode: "event", Source: "hr", At: at, Items: people}, thing("team:risk", ""))
	for _, x := range []struct{ ref, content string }{{"image:acme/good@1", "good"}, {"image:acme/bad@1", "bad"}, {"model:fraud@1", "fraud-1"}, {"model:fraud@2", "fraud-2"}} {
		h.say("ci", &statement.Entity{State: "registered", Owner: "person:ci@acme.example", Origin: "https://acme.example", At: at}, thing(x.ref, x.content))
	}
	for _, s := range []statement.Subject{thing("image:acme/good@1", "good"), thing("model:fraud@1", "fraud-1")} {
		for who, review := range map[string]string{"rita": "security", "sam": "risk"} {
			h.say(who, &statement.Approval{Decision: statement.Approve, Approver: "person:" + who + "@acme.example", Review: review,
				Environments: []string{"env:prod"}, Log: "acme.example/log", DecidedAt: at}, s)
		}
	}
}

func (h *house) serve(change func(*Options)) {
	o := Options{Workspace: h.w, Key: h.keys["ci"], Environment: "prod", Policies: []string{"library:two-person"}}
	if change != nil {
		change(&o)
	}
	cert, key, pool := certificate(h.t)
	t, err := TLS(cert, key, "")
	if err != nil {
		h.t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(h.t.Context())
	h.stop, h.url = stop, "https://"+l.Addr().String()
	h.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	go func() { h.ended <- New(o).Serve(ctx, l, t) }()
	h.t.Cleanup(stop)
}

// certificate makes a certificate for 127.0.0.1 in two files.
func certificate(t *testing.T) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "stemma"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	kb, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key, pool = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), x509.NewCertPool()
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool.AppendCertsFromPEM(text)
	if err := os.WriteFile(cert, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kb}), 0o600); err != nil {
		t.Fatal(err)
	}
	return cert, key, pool
}

func (h *house) post(body []byte) (int, string) {
	h.t.Helper()
	r, err := h.client.Post(h.url+"/validate?timeout=10s", "application/json", bytes.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return r.StatusCode, string(text)
}

func (h *house) size() int64 {
	h.t.Helper()
	head, err := h.w.Log.Head(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	return head.Size
}

// answer posts a review that must be answered.
func (h *house) answer(body string) response {
	h.t.Helper()
	code, text := h.post([]byte(body))
	var r review
	if code != 200 {
		h.t.Fatalf("answered %d: %s", code, text)
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil || r.Response == nil || r.APIVersion != apiVersion || r.Kind != reviewKind {
		h.t.Fatalf("the answer is no AdmissionReview: %v: %s", err, text)
	}
	if r.Response.UID != "705ab4f5-6393-11e8-b7cc-42010a800002" {
		h.t.Fatalf("the answer is to another request: %s", text)
	}
	return *r.Response
}

// request gives a review as an API server sends it, with the fields that are
// not read among those that are.
func reviewOf(kind, operation, object, more string) string {
	group, version, resource := "", "v1", "pods"
	switch kind {
	case "Pod", "ReplicationController", "ConfigMap":
	case "Job", "CronJob":
		group = "batch"
	case "Scale":
		group = "autoscaling"
	default:
		group = "apps"
	}
	return fmt.Sprintf(`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{
"uid":"705ab4f5-6393-11e8-b7cc-42010a800002",
"kind":{"group":%[1]q,"version":%[2]q,"kind":%[3]q},"resource":{"group":%[1]q,"version":%[2]q,"resource":%[4]q},
"requestKind":{"group":%[1]q,"version":%[2]q,"kind":%[3]q},"requestResource":{"group":%[1]q,"version":%[2]q,"resource":%[4]q},
"name":"scorer","namespace":"shop","operation":%[5]q,
"userInfo":{"username":"system:serviceaccount:kube-system:replicaset-controller","uid":"0a1b","groups":["system:serviceaccounts","system:authenticated"]},
"object":%[6]s%[7]s,"options":{"kind":"CreateOptions","apiVersion":"meta.k8s.io/v1"}}}`, group, version, kind, resource, operation, object, more)
}

// pod gives a Pod as it is defaulted by an API server, cut to some of its fields.
func pod(refs string, images ...string) string {
	var cs []string
	for i, im := range images {
		cs = append(cs, fmt.Sprintf(`{"name":"c%d","image":%q,"resources":{},"imagePullPolicy":"IfNotPresent","terminationMessagePath":"/dev/termination-log"}`, i, im))
	}
	return fmt.Sprintf(`{"kind":"Pod","apiVersion":"v1","metadata":%s,"spec":{"volumes":[{"name":"kube-api-access-x","projected":{"sources":[],"defaultMode":420}}],
"containers":[%s],"restartPolicy":"Always","serviceAccountName":"scorer","serviceAccount":"scorer","priority":0},"status":{"phase":"Pending"}}`, meta(refs), strings.Join(cs, ","))
}

func meta(refs string) string {
	if refs == "" {
		return `{"generateName":"scorer-","namespace":"shop","labels":{"app":"scorer"}}`
	}
	text, err := json.Marshal(refs)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`{"generateName":"scorer-","namespace":"shop","annotations":{"stemma.dev/ref":%s}}`, text)
}

func (r response) said() string {
	if r.Status == nil {
		return strings.Join(r.Warnings, "\n")
	}
	return r.Status.Message
}

func wants(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("it does not say %q:\n%s", p, text)
		}
	}
}

func TestAllowed(t *testing.T) {
	h := newHouse(t, nil)
	before := h.size()
	r := h.answer(reviewOf("Pod", "CREATE", pod("model:fraud@1", image("good")), ""))
	if !r.Allowed || r.Status != nil || len(r.Warnings) > 0 {
		t.Fatalf("not allowed: %+v", r)
	}
	if got := h.size() - before; got != 2 {
		t.Errorf("%d verdicts were recorded, of an image and a model", got)
	}
	g, _, err := h.w.Graph(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v := g.At(prov.Now)
	id := v.Lookup(prov.DigestRef("sha256", sha("good")))
	if got := v.Attributes(id)["statement"]; got != "https://slsa.dev/verification_summary/v1" {
		t.Errorf("of the image the graph tells the statement %q", got)
	}
}

func TestDenied(t *testing.T) {
	h := newHouse(t, nil)
	r := h.answer(reviewOf("Pod", "CREATE", pod("model:fraud@2", image("good"), image("bad")), ""))
	if r.Allowed || r.Status == nil || r.Status.Code != 403 || r.Status.Reason != "Forbidden" {
		t.Fatalf("not denied: %+v", r)
	}
	want := "Stemma: deny\n" +
		"✗ denied: image:acme/bad@1 in prod by library:two-person (container c1, image " + image("bad") + ")\n" +
		"  security-review is violated: 0 of 1 approvals for the security review count\n" +
		"    mend: stemma approve image:acme/bad@1 --review security --env prod\n" +
		"  risk-review is violated: 0 of 1 approvals for the risk review count\n" +
		"    mend: stemma approve image:acme/bad@1 --review risk --env prod\n" +
		"  two-people is violated: the approvals for security and risk are not of different people\n" +
		"    mend: stemma approve image:acme/bad@1 --review risk --env prod, by another person\n" +
		"  more: stemma gate sha256:" + sha("bad") + " --env prod --dry-run\n"
	if got, _, _ := strings.Cut(r.Status.Message, "✗ denied: model"); got != want {
		t.Error(cmp.Diff(want, got))
	}
	wants(t, r.Status.Message, "✗ denied: model:fraud@2 in prod by library:two-person (annotation stemma.dev/ref)")
}

func TestUndecided(t *testing.T) {
	for _, open := range []bool{false, true} {
		h := newHouse(t, func(o *Options) { o.FailOpen = open })
		for _, c := range []struct{ review, says string }{
			{reviewOf("Pod", "CREATE", pod("", "registry.example/acme/good:1.0"), ""), "name it by digest"},
			{reviewOf("Pod", "CREATE", pod("", "good@sha256:1234"), ""), "64 lower-case hexadecimal digits"},
			{reviewOf("Pod", "CREATE", pod("", image("nobody-knows")), ""), "no entry of the log tells of sha256:"},
			{reviewOf("Pod", "CREATE", pod("model:fr\x1b[31maud@9", image("good")), ""), "annotation stemma.dev/ref"},
			{reviewOf("Pod", "CREATE", pod("", ""), ""), "name it by digest"},
			{reviewOf("Pod", "CREATE", `{"kind":"Pod","spec":{"containers":[]}}`, ""), "it names no image"},
			{reviewOf("Pod", "CREATE", `{"kind":"Pod","spec":{"containers":"x"}}`, ""), "pod shop/scorer"},
			{reviewOf("Pod", "CREATE", `null`, ""), "it names no image"},
			{reviewOf("ConfigMap", "CREATE", `{"kind":"ConfigMap"}`, ""), "ConfigMap is not a kind that makes Pods"},
			{reviewOf("Scale", "UPDATE", `{"kind":"Scale"}`, `,"subResource":"scale"`), "subresource scale"},
			{reviewOf("Pod", "CONNECT", `{"kind":"PodExecOptions"}`, `,"subResource":"exec"`), "operation CONNECT"},
		} {
			r := h.answer(c.review)
			if r.Allowed != open {
				t.Errorf("fail open is %v, allowed is %v: %s", open, r.Allowed, r.said())
			}
			wants(t, strings.Join(r.Warnings, "")+r.said(), "undecided")
			if open {
				wants(t, r.said(), "let pass by --fail open")
			} else {
				wants(t, r.said(), c.says)
			}
			if strings.Contains(r.said(), "\x1b") {
				t.Errorf("it says what moves a terminal: %q", r.said())
			}
		}
		if r := h.answer(reviewOf("Pod", "CREATE", pod("model:fraud@2", "tag-only:1"), "")); r.Allowed {
			t.Error("what is denied passes because something else is undecided")
		}
		h.stop()
		<-h.ended
	}
}

// Every kind that makes Pods is read, and every place where a Pod names images.
func TestKinds(t *testing.T) {
	h := newHouse(t, func(o *Options) { o.DryRun = true })
	template := func(ref string) string {
		return `{"metadata":` + meta(ref) + `,"spec":{"serviceAccountName":"scorer","initContainers":[{"name":"init","image":"init:1"}],"containers":[{"name":"main","image":"main:1"}],
"ephemeralContainers":[{"name":"debug","image":"debug:1"}],"volumes":[{"name":"weights","image":{"reference":"weights:1","pullPolicy":"Always"}}]}}`
	}
	all := []string{"container main", "init container init", "ephemeral container debug", "volume weights"}
	for _, kind := range []string{"Pod", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job", "CronJob"} {
		object := `{"kind":"` + kind + `","metadata":` + meta("model:outer@1") + `,"spec":{"replicas":1,"selector":{},"template":` + template("model:inner@1, model:inner@2") + `}}`
		names := []string{"model:inner@1", "model:inner@2", "model:outer@1"}
		switch kind {
		case "Pod":
			object = template("model:inner@1, model:inner@2")
			names = names[:2]
		case "CronJob":
			object = `{"kind":"CronJob","metadata":` + meta("model:outer@1") + `,"spec":{"schedule":"* * * * *","jobTemplate":{"metadata":{},"spec":{"template":` + template("model:inner@1, model:inner@2") + `}}}}`
		}
		r := h.answer(reviewOf(kind, "CREATE", object, ""))
		if !r.Allowed {
			t.Errorf("%s: a dry run denied", kind)
		}
		wants(t, r.said(), all...)
		for _, n := range names {
			wants(t, r.said(), "no entry of the log tells of "+n)
		}
		if len(r.Warnings) != len(all)+len(names) {
			t.Errorf("%s: %d warnings:\n%s", kind, len(r.Warnings), r.said())
		}
		for _, w := range r.Warnings {
			if len(w) > 120 || !strings.HasPrefix(w, "dry run: ") {
				t.Errorf("warning of %d bytes: %s", len(w), w)
			}
		}
	}
}

func TestDryRunRecordsNothing(t *testing.T) {
	h := newHouse(t, nil)
	before := h.size()
	if r := h.answer(reviewOf("Pod", "CREATE", pod("", image("good")), `,"dryRun":true`)); !r.Allowed {
		t.Errorf("denied: %s", r.said())
	}
	if r := h.answer(reviewOf("Pod", "CREATE", pod("", image("bad")), `,"dryRun":true`)); r.Allowed {
		t.Error("a dry run of the API server is decided as it would be, but was allowed")
	}
	if h.size() != before {
		t.Error("a verdict of a dry run was recorded")
	}
}

// What leaves the images as they were is not held up; what changes them is.
func TestUpdates(t *testing.T) {
	h := newHouse(t, nil)
	old := func(p string) string { return `,"oldObject":` + p }
	bad, good := pod("", image("bad")), pod("", image("good"))
	if r := h.answer(reviewOf("Pod", "UPDATE", bad, old(bad))); !r.Allowed {
		t.Errorf("an update that changes no image is held up: %s", r.said())
	}
	if r := h.answer(reviewOf("Pod", "UPDATE", bad, old(good))); r.Allowed {
		t.Error("an update to an image that is denied is allowed")
	}
	if r := h.answer(reviewOf("Pod", "UPDATE", pod("", image("good"), image("bad")), old(good)+`,"subResource":"ephemeralcontainers"`)); r.Allowed {
		t.Error("a container that is added is not looked at")
	}
	if r := h.answer(reviewOf("Pod", "DELETE", "null", old(bad))); !r.Allowed {
		t.Error("a deletion is held up")
	}
}

func TestEnvironments(t *testing.T) {
	h := newHouse(t, func(o *Options) { o.Environment = ""; o.Namespaces = map[string]string{"shop": "test"} })
	r := h.answer(reviewOf("Pod", "CREATE", pod("", image("good")), ""))
	if r.Allowed {
		t.Error("approvals for prod count for test")
	}
	wants(t, r.said(), "it is for env:prod, not for test")
	other := strings.Replace(reviewOf("Pod", "CREATE", pod("", image("good")), ""), `"namespace":"shop","operation"`, `"namespace":"other","operation"`, 1)
	wants(t, h.answer(other).said(), "no environment is known for it; start stemma serve with --env ENV or --namespace-env other=ENV")
}

func TestNoPolicyInForce(t *testing.T) {
	h := newHouse(t, func(o *Options) { o.Policies = nil })
	r := h.answer(reviewOf("Pod", "CREATE", pod("", image("good")), ""))
	if r.Allowed {
		t.Error("allowed by no policy")
	}
	wants(t, r.said(), "no policy is in force for prod; put one in force with stemma policy add")
}

// What another process records is seen by the next request.
func TestFollowsTheLog(t *testing.T) {
	h := newHouse(t, nil)
	if r := h.answer(reviewOf("Pod", "CREATE", pod("", image("good")), "")); !r.Allowed {
		t.Fatal(r.said())
	}
	other, err := app.Open(t.Context(), h.w.Dir, app.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	revoke := &statement.Approval{Decision: statement.Revoke, Approver: "person:sam@acme.example", Review: "risk", Log: "acme.example/log"}
	if _, err := other.Say(t.Context(), h.keys["sam"], []statement.Subject{thing("image:acme/good@1", "good")}, revoke); err != nil {
		t.Fatal(err)
	}
	r := h.answer(reviewOf("Pod", "CREATE", pod("", image("good")), ""))
	if r.Allowed {
		t.Error("a revocation by another process is not seen")
	}
	wants(t, r.said(), "person:sam@acme.example took it back")
}

// Requests at once do not read the graph while another records (run with the
// race detector).
func TestAtOnce(t *testing.T) {
	h := newHouse(t, nil)
	before := h.size()
	const n = 8
	got := make(chan bool, n)
	for range n {
		go func() {
			r, err := h.client.Post(h.url+"/validate", "application/json", strings.NewReader(reviewOf("Pod", "CREATE", pod("", image("good")), "")))
			if err != nil {
				got <- false
				return
			}
			defer r.Body.Close()
			var a review
			got <- json.NewDecoder(r.Body).Decode(&a) == nil && a.Response != nil && a.Response.Allowed
		}()
	}
	for range n {
		if !<-got {
			t.Error("one was not allowed")
		}
	}
	if h.size() != before+n {
		t.Errorf("%d verdicts of %d are recorded", h.size()-before, n)
	}
}

func TestRefused(t *testing.T) {
	h := newHouse(t, nil)
	before := h.size()
	good := reviewOf("Pod", "CREATE", pod("", image("good")), "")
	for name, c := range map[string]struct {
		body, says string
		code       int
	}{
		"empty":         {"", "no AdmissionReview", 400},
		"no json":       {"{", "no AdmissionReview", 400},
		"cut":           {good[:len(good)/2], "no AdmissionReview", 400},
		"twice":         {strings.Replace(good, `"uid"`, `"uid":"x","uid"`, 1), "no AdmissionReview", 400},
		"v1beta1":       {strings.Replace(good, "admission.k8s.io/v1", "admission.k8s.io/v1beta1", 1), "name v1 in admissionReviewVersions", 400},
		"other kind":    {`{"kind":"Pod","apiVersion":"v1"}`, "the body is v1 Pod", 400},
		"no request":    {`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}`, "has no request", 400},
		"no uid":        {`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{}}`, "has no uid", 400},
		"deep":          {strings.Repeat("[", 100_000), "no AdmissionReview", 400},
		"too large":     {good + strings.Repeat(" ", maxBody), "larger than", 413},
		"object is not": {strings.Replace(good, `"object":{`, `"object":"x","x":{`, 1), "undecided", 200},
	} {
		if code, text := h.post([]byte(c.body)); code != c.code || !strings.Contains(text, c.says) {
			t.Errorf("%s: answered %d, want %d with %q: %s", name, code, c.code, c.says, text)
		}
	}
	for _, c := range []struct {
		method, path, content string
		code                  int
	}{{"GET", "/validate", "application/json", 405}, {"PUT", "/validate", "application/json", 405}, {"POST", "/validate", "text/plain", 415},
		{"POST", "/", "application/json", 404}, {"GET", "/livez", "", 200}, {"GET", "/readyz", "", 200}, {"POST", "/livez", "", 405}} {
		req, err := http.NewRequest(c.method, h.url+c.path, strings.NewReader(good))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", c.content)
		r, err := h.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if r.Body.Close(); r.StatusCode != c.code {
			t.Errorf("%s %s: answered %d, want %d", c.method, c.path, r.StatusCode, c.code)
		}
	}
	if h.size() != before {
		t.Error("what was refused left an entry")
	}
	old := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}}}
	if _, err := old.Get(h.url + "/livez"); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
}

func TestStops(t *testing.T) {
	h := newHouse(t, nil)
	if r := h.answer(reviewOf("Pod", "CREATE", pod("", image("good")), "")); !r.Allowed {
		t.Fatal(r.said())
	}
	h.stop()
	if err := <-h.ended; err != nil {
		t.Errorf("it stopped with %v", err)
	}
	if _, err := h.client.Get(h.url + "/livez"); err == nil {
		t.Error("it still answers")
	}
}

func FuzzReview(f *testing.F) {
	f.Add([]byte(reviewOf("Pod", "CREATE", pod("model:fraud@1", image("good"), "a:1"), "")))
	f.Add([]byte(reviewOf("CronJob", "UPDATE", `{"spec":{"jobTemplate":{"spec":{"template":`+pod("", "x@sha256:0")+`}}}}`, `,"oldObject":null`)))
	f.Add([]byte(`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u","kind":{"kind":"Pod"},"object":{"spec":{"volumes":[{"image":null}]}}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := parseReview(body)
		if err != nil {
			return
		}
		w, err := workloadOf(r.Kind, r.Namespace, r.Object)
		if err != nil {
			return
		}
		if len(w.things) == 0 || len(w.things) > maxThings {
			t.Errorf("%d things and no error", len(w.things))
		}
		for _, a := range w.things {
			if a.ref == "" && a.why == "" {
				t.Errorf("%s is neither asked nor explained", a.where)
			}
		}
	})
}
