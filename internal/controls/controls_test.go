package controls

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/stemma-lineage/stemma/internal/catalog"
	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/oscal"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

const testLog = "example.org/log"

// stewards set up the log of every history here.
var stewards = []string{"sa:ci", "sa:rec", "sa:hr"}

// content stands for a digest set in the tests: "#word".
var content = regexp.MustCompile(`"#([a-z0-9]+)"`)

func digest(word string) string {
	sum := sha256.Sum256([]byte(word))
	return hex.EncodeToString(sum[:])
}

// tell folds one line: when, by whom, the type, subjects with commas (a word
// after '#' stands for the content), and the predicate.
func tell(t testing.TB, g *graph.Graph, line string) {
	t.Helper()
	f := strings.SplitN(line, " ", 5)
	at, err := prov.ParseTime(f[0])
	if err != nil || len(f) != 5 {
		t.Fatalf("line %q: %v", line, err)
	}
	p := map[string]statement.Predicate{"activity": &statement.Activity{}, "entity": &statement.Entity{}, "approval": &statement.Approval{},
		"deployment": &statement.Deployment{}, "identity": &statement.Identity{}, "delegation": &statement.Delegation{}, "notice": &statement.Notice{},
		"policy": &statement.Policy{}, "waiver": &statement.Waiver{}}[f[2]]
	if err := json.Unmarshal([]byte(content.ReplaceAllStringFunc(f[4], func(s string) string {
		return fmt.Sprintf(`{"sha256":%q}`, digest(strings.Trim(s, `"#`)))
	})), p); err != nil {
		t.Fatalf("line %q: %v", line, err)
	}
	var subjects []statement.Subject
	for _, s := range strings.Split(f[3], ",") {
		name, word, _ := strings.Cut(s, "#")
		ref, err := prov.ParseRef(name)
		if err != nil {
			t.Fatal(err)
		}
		set := statement.DigestSet{}
		if word != "" {
			set["sha256"] = digest(word)
		}
		if p, ok := p.(*statement.Policy); ok {
			set["sha256"] = digest(p.Text) // a policy's content is its text
		}
		subjects = append(subjects, statement.NewSubject(ref, set))
	}
	if a, ok := p.(*statement.Approval); ok {
		a.Log = testLog
		a.Text = statement.ApprovalText(subjects, a)
	}
	payload, err := statement.Format(subjects, p)
	if err != nil {
		t.Fatalf("line %q: %v", line, err)
	}
	env, err := statement.Unsigned(payload)
	if err == nil {
		var b []byte
		if b, err = statement.FormatEntry(statement.Entry{RecordedAt: at, RecordedBy: f[1], Envelope: env}); err == nil {
			err = g.Fold(g.Size(), b)
		}
	}
	if err != nil {
		t.Fatalf("line %q: %v", line, err)
	}
}

// bench is what the tests ask: a graph, with detectors that are made up.
type bench struct {
	g *graph.Graph
	o Options
	v graph.View
}

func (b *bench) scope(t testing.TB, d *datadriven.TestData) {
	asOf := prov.AsOf{Known: prov.AllKnown}
	if b.g.Size() > 0 {
		asOf.Valid = b.g.At(prov.Now).Recorded(b.g.Size() - 1)
	}
	b.o = Options{Log: Log{Origin: testLog, Stewards: stewards, Root: "00", Published: true}}
	for _, arg := range d.CmdArgs {
		switch arg.Key {
		case "at":
			at, err := prov.ParseTime(arg.Vals[0])
			if err != nil {
				t.Fatal(err)
			}
			asOf.Valid = prov.At(at)
		case "env":
			b.o.Env = arg.Vals[0]
		case "unpublished":
			b.o.Log.Published = false
		case "witnesses":
			b.o.Log.Witnesses = 2
		case "detectors":
			b.o.Detectors = madeUp(arg.Vals)
		}
	}
	b.v = b.g.At(asOf)
	for _, arg := range d.CmdArgs {
		if arg.Key == "ref" {
			ids, err := query.Resolve(b.v.Always(), arg.Vals[0], query.One)
			if err != nil {
				t.Fatal(err)
			}
			b.o.Ref, b.o.RefName = ids, arg.Vals[0]
		}
	}
}

// madeUp gives detectors from words such as L04:yes, L05:no, L06:none (it ran
// and had nothing to look at).
func madeUp(words []string) Detectors {
	return func(_ graph.View, id string, _ func(graph.ID) bool) (items []Item, available bool) {
		for _, w := range words {
			name, answer, _ := strings.Cut(w, ":")
			if name != id && name != "all" {
				continue
			}
			available = true
			if answer != "none" {
				items = append(items, Item{Ref: "model:m@1", Answer: Answer(answer), Says: "the detector says so", Entries: []uint64{0}})
			}
		}
		return items, available
	}
}

func TestControls(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		b := &bench{g: graph.New()}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "log":
				b.g = graph.New()
				fallthrough
			case "more":
				for _, line := range strings.Split(strings.TrimSpace(d.Input), "\n") {
					if line != "" {
						tell(t, b.g, line)
					}
				}
				return fmt.Sprintf("%d entries\n", b.g.Size())
			case "assess":
				b.scope(t, d)
				return b.assess(t, d)
			case "query":
				b.scope(t, d)
				a, err := Ask(b.v, d.CmdArgs[0].Key, b.o)
				if err != nil {
					return err.Error() + "\n"
				}
				checkEvidence(t, a.Evidence[0])
				return items(a.Evidence[0])
			}
			t.Fatalf("%s: no such command", d.Cmd)
			return ""
		})
	})
}

func (b *bench) assess(t *testing.T, d *datadriven.TestData) string {
	var framework string
	d.ScanArgs(t, "framework", &framework)
	f, err := catalog.Find(framework)
	if err != nil {
		t.Fatal(err)
	}
	for _, arg := range d.CmdArgs {
		if arg.Key == "control" {
			for _, id := range arg.Vals {
				k, err := f.Control(id)
				if err != nil {
					t.Fatal(err)
				}
				b.o.Only = append(b.o.Only, k.ID)
			}
		}
	}
	a, err := Assess(b.v, f, b.o)
	if err != nil {
		return err.Error() + "\n"
	}
	checkAssessment(t, a)
	var out strings.Builder
	for _, k := range a.Controls {
		fmt.Fprintf(&out, "%s: %s\n", k.ID, k.Status)
		for _, s := range k.Because {
			fmt.Fprintf(&out, "  %s\n", s)
		}
	}
	return out.String()
}

func items(e Evidence) string {
	c := e.Coverage
	out := fmt.Sprintf("asked %d: yes %d, no %d, unknown %d, waived %d\n", c.Asked, c.Yes, c.No, c.Unknown, c.Waived)
	for _, it := range e.Items {
		out += fmt.Sprintf("  %s %s: %s %v\n", it.Answer, it.Ref, it.Says, it.Entries)
	}
	return out
}

// checkEvidence holds what is true of all evidence.
func checkEvidence(t testing.TB, e Evidence) {
	t.Helper()
	c := e.Coverage
	if c.Asked != c.Yes+c.No+c.Unknown+c.Waived {
		t.Errorf("%s: the coverage does not add up: %+v", e.ID, c)
	}
	if e.Available && e.Kind == kindQuery && e.Command == "" {
		t.Errorf("%s: no command asks it again", e.ID)
	}
	if !slices.IsSorted(e.Entries) {
		t.Errorf("%s: entries %v", e.ID, e.Entries)
	}
}

// checkAssessment holds the laws: only positive evidence satisfies.
func checkAssessment(t testing.TB, a *Assessment) {
	t.Helper()
	by := map[string]*Evidence{}
	for i := range a.Evidence {
		by[a.Evidence[i].ID] = &a.Evidence[i]
		checkEvidence(t, a.Evidence[i])
	}
	for _, k := range a.Controls {
		no, bad, asked := 0, 0, 0
		for _, id := range k.Evidence {
			e := by[id]
			no += e.Coverage.No
			asked += e.Coverage.Asked
			if !e.Available || e.Coverage.Yes != e.Coverage.Asked || e.Kind == kindQuery && e.Coverage.Asked == 0 {
				bad++
			}
		}
		if (k.Status == NotSatisfied) != (no > 0) || (k.Status == Satisfied) != (bad == 0 && asked > 0) {
			t.Errorf("%s is %s with %d no, %d pieces of evidence that are not positive, %d asked", k.ID, k.Status, no, bad, asked)
		}
		if (k.Status == Satisfied) != (len(k.Because) == 0) {
			t.Errorf("%s is %s because of %q", k.ID, k.Status, k.Because)
		}
	}
	if n := a.Summary; n.Satisfied+n.NotSatisfied+n.NotAssessed != len(a.Controls) {
		t.Errorf("the summary %+v is not of %d controls", n, len(a.Controls))
	}
}

// TestMapping holds the mapping to the questions and detectors that there are,
// and the other way round.
func TestMapping(t *testing.T) {
	used := map[string]bool{}
	for _, f := range catalog.Frameworks() {
		for _, id := range f.Mapped() {
			m, _ := f.Mapping(id)
			for _, e := range m.Evidence {
				used[e] = true
				if _, ok := queries[e]; !ok {
					t.Errorf("%s %s: there is no question %q", f.ID, id, e)
				}
			}
			for _, d := range m.Detectors {
				used[d] = true
				if DetectorName(d) == "" {
					t.Errorf("%s %s: there is no detector %q", f.ID, id, d)
				}
			}
		}
	}
	for _, id := range slices.Concat(Queries(), slices.Collect(func(yield func(string) bool) {
		for i := range 23 {
			if !yield(fmt.Sprintf("L%02d", i+1)) {
				return
			}
		}
	})) {
		if !used[id] {
			t.Errorf("%s speaks to no control", id)
		}
	}
	if _, err := Ask(graph.New().At(prov.AsOf{Valid: 1, Known: 0}), "guess", Options{}); err == nil {
		t.Error("a question that there is not was answered")
	}
	if _, err := Assess(graph.New().At(prov.Now), catalog.Frameworks()[0], Options{}); err == nil {
		t.Error("controls were assessed at no moment")
	}
}

// schema compiles the OSCAL schema; without it the test is skipped.
func schema(t testing.TB) *jsonschema.Schema {
	dir := os.Getenv("STEMMA_FIXTURES")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "fixtures")
	}
	name, err := filepath.Abs(filepath.Join(dir, "frameworks", "oscal", "oscal_complete_schema-1-2-2.json"))
	if err == nil {
		_, err = os.Stat(name)
	}
	if err != nil {
		if os.Getenv("STEMMA_TEST_REQUIRE") == "all" {
			t.Fatalf("STEMMA_TEST_REQUIRE=all, but the OSCAL schema is not there: %v; set STEMMA_FIXTURES", err)
		}
		t.Skip(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	s, err := c.Compile(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestOSCAL validates what is written, for logs in which all statuses occur and
// for one without entries, and writes it twice.
func TestOSCAL(t *testing.T) {
	s := schema(t)
	logs := map[string][]string{"empty": nil, "release": release, "hostile names": {
		`2026-01-01 person:x@e.org deployment model:m"<&>\` + "\u00e9" + `@1#m {"action":"deploy","environment":"env:a.b/c","service":"service:s;rm -rf","at":"2026-01-01T00:00:00Z"}`}}
	for name, lines := range logs {
		t.Run(name, func(t *testing.T) {
			for _, f := range catalog.Frameworks() {
				for _, detectors := range []Detectors{nil, madeUp([]string{"all:yes"}), madeUp([]string{"all:no"}), madeUp([]string{"all:waived", "all:unknown"})} {
					var first []byte
					for range 2 {
						b := &bench{g: graph.New()}
						for _, l := range lines {
							tell(t, b.g, l)
						}
						b.scope(t, &datadriven.TestData{})
						b.o.Detectors, b.o.Log.Witnesses = detectors, 1
						a, err := Assess(b.v, f, b.o)
						if err != nil {
							t.Fatal(err)
						}
						checkAssessment(t, a)
						got := slices.Concat(valid(t, s, Results(a)), valid(t, s, POAM(a)))
						if first == nil {
							first = got
						} else if d := cmp.Diff(string(first), string(got)); d != "" {
							t.Errorf("%s: written twice:\n%s", f.ID, d)
						}
					}
				}
			}
		})
	}
}

func valid(t *testing.T, s *jsonschema.Schema, doc *oscal.Document) []byte {
	t.Helper()
	b, err := oscal.Format(doc)
	if err != nil {
		t.Fatal(err)
	}
	x, err := jsonschema.UnmarshalJSON(strings.NewReader(string(b)))
	if err == nil {
		err = s.Validate(x)
	}
	if err != nil {
		t.Errorf("%v\n%s", err, b)
	}
	unique(t, doc)
	return b
}

// unique holds that no UUID stands for two things, and that what is referred to
// is there.
func unique(t *testing.T, doc *oscal.Document) {
	t.Helper()
	defined := map[string]int{}
	refer := []string{}
	note := func(os []oscal.Observation, rs []oscal.Risk, fs []oscal.Finding, cs []oscal.Component) {
		for _, c := range cs {
			defined[c.UUID]++
		}
		for _, o := range os {
			defined[o.UUID]++
			for _, s := range o.Subjects {
				refer = append(refer, s.UUID)
			}
		}
		for _, r := range rs {
			defined[r.UUID]++
		}
		for _, f := range fs {
			defined[f.UUID]++
			for _, o := range f.Observations {
				refer = append(refer, o.UUID)
			}
			for _, r := range f.Risks {
				refer = append(refer, r.UUID)
			}
		}
	}
	if r := doc.Results; r != nil {
		note(r.Results[0].Observations, r.Results[0].Risks, r.Results[0].Findings, r.Results[0].LocalDefinitions.Components)
	}
	if p := doc.POAM; p != nil {
		note(p.Observations, p.Risks, p.Findings, p.LocalDefinitions.Components)
		for _, it := range p.Items {
			defined[it.UUID]++
			for _, f := range it.Findings {
				refer = append(refer, f.UUID)
			}
		}
	}
	for id, n := range defined {
		if n != 1 {
			t.Errorf("%s stands for %d things", id, n)
		}
	}
	for _, id := range refer {
		if defined[id] == 0 {
			t.Errorf("%s is referred to, but is not there", id)
		}
	}
}

// release is a small log in which much is as it should be.
var release = []string{
	`2026-01-01 sa:ci identity sa:run {"mode":"event","source":"cmdb","items":[{"ref":"sa:run","owner":"person:own@e.org","credentials":[{"ref":"credential:k@1","issuedAt":"2026-01-01T00:00:00Z","expiresAt":"2026-03-01T00:00:00Z"}],"grants":[{"resource":"resource:bucket","scope":["read"]}]},{"ref":"person:sec@e.org","memberOf":["team:s"],"roles":[{"role":"role:security-reviewer"}]},{"ref":"person:risk@e.org","memberOf":["team:r"],"roles":[{"role":"role:risk-reviewer"}]}]}`,
	`2026-01-02 sa:ci activity dataset:d@1#d {"kind":"collect","id":"activity:c","startedAt":"2026-01-02T00:00:00Z","endedAt":"2026-01-02T01:00:00Z","state":"completed","identities":[{"ref":"person:dev@e.org"}],"inputsCompleteness":"observed"}`,
	`2026-01-03 sa:ci activity model:m@1#m {"kind":"train","id":"activity:t","startedAt":"2026-01-03T00:00:00Z","endedAt":"2026-01-03T01:00:00Z","state":"completed","used":[{"ref":"dataset:d@1","digest":"#d"}],"identities":[{"ref":"person:dev@e.org"}],"inputsCompleteness":"observed"}`,
	`2026-01-04 sa:ci entity model:m@1#m {"state":"registered","owner":"person:own@e.org","licence":"mit"}`,
	`2026-01-05 person:sec@e.org approval model:m@1#m {"id":"approval:a","decision":"approve","approver":"person:sec@e.org","review":"security","role":"role:security-reviewer","decidedAt":"2026-01-05T00:00:00Z"}`,
	`2026-01-05 person:risk@e.org approval model:m@1#m {"id":"approval:b","decision":"approve","approver":"person:risk@e.org","review":"risk","role":"role:risk-reviewer","decidedAt":"2026-01-05T00:00:00Z"}`,
	`2026-01-06 sa:ci deployment model:m@1#m {"action":"deploy","id":"deployment:one@1","environment":"env:prod","service":"service:s","at":"2026-01-06T00:00:00Z","runsAs":["sa:run"],"tools":[{"ref":"tool:x@1","digest":"#x"}],"policyBundle":{"ref":"policy:p@1","digest":"#p"},"identities":[{"ref":"person:dev@e.org"}]}`,
}
