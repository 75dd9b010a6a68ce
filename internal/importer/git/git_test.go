package git

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/importertest"
	"github.com/stemma-lineage/stemma/statement"
)

func readItems(t testing.TB, data []byte, o Options) []importer.Item {
	t.Helper()
	var out []importer.Item
	for it, err := range (Importer{o}).Read(importer.Source{Name: "-", R: bytes.NewReader(data)}) {
		if err != nil {
			t.Fatal(err)
		}
		importertest.Check(t, it)
		out = append(out, it)
	}
	return out
}

// said gives the statements of an Item without their evidence.
func said(it importer.Item) string {
	if it.Refusal != nil {
		return "refused, " + it.Refusal.Error() + "\n"
	}
	var b strings.Builder
	for _, d := range it.Statements {
		payload, err := statement.Format(d.Subjects, d.Predicate)
		if err != nil {
			return err.Error()
		}
		text := string(payload)
		_, text, _ = strings.Cut(text, `"predicate":`)
		text, _, _ = strings.Cut(text, `,"evidence":`)
		fmt.Fprintf(&b, "%s %s %v\n  %s\n", strings.TrimPrefix(d.Predicate.PredicateType(), statement.Base), d.Subjects[0].Name, d.Subjects[0].Digest,
			strings.NewReplacer(`","`, "\",\n   \"", `},{`, "},\n   {").Replace(text))
	}
	return b.String()
}

func summarise(b *strings.Builder, it importer.Item) {
	fmt.Fprintf(b, "%s: %s", it.Place, said(it))
	for _, n := range it.Notes {
		fmt.Fprintf(b, "note: %s\n", n)
	}
	if it.Refusal == nil {
		ev := statement.EvidenceOf(it.Statements[0].Predicate)[0]
		if ev.Verified != nil {
			fmt.Fprintf(b, "%s by %s (%s) %s\n", ev.Verified.Result, ev.Verified.By, ev.Verified.Identity, ev.Verified.Reason)
		}
		for _, p := range ev.Redacted {
			fmt.Fprintf(b, "redacted: %s\n", p)
		}
	}
}

// TestObjects shows what objects become, in testdata/objects/*.
func TestObjects(t *testing.T) {
	datadriven.Walk(t, filepath.Join("testdata", "objects"), func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var b strings.Builder
			for _, it := range readItems(t, []byte(strings.ReplaceAll(d.Input, "<>\n", "\n")), Options{}) {
				summarise(&b, it)
			}
			return b.String()
		})
	})
}

const tree = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n"

// signed gives a commit with a signature over it.
func signed(payload string, signature []byte) []byte {
	head, message, _ := strings.Cut(payload, "\n\n")
	sig := strings.ReplaceAll(strings.TrimSuffix(string(signature), "\n"), "\n", "\n ")
	return []byte(head + "\ngpgsig " + sig + "\n\n" + message)
}

func sshSign(t testing.TB, seed byte, payload, namespace string) (sig []byte, pub ssh.PublicKey) {
	t.Helper()
	s, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	x, err := sshsig.Sign(strings.NewReader(payload), s, sshsig.HashSHA512, namespace)
	if err != nil {
		t.Fatal(err)
	}
	return sshsig.Armor(x), s.PublicKey()
}

func trust(t testing.TB, pub ssh.PublicKey, options string) *statement.Trust {
	t.Helper()
	tr, err := statement.ParseTrust([]byte("person:ann@acme.example " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(pub))) + " " + options + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

const payload = tree + "author Ann <ann@Acme.Example> 1772355600 +0100\ncommitter Ann <ann@acme.example> 1772355601 +0100\n\nMessage\n"

// TestSSHSignatures: a good signature by a trusted key is verified, and by
// none other is; a broken one is called so whoever made it.
func TestSSHSignatures(t *testing.T) {
	sig, pub := sshSign(t, 1, payload, "git")
	_, other := sshSign(t, 2, payload, "git")
	foreign, _ := sshSign(t, 1, payload, "file")
	for _, c := range []struct {
		name    string
		payload string
		sig     []byte
		trust   *statement.Trust
		result  string
		reason  string
	}{
		{"trusted", payload, sig, trust(t, pub, ""), "verified", ""},
		{"nobody is trusted", payload, sig, nil, "unverified", "not in the trust list"},
		{"another is trusted", payload, sig, trust(t, other, ""), "unverified", "not in the trust list"},
		{"another payload", strings.Replace(payload, "Message", "Massage", 1), sig, trust(t, pub, ""), "failed", "does not verify"},
		{"another payload, nobody is trusted", strings.Replace(payload, "Message", "Massage", 1), sig, nil, "failed", "does not verify"},
		{"another namespace", payload, foreign, trust(t, pub, ""), "failed", `namespace "file"`},
		{"too early", payload, sig, trust(t, pub, "valid-from=2027-01-01T00:00:00Z"), "unverified", "valid only from"},
		{"too late", payload, sig, trust(t, pub, "valid-until=2026-03-01T09:00:01Z"), "unverified", "valid only until"},
		{"in time", payload, sig, trust(t, pub, "valid-until=2026-03-01T09:00:02Z"), "verified", ""},
		{"cut", payload, sig[:len(sig)/2], nil, "failed", "one armored block"},
		{"X.509", payload, []byte("-----BEGIN SIGNED MESSAGE-----\nAAAA\n-----END SIGNED MESSAGE-----\n"), nil, "unverified", "X.509"},
		{"OpenPGP", payload, []byte("-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n"), nil, "unverified", "no OpenPGP key"},
		{"none", payload, []byte("hello\n"), nil, "unverified", "not known"},
	} {
		it := readItems(t, signed(c.payload, c.sig), Options{Trust: c.trust})[0]
		if it.Refusal != nil {
			t.Fatal(c.name, it.Refusal)
		}
		v := statement.EvidenceOf(it.Statements[0].Predicate)[0].Verified
		if v == nil || v.Result != c.result || !strings.Contains(v.Reason, c.reason) || (v.Reason == "") != (c.result == "verified") {
			t.Errorf("%s: %+v", c.name, v)
		}
		signer := slices.Contains(it.Statements[0].Predicate.(*statement.Activity).Identities, statement.Party{Ref: "person:ann@acme.example", Role: "signer"})
		if signer != (c.result == "verified") {
			t.Errorf("%s: signer is %v", c.name, signer)
		}
	}
}

// TestOpenPGP: with the key given, a signature of a commit and of a tag.
func TestOpenPGP(t *testing.T) {
	at := time.Unix(1772355600, 0)
	config := &packet.Config{Time: func() time.Time { return at }, DefaultHash: crypto.SHA512}
	e, err := openpgp.NewEntity("Ann", "", "ann@acme.example", config)
	if err != nil {
		t.Fatal(err)
	}
	var ring bytes.Buffer
	w, err := armor.Encode(&ring, openpgp.PublicKeyType, nil)
	if err == nil {
		err = e.Serialize(w)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	sign := func(s string) []byte {
		var b bytes.Buffer
		if err := openpgp.ArmoredDetachSign(&b, e, strings.NewReader(s), config); err != nil {
			t.Fatal(err)
		}
		return append(b.Bytes(), '\n')
	}
	tag := "object " + strings.Repeat("a", 40) + "\ntype commit\ntag v1\ntagger Ann <ann@acme.example> 1772355601 +0100\n\nVersion 1\n"
	for _, c := range []struct {
		name   string
		raw    []byte
		ring   []byte
		result string
	}{
		{"commit", signed(payload, sign(payload)), ring.Bytes(), "verified"},
		{"tag", append([]byte(tag), sign(tag)...), ring.Bytes(), "verified"},
		{"no key", signed(payload, sign(payload)), nil, "unverified"},
		{"no key at all", signed(payload, sign(payload)), []byte("garbage"), "unverified"},
		{"other bytes", signed(strings.Replace(payload, "Mess", "mess", 1), sign(payload)), ring.Bytes(), "failed"},
	} {
		it := readItems(t, c.raw, Options{OpenPGP: c.ring})[0]
		if it.Refusal != nil {
			t.Fatal(c.name, it.Refusal)
		}
		v := statement.EvidenceOf(it.Statements[0].Predicate)[0].Verified
		if v == nil || v.Result != c.result || !strings.Contains(v.By, fmt.Sprintf("%X", e.PrimaryKey.Fingerprint)) {
			t.Errorf("%s: %+v", c.name, v)
		}
	}
}

// TestRepository reads a repository that git made: by its HEAD, by the stream
// of git cat-file and by git log, with the same outcome.
func TestRepository(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		if os.Getenv("STEMMA_TEST_REQUIRE") == "all" {
			t.Fatal("git is missing; install it")
		}
		t.Skip("git is missing")
	}
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{3}, 32))
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err == nil {
		err = os.WriteFile(key, pem.EncodeToMemory(block), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	repo := filepath.Join(dir, "repo")
	run := func(args ...string) []byte {
		t.Helper()
		c := exec.Command("git", append([]string{"-C", repo, "-c", "user.name=Ann", "-c", "user.email=ann@acme.example", "-c", "gpg.format=ssh", "-c", "user.signingkey=" + key}, args...)...)
		c.Env = append(os.Environ(), "GIT_AUTHOR_DATE=1772355600 +0100", "GIT_COMMITTER_DATE=1772355601 +0100", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "HOME="+dir)
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return out
	}
	if err := os.Mkdir(repo, 0o700); err != nil {
		t.Fatal(err)
	}
	run("init", "-q", "-b", "main")
	run("remote", "add", "origin", "git@Forge.example:acme/fraud.git")
	run("commit", "-q", "--allow-empty", "-m", "first\n\nReviewed-by: Rita <rita@acme.example>")
	withKeys := 0
	if _, err := exec.LookPath("ssh-keygen"); err == nil {
		run("commit", "-q", "-S", "--allow-empty", "-m", "second, signed")
		run("tag", "-s", "-m", "version 1", "v1")
		withKeys = 2
	} else if os.Getenv("STEMMA_TEST_REQUIRE") == "all" {
		t.Fatal("ssh-keygen is missing; install it")
	}
	run("tag", "-a", "-m", "plain", "v0", "HEAD")
	o := Options{Trust: trust(t, signer.PublicKey(), "")}
	var items []importer.Item
	head := filepath.Join(repo, ".git", "HEAD")
	f, err := os.Open(head)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for it, err := range (Importer{o}).Read(importer.Source{Name: head, Path: head, R: f}) {
		if err != nil {
			t.Fatal(err)
		}
		importertest.Check(t, it)
		items = append(items, it)
	}
	verified := 0
	var all []string
	for _, it := range items {
		if it.Refusal != nil {
			t.Fatal(it.Refusal)
		}
		if !strings.Contains(said(it), "code:https://forge.example/acme/fraud") {
			t.Errorf("%s", said(it))
		}
		if v := statement.EvidenceOf(it.Statements[0].Predicate)[0].Verified; v != nil && v.Result == statement.CheckVerified {
			verified++
		}
		all = append(all, strings.ReplaceAll(said(it), "https://forge.example/acme/fraud", "git"))
	}
	if want := 2 + withKeys; len(items) != want || verified != withKeys || len(items[0].Covers) < 5 {
		t.Fatalf("%d items, want %d; %d verified, want %d; covers %v", len(items), want, verified, withKeys, items[0].Covers)
	}
	var log []string
	for _, it := range readItems(t, run("log", "--format=raw", "--reverse"), o) {
		log = append(log, said(it))
	}
	commits := slices.DeleteFunc(slices.Clone(all), func(s string) bool { return strings.HasPrefix(s, "registry") })
	if diff := cmp.Diff(commits, log); diff != "" {
		t.Errorf("git log says otherwise than the repository: %s", diff)
	}
	for _, it := range items { // the evidence gives the same again
		again := readItems(t, it.Evidence, o)
		if len(again) != 1 || said(again[0]) != said(it) {
			t.Errorf("%s read again gives %s", said(it), said(again[0]))
		}
	}
}

// FuzzRead: whatever the bytes, each Item keeps the contract, and reading its
// evidence again gives the same statements.
func FuzzRead(f *testing.F) {
	sig, _ := sshSign(f, 1, payload, "git")
	f.Add(signed(payload, sig))
	f.Add([]byte(payload))
	if files, err := filepath.Glob(filepath.Join("testdata", "objects", "*")); err == nil {
		for _, name := range files {
			if data, err := os.ReadFile(name); err == nil {
				for _, part := range bytes.Split(data, []byte("\n----\n")) {
					if _, in, ok := bytes.Cut(part, []byte("read\n")); ok {
						f.Add(in)
					}
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			t.Skip()
		}
		for _, it := range readItems(t, data, Options{}) {
			if it.Refusal != nil {
				continue
			}
			again := readItems(t, it.Evidence, Options{})
			if len(again) != 1 || again[0].Refusal != nil {
				t.Fatalf("%q read again gives %+v", it.Evidence, again)
			}
			if diff := cmp.Diff(said(it), said(again[0])); diff != "" {
				t.Fatalf("%q read again gives other statements:\n%s", it.Evidence, diff)
			}
		}
	})
}

// TestRecognise: commits, tags, streams and a HEAD are claimed, and none of the
// real inputs of other formats.
func TestRecognise(t *testing.T) {
	name := strings.Repeat("a", 40)
	for in, want := range map[string]bool{
		payload:                              true,
		"object " + name + "\ntype commit\n": true,
		"commit " + name + " (HEAD)\ntree " + name + "\n": true,
		name + " commit 12\ntree " + name + "\n":          true,
		name + " blob 12\nhello":                          false,
		"tree of life\nauthor x\n":                        false,
		"commit " + name + "\nAuthor: x\n":                false,
		"":                                                false,
	} {
		if got := (Importer{}).Recognise(importer.NewHead("x", int64(len(in)), []byte(in))); got != want {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
	for path, want := range map[string]bool{"r/.git/HEAD": true, "HEAD": true, "r.git/HEAD": true, "r/HEAD": false, "r/.git/ORIG": false} {
		if got := (Importer{}).Recognise(importer.NewHead(path, 21, []byte("ref: refs/heads/main\n"))); got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
	dir := os.Getenv("STEMMA_FIXTURES")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "fixtures")
	}
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("STEMMA_TEST_REQUIRE") == "all" {
			t.Fatalf("the fixtures are missing: %v; set STEMMA_FIXTURES", err)
		}
		t.Skipf("the fixtures are missing: %v; set STEMMA_FIXTURES", err)
	}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err == nil && (Importer{}).Recognise(importer.NewHead(filepath.ToSlash(path), int64(len(data)), data[:min(len(data), importer.HeadSize)])) {
			t.Errorf("claims %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
