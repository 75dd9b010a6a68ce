// Package vectors holds bundles of completeness proofs, good and bad, as
// files, for every program that verifies them.
package vectors

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/stemma-lineage/stemma/bundle"
	"github.com/stemma-lineage/stemma/internal/proof"
	"github.com/stemma-lineage/stemma/internal/prooftest"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
	"github.com/stemma-lineage/stemma/vindex"
)

var update = flag.Bool("update", false, "write the vectors anew")

// Vector is one file and what a verifier must say of it.
type Vector struct {
	File string `json:"file"`
	What string `json:"what"` // for people
	// Verdict is that of a bundle that holds; empty for one that does not.
	Verdict proof.Verdict `json:"verdict,omitempty"`
	// Fails is part of what a verifier says first of one that does not hold.
	Fails string `json:"fails,omitempty"`
}

func day(d int) time.Time { return time.Date(2026, 1, d, 9, 0, 0, 0, time.UTC) }

func at(d int) statement.Time { return statement.NewTime(day(d)) }

func named(s string, digest statement.DigestSet) statement.Subject {
	r, err := prov.ParseRef(s)
	if err != nil {
		panic(err)
	}
	return statement.NewSubject(r, digest)
}

func sha(c string) statement.DigestSet {
	return statement.DigestSet{"sha256": strings.Repeat(c, 64)}
}

func act(kind, id string, d int, used ...statement.Resource) *statement.Activity {
	a := &statement.Activity{Kind: kind, ID: "activity:" + id, StartedAt: at(d), EndedAt: statement.NewTime(day(d).Add(time.Hour)), State: "completed",
		InputsCompleteness: statement.Observed}
	for _, u := range used {
		a.Used = append(a.Used, statement.Use{Resource: u})
	}
	return a
}

func res(ref string, d statement.DigestSet) statement.Resource {
	return statement.Resource{Ref: ref, Digest: d}
}

// history is a small log: entry 0 makes dataset:tx@1, entry 2 trains model:m@1
// with it, entry 3 says that dataset:copy@1 is the same, which entry 5 uses.
func history(t testing.TB) [][]byte {
	t.Helper()
	var out [][]byte
	add := func(d int, p statement.Predicate, subjects ...statement.Subject) {
		c, err := prooftest.Content(day(d).Add(2*time.Hour), p, subjects...)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
	add(1, act("collect", "collect", 1), named("dataset:tx@1", sha("a")))                                                                                                         // 0
	add(2, &statement.Entity{State: "registered", At: at(2), Owner: "team:t"}, named("dataset:unused@1", nil))                                                                    // 1
	add(3, act("train", "train", 3, res("dataset:tx@1", sha("a"))), named("model:m@1", sha("b")))                                                                                 // 2
	add(4, &statement.Entity{State: "same-as", At: at(4), SameAs: []statement.Resource{res("", sha("a"))}}, named("dataset:copy@1", nil))                                         // 3
	add(5, &statement.Approval{Decision: "approve", ID: "approval:1", Approver: "person:ann", Review: "risk", Role: "role:risk", DecidedAt: at(5)}, named("model:m@1", sha("b"))) // 4
	add(6, act("transform", "reuse", 6, res("dataset:copy@1", nil)), named("featureset:f@1", sha("c")))                                                                           // 5
	add(7, act("evaluate", "early", 2, res("dataset:tx@1", sha("a"))), named("document:d@1", nil))                                                                                // 6
	add(8, act("train", "wrong", 8, res("dataset:unused@1", nil)), named("model:w@1", nil))                                                                                       // 7
	add(9, &statement.Retraction{Entry: 7, Reason: "it used another"}, named("model:w@1", nil))                                                                                   // 8
	add(10, &statement.Notice{Kind: "compromised", ID: "notice:1", Since: at(1), At: at(10)}, named("dataset:tx@1", sha("a")))                                                    // 9
	return out
}

func ask(verb, ref string) proof.Question {
	return proof.Question{Verb: verb, Thing: proof.Thing{Ref: ref}, Accept: statement.Observed}
}

func after(q proof.Question, d int, size uint64) proof.Question {
	q.After, q.Size = prov.At(day(d)).String(), size
	return q
}

type maker struct {
	t     testing.TB
	files map[string][]byte
	list  []Vector
}

func (m *maker) log(o prooftest.Options, contents [][]byte) *prooftest.Log {
	m.t.Helper()
	l, err := prooftest.New(contents, o)
	if err != nil {
		m.t.Fatal(err)
	}
	return l
}

func (m *maker) good(l *prooftest.Log, name, what string, q proof.Question) []byte {
	m.t.Helper()
	p, err := l.Prove(q)
	if err != nil {
		m.t.Fatal(err)
	}
	b, a, _, err := bundle.WriteProof(p, l.Verifier)
	if err != nil {
		m.t.Fatal(err)
	}
	m.files["good/"+name+".zip"] = b
	m.list = append(m.list, Vector{File: "good/" + name + ".zip", What: what, Verdict: a.Verdict})
	return b
}

func (m *maker) bad(name, what, fails string, members []prooftest.Member) {
	m.t.Helper()
	b, err := prooftest.Zip(members)
	if err != nil {
		m.t.Fatal(err)
	}
	m.files["bad/"+name+".zip"] = b
	m.list = append(m.list, Vector{File: "bad/" + name + ".zip", What: what, Fails: fails})
}

// changed gives the members of a bundle, with one changed; nil takes it out.
func (m *maker) changed(b []byte, name string, f func([]byte) []byte) []prooftest.Member {
	m.t.Helper()
	members, err := prooftest.Members(b)
	if err != nil {
		m.t.Fatal(err)
	}
	i := slices.IndexFunc(members, func(x prooftest.Member) bool { return x.Name == name })
	if i < 0 {
		m.t.Fatalf("there is no member %s", name)
	}
	data := f(members[i].Data)
	if data == nil {
		return slices.Delete(members, i, i+1)
	}
	if bytes.Equal(data, members[i].Data) {
		m.t.Fatalf("%s was not changed", name)
	}
	members[i].Data = data
	return members
}

func (m *maker) unchecked(l *prooftest.Log, q proof.Question, size uint64) []prooftest.Member {
	m.t.Helper()
	p, err := l.ProveAt(q, size)
	if err != nil {
		m.t.Fatal(err)
	}
	members, err := prooftest.Unchecked(p)
	if err != nil {
		m.t.Fatal(err)
	}
	return members
}

func replace(old, with string) func([]byte) []byte {
	return func(b []byte) []byte { return bytes.Replace(b, []byte(old), []byte(with), 1) }
}

func vectors(t testing.TB) (*maker, *prooftest.Log) {
	m := &maker{t: t, files: map[string][]byte{}}
	h := history(t)
	l := m.log(prooftest.Options{}, h)
	tx := ask(proof.Unused, "dataset:tx@1")
	used := m.good(l, "used", "a use recorded and dated after T, by another name of the content", after(tx, 5, 4))
	m.good(l, "inconclusive-late", "a use recorded after T that claims to have been before", after(tx, 7, 6))
	m.good(l, "not-after", "all uses before T", after(tx, 9, 8))
	m.good(l, "ever", "the question without T", tx)
	size := tx
	size.Size = 8
	m.good(l, "not-after-size", "T as a log size", size)
	m.good(l, "absent-retracted", "the only use was retracted", ask(proof.Unused, "dataset:unused@1"))
	m.good(l, "absent-unnamed", "a name that no entry has", ask(proof.Unused, "dataset:never@1"))
	m.good(l, "blast", "all that was made with it", ask(proof.Blast, "dataset:tx@1"))
	series := ask(proof.Blast, "dataset:tx")
	series.Versions = true
	m.good(l, "blast-series", "all that was made with any version", series)
	m.good(l, "why", "all that it was made from", ask(proof.Why, "model:m@1"))
	m.good(l, "approvals", "all decisions", ask(proof.Approvals, "model:m@1"))
	m.good(l, "approvals-none", "no decision", ask(proof.Approvals, "featureset:f@1"))
	odd := m.log(prooftest.Options{}, append(slices.Clone(h), unread(t)))
	m.good(odd, "inconclusive-unreadable", "an entry that cannot be read", after(tx, 9, 8))
	m.dishonest(l, h, after(tx, 5, 4))
	m.tampered(l, used)
	return m, l
}

// unread is an entry of a predicate type that nobody here understands.
func unread(t testing.TB) []byte {
	env, err := statement.Unsigned([]byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"x","digest":{"sha1":"00"}}],"predicateType":"https://example.com/odd/v1","predicate":{}}`))
	if err == nil {
		env, err = statement.FormatEntry(statement.Entry{RecordedAt: day(11), RecordedBy: "person:ann", Envelope: env})
	}
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// dishonest logs: their operator lies, and signs what he says.
func (m *maker) dishonest(l *prooftest.Log, h [][]byte, q proof.Question) {
	without := func(entry uint64, rel vindex.Relation, x string) prooftest.Options {
		return prooftest.Options{Keys: func(i uint64, content []byte) []vindex.Key {
			return slices.DeleteFunc(vindex.Keys(content), func(k vindex.Key) bool { return i == entry && k == vindex.KeyOf(rel, x) })
		}}
	}
	a := "sha256:" + strings.Repeat("a", 64)
	size := l.Sealed + 1
	m.bad("hidden-consumer", "the index leaves a use out of one list, but the entry stands in another", "entry 2 is missing in the list used-by "+a,
		m.unchecked(m.log(without(2, vindex.UsedBy, a), h), q, size))
	m.bad("hidden-alias", "the index leaves out that another name is the same, on one side", "entry 3 is missing in the list tied-to dataset:copy@1",
		m.unchecked(m.log(without(3, vindex.TiedTo, "dataset:copy@1"), h), q, size))
	m.bad("false-key", "the index puts an entry into a list that it does not belong to", "has not this key",
		m.unchecked(m.log(prooftest.Options{Keys: func(i uint64, content []byte) []vindex.Key {
			ks := vindex.Keys(content)
			if i == 1 {
				ks = append(ks, vindex.KeyOf(vindex.UsedBy, a))
			}
			return ks
		}}, h), q, size))
	m.bad("stale-root", "the root covers fewer entries than there are before it", "the index covers 8 entries, and not the 10 before it",
		m.unchecked(m.log(prooftest.Options{Covers: 8}, h), q, size))
	m.bad("unsigned-root", "somebody else who may record tells a root of the index", "the log's key has not signed it",
		m.unchecked(m.log(prooftest.Options{Unsigned: true}, h), q, size))
	tail := m.log(prooftest.Options{Tail: [][]byte{h[9]}}, h)
	m.bad("truncated-tail", "an entry follows the one that tells the root", "does not tell the root of the index", m.unchecked(tail, q, size+1))
	m.bad("descending-list", "the index has its lists in another order", "does not ascend", m.unchecked(m.log(prooftest.Options{Order: slices.Reverse[[]uint64]}, h), q, size))
	m.bad("foreign-checkpoint", "the checkpoint is signed with another key under the same name", "checkpoint: ",
		m.unchecked(m.log(prooftest.Options{Seed: 1}, h), q, size))
	other := m.log(prooftest.Options{}, h[:9])
	p, err := other.Prove(q)
	if err != nil {
		m.t.Fatal(err)
	}
	mine, err := l.Prove(q)
	if err != nil {
		m.t.Fatal(err)
	}
	mine.Index = p.Index
	members, err := prooftest.Unchecked(mine)
	if err != nil {
		m.t.Fatal(err)
	}
	m.bad("other-map", "the proof is of the map of an earlier log", "it does not lead to the root", members)
	// A present key, proved absent: the tree of an index without it.
	p, err = m.log(without(5, vindex.UsedBy, "dataset:copy@1"), h).Prove(q)
	if err != nil {
		m.t.Fatal(err)
	}
	mine.Index = p.Index
	delete(mine.Lists, bundle.ListName{Relation: vindex.UsedBy, Of: "dataset:copy@1"})
	if members, err = prooftest.Unchecked(mine); err != nil {
		m.t.Fatal(err)
	}
	m.bad("absent-for-present", "a key of the index is proved absent from another tree", "it does not lead to the root", members)
}

// tampered bundles: somebody changed a good one.
func (m *maker) tampered(l *prooftest.Log, good []byte) {
	drop := func([]byte) []byte { return nil }
	copies := `{"relation":"used-by","of":"dataset:copy@1","entries":[5]},`
	for _, x := range []struct {
		name, what, fails, member string
		f                         func([]byte) []byte
	}{
		{"dropped-entry", "an entry was taken out, and its number", "entry 5 is missing", "entries/5.json", drop},
		{"dropped-number", "an entry's number was taken out of the list", "entry 5 is missing", "bundle.json", replace(",5,", ",")},
		{"dropped-root", "the entry with the root was taken out", "entry 10 is missing", "entries/10.json", drop},
		{"dropped-list", "a list was taken out", "the list used-by dataset:copy@1 is missing", "index/lists.json", replace(copies, "")},
		{"dropped-item", "an item was taken out of a list", "is not the one that the index has", "index/lists.json", replace(`"entries":[5]`, `"entries":[]`)},
		{"reordered-list", "two items of a list changed places", "is not the one that the index has", "index/lists.json", replace("[0,2,3,6,9]", "[2,0,3,6,9]")},
		{"edited-verdict", "the verdict was changed", "answer.json is not what the entries say", "answer.json", replace(`"verdict":"USED"`, `"verdict":"PROVEN-NOT-AFTER"`)},
		{"edited-summary", "the words were changed", "summary.txt is not what the entries say", "summary.txt", replace("USED", "PROVEN-NOT-AFTER")},
		{"edited-page", "the page was changed", "index.html is not what the entries say", "index.html", replace("yes:", "no:")},
		{"edited-entry", "an entry was changed", "entry 5 is not in the log of the checkpoint", "entries/5.json", replace("2026-01-06", "2026-01-04")},
		{"edited-size", "the number of entries before T was changed", "entries were recorded before", "question.json", replace(`"size":4`, `"size":5`)},
		{"edited-question", "the question is about another thing", "index/", "question.json", replace("dataset:tx@1", "dataset:unused@1")},
		{"edited-inclusion", "an inclusion proof was changed", "entry 2 is not in the log of the checkpoint", "proofs/2.txt", func(b []byte) []byte { return b[:len(b)-45] }},
		{"edited-root", "the checkpoint tells another root", "checkpoint: ", "checkpoint", func(b []byte) []byte {
			lines := strings.Split(string(b), "\n")
			lines[2] = "AAAA" + lines[2][4:]
			return []byte(strings.Join(lines, "\n"))
		}},
		{"cut-proof", "the tree was cut short", "index/proof: ", "index/proof", func(b []byte) []byte { return b[:len(b)-1] }},
		{"other-format", "the format is not known", "bundle.json: ", "bundle.json", replace("stemma-bundle/v2", "stemma-bundle/v9")},
	} {
		m.bad(x.name, x.what, x.fails, m.changed(good, x.member, x.f))
	}
	members, err := prooftest.Members(good)
	if err != nil {
		m.t.Fatal(err)
	}
	m.bad("extra-member", "a file was added", "", append(members, prooftest.Member{Name: "note.txt", Data: []byte("all is well\n")}))
	b := slices.Clone(good)
	b[12] ^= 1 // the date of the first file
	m.files["bad/container.zip"] = b
	m.list = append(m.list, Vector{File: "bad/container.zip", What: "a date in the zip container was changed", Fails: "bytes of the zip container were changed"})
}

// TestVectors makes the vectors and compares them with the files.
func TestVectors(t *testing.T) {
	m, l := vectors(t)
	list, err := json.MarshalIndent(map[string]any{"key": l.Key, "vectors": m.list}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	m.files["vectors.json"] = append(list, '\n')
	for name, want := range m.files {
		if *update {
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, want, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what is made now (%v); go test ./vectors -update writes it", name, err)
		}
	}
}

func read(t *testing.T) (string, []Vector) {
	t.Helper()
	data, err := os.ReadFile("vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Key     string
		Vectors []Vector
	}
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	return f.Key, f.Vectors
}

// TestVerify has every vector verified.
func TestVerify(t *testing.T) {
	key, list := read(t)
	v, err := note.NewVerifier(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range list {
		data, err := os.ReadFile(x.File)
		if err != nil {
			t.Fatal(err)
		}
		res, err := bundle.Verify(data, v, nil)
		switch {
		case x.Verdict != "" && err != nil:
			t.Errorf("%s: %v", x.File, err)
		case x.Verdict != "" && res.Proof.Verdict != x.Verdict:
			t.Errorf("%s: %s, want %s", x.File, res.Proof.Verdict, x.Verdict)
		case x.Verdict == "" && (!errors.Is(err, bundle.ErrVerify) || !strings.Contains(err.Error(), x.Fails)):
			t.Errorf("%s: %v, want an error that says %q", x.File, err, x.Fails)
		}
	}
}

// TestSecondVerifier has every vector verified by the other program.
func TestSecondVerifier(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		if os.Getenv("STEMMA_TEST_REQUIRE") == "all" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	key, list := read(t)
	args := []string{"-B", "-c", script, filepath.Join("..", "tools"), key}
	for _, x := range list {
		args = append(args, x.File)
	}
	out, err := exec.Command(python, args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(out), "\x00")
	if len(parts) != len(list)+1 {
		t.Fatalf("%d answers for %d vectors", len(parts)-1, len(list))
	}
	for i, x := range list {
		good, bad := "0\n"+string(x.Verdict)+"\n", "12\nUNVERIFIABLE\n"
		if x.Verdict != "" && !strings.HasPrefix(parts[i], good) || x.Verdict == "" && (!strings.HasPrefix(parts[i], bad) || !strings.Contains(parts[i], x.Fails)) {
			t.Errorf("%s: %s; want %q %q", x.File, parts[i], x.Verdict, x.Fails)
		}
	}
}

// TestFlippedBytes changes bytes of a good bundle at random places: neither
// program takes any of them.
func TestFlippedBytes(t *testing.T) {
	key, _ := read(t)
	v, err := note.NewVerifier(key)
	if err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile("good/used.zip")
	if err != nil {
		t.Fatal(err)
	}
	dir, seed := t.TempDir(), uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	args := []string{"-B", "-c", script, filepath.Join("..", "tools"), key}
	for i := range 1500 {
		b := slices.Clone(good)
		at := r.IntN(len(b))
		b[at] ^= 1 << r.IntN(8)
		if _, err := bundle.Verify(b, v, nil); !errors.Is(err, bundle.ErrVerify) {
			t.Errorf("byte %d changed: %v", at, err)
		}
		if i < 60 {
			name := filepath.Join(dir, fmt.Sprintf("%d.zip", at))
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
			args = append(args, name)
		}
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		if os.Getenv("STEMMA_TEST_REQUIRE") == "all" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	out, err := exec.Command(python, args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	for i, part := range strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		if !strings.HasPrefix(part, "12\n") || strings.Contains(part, "malformed") {
			t.Errorf("%s: %s", args[5+i], part)
		}
	}
}

// script has every file verified, and writes exit code and words of each.
const script = `import contextlib, io, sys
sys.path.insert(0, sys.argv[1])
import verify
for name in sys.argv[3:]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = verify.main([name, sys.argv[2]])
    sys.stdout.buffer.write(("%d\n%s\0" % (code, out.getvalue())).encode())
`
