package openlineage

import (
	"bytes"
	"fmt"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/importertest"
	"github.com/stemma-lineage/stemma/statement"
)

// TestEvents shows what events become, in testdata/events/*.
func TestEvents(t *testing.T) {
	datadriven.Walk(t, filepath.Join("testdata", "events"), func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var b strings.Builder
			for _, it := range readItems(t, []byte(d.Input)) {
				summarise(&b, it, d.Cmd == "evidence")
			}
			return b.String()
		})
	})
}

// summarise writes an Item in short.
func summarise(b *strings.Builder, it importer.Item, evidence bool) {
	if it.Refusal != nil {
		fmt.Fprintf(b, "%s refused, %s\n", it.Place, it.Refusal.Error())
		return
	}
	fmt.Fprintf(b, "%s accepted\n", it.Place)
	for _, d := range it.Statements {
		switch p := d.Predicate.(type) {
		case *statement.Activity:
			summariseActivity(b, d, p)
		case *statement.Entity:
			summariseEntity(b, d, p)
		}
	}
	for _, n := range it.Notes {
		fmt.Fprintf(b, "  note: %s\n", n)
	}
	for _, p := range statement.EvidenceOf(it.Statements[0].Predicate)[0].Redacted {
		fmt.Fprintf(b, "  redacted: %s\n", p)
	}
	if evidence {
		fmt.Fprintf(b, "  evidence: %s\n", bytes.ReplaceAll(it.Evidence, []byte("\n"), []byte("\n  ")))
	}
}

func summariseActivity(b *strings.Builder, d importer.Draft, p *statement.Activity) {
	fmt.Fprintf(b, "  %s %s %s", p.Kind, p.ID, p.State)
	for _, x := range []struct {
		name string
		t    statement.Time
	}{{"started", p.StartedAt}, {"ended", p.EndedAt}, {"observed", p.ObservedAt}} {
		if !x.t.IsZero() {
			fmt.Fprintf(b, " %s=%s", x.name, x.t)
		}
	}
	fmt.Fprintf(b, " rule=%s\n", p.Rule)
	summariseSubjects(b, d.Subjects)
	if p.Plan != nil {
		fmt.Fprintf(b, "    plan %s\n", p.Plan.Ref)
	}
	for _, r := range p.InformedBy {
		fmt.Fprintf(b, "    informedBy %s\n", r.Ref)
	}
	for _, u := range p.Used {
		fmt.Fprintf(b, "    used %s %s\n", u.Ref, strings.TrimSpace(u.Rule+" "+u.Role))
	}
	summariseDerived(b, p.Derived)
	summariseMap(b, "parameter", p.Parameters)
	summariseMap(b, "environment", p.Environment)
}

func summariseEntity(b *strings.Builder, d importer.Draft, p *statement.Entity) {
	fmt.Fprintf(b, "  entity %s at=%s\n", p.State, p.At)
	summariseSubjects(b, d.Subjects)
	if p.Owner != "" {
		fmt.Fprintf(b, "    owner %s\n", p.Owner)
	}
	for _, r := range p.SameAs {
		fmt.Fprintf(b, "    same as %s\n", r.Ref)
	}
	summariseDerived(b, p.Derived)
	summariseMap(b, "attribute", p.Attributes)
}

func summariseSubjects(b *strings.Builder, list []statement.Subject) {
	for _, s := range list {
		fmt.Fprintf(b, "    subject %s\n", s.Name)
	}
}

func summariseDerived(b *strings.Builder, list []statement.Derivation) {
	for _, d := range list {
		fmt.Fprintf(b, "    derived %s (%s)\n", d.To.Ref, d.Rule)
		for _, f := range d.From {
			fmt.Fprintf(b, "      from %s\n", strings.TrimSpace(f.Ref+" "+f.Transformation))
		}
	}
}

func summariseMap(b *strings.Builder, name string, m map[string]string) {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		fmt.Fprintf(b, "    %s %s=%s\n", name, k, m[k])
	}
}

// payloads gives the payload of each statement, in order.
func payloads(t testing.TB, items []importer.Item) []string {
	t.Helper()
	var out []string
	for _, it := range items {
		for _, d := range it.Statements {
			p, err := statement.Format(d.Subjects, d.Predicate)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, string(p))
		}
	}
	return out
}

// TestOrder: the statements of an event depend on its bytes alone. All fixture
// events give the same statements alone, in lines, in an array, in any order.
func TestOrder(t *testing.T) {
	root := importertest.Fixtures(t, "openlineage")
	var events [][]byte
	for _, f := range eventFiles(t, root) {
		data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(f)))
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range readItems(t, data) {
			if it.Refusal == nil {
				events = append(events, it.Evidence)
			}
		}
	}
	rand.New(rand.NewSource(1)).Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	var alone []string
	for _, ev := range events {
		alone = append(alone, payloads(t, readItems(t, ev))...)
	}
	array := append(append([]byte("["), bytes.Join(events, []byte(","))...), ']')
	for name, data := range map[string][]byte{"array": array, "one after another": bytes.Join(events, []byte("\n"))} {
		if diff := cmp.Diff(alone, payloads(t, readItems(t, data))); diff != "" {
			t.Errorf("%s: %.2000s", name, diff)
		}
	}
	slices.Sort(alone)
	if len(slices.Compact(alone)) < 200 {
		t.Errorf("only %d different statements", len(slices.Compact(alone)))
	}
}

// TestEvidence: without a secret the evidence is the event byte for byte.
func TestEvidence(t *testing.T) {
	root := importertest.Fixtures(t, "openlineage")
	for _, f := range eventFiles(t, root) {
		data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(f)))
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range readItems(t, data) {
			if it.Refusal != nil {
				continue
			}
			raw := data[it.Offset : it.Offset+it.Bytes]
			redacted := statement.EvidenceOf(it.Statements[0].Predicate)[0].Redacted
			if bytes.Equal(raw, it.Evidence) != (len(redacted) == 0) {
				t.Errorf("%s %s: redacted %q, same bytes: %v", f, it.Place, redacted, bytes.Equal(raw, it.Evidence))
			}
			for _, p := range redacted {
				if !strings.Contains(p, "spark_properties") && !strings.Contains(p, "environment-properties") {
					t.Errorf("%s %s: %s was redacted", f, it.Place, p)
				}
			}
		}
	}
}

// TestDbtTemplates fills the places that the dbt fixtures leave open
// ("{{ any(result) }}"), as their own tests do, and reads all of them.
func TestDbtTemplates(t *testing.T) {
	root := importertest.Fixtures(t, "openlineage")
	fill := strings.NewReplacer("{{ is_datetime(result) }}", "2026-03-01T12:00:00Z", "{{ any(result) }}", "01936893-9751-7a91-a2a0-a51101a3970c")
	accepted := 0
	reasons := map[string]int{}
	for _, f := range eventFiles(t, root) {
		if !strings.HasPrefix(f, "dbt/") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(f)))
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range readItems(t, []byte(fill.Replace(string(data)))) {
			if it.Refusal == nil {
				accepted++
				continue
			}
			reasons[f+" "+it.Refusal.Error()]++
		}
	}
	importertest.Golden(t, "dbt-filled.txt", fmt.Sprintf("accepted %d%s\n", accepted, strings.ReplaceAll(counts(reasons), "; ", "\n")))
}

// TestLargeLine passes an event of 200 MB by and reads the ones around it.
func TestLargeLine(t *testing.T) {
	event := func(n int) string {
		return fmt.Sprintf(`{"eventTime":"2026-03-01T12:00:00Z","run":{"runId":"r%d"},"job":{"namespace":"n","name":"j"}}`, n)
	}
	r := io.MultiReader(strings.NewReader(event(1)+"\n"+`{"producer":"`), io.LimitReader(endless{}, 200<<20),
		strings.NewReader("\"}\n"+event(2)+"\n"))
	var got []string
	for it, err := range Read(r, Options{MaxEvent: 1 << 20}) {
		if err != nil {
			t.Fatal(err)
		}
		if it.Refusal != nil {
			got = append(got, it.Place+" "+it.Refusal.Reason)
			continue
		}
		got = append(got, it.Place+" "+it.Statements[0].Predicate.(*statement.Activity).ID)
	}
	if diff := cmp.Diff([]string{"line 1 activity:n/j/r1", "line 2 too-large", "line 3 activity:n/j/r2"}, got); diff != "" {
		t.Error(diff)
	}
}

// TestNoCanaryLeaves: what testdata/events/secrets plants as secrets is in
// nothing that leaves the importer, also not when the event is refused.
func TestNoCanaryLeaves(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "events", "secrets"))
	if err != nil {
		t.Fatal(err)
	}
	_, in, _ := strings.Cut(string(data), "\nevidence\n")
	in, _, _ = strings.Cut(in, "\n----")
	planted := strings.Count(in, "canary-")
	if planted < 8 {
		t.Fatalf("only %d canaries are planted", planted)
	}
	for name, in := range map[string]string{
		"accepted":    in,
		"refused":     strings.Replace(in, "2026-03-01T12:00:00.123456789+02:00", "https://ann:canary-9@host", 1),
		"named twice": strings.Replace(in, `"db_password":"canary-5"`, `"db_password":"canary-5","db_password":"canary-10"`, 1),
	} {
		items := readItems(t, []byte(in))
		if (items[0].Refusal != nil) != (name == "refused") {
			t.Fatalf("%s: %v", name, items[0].Refusal)
		}
		all := fmt.Sprint(payloads(t, items), string(items[0].Evidence), items[0].Notes, items[0].Refusal)
		if i := strings.Index(all, "canary"); i >= 0 {
			t.Errorf("%s: a canary leaves in %.80q", name, all[max(0, i-40):])
		}
	}
}

// TestSpecFacets: each facet sample of the OpenLineage specification is
// accepted in its place.
func TestSpecFacets(t *testing.T) {
	root := importertest.Fixtures(t, "openlineage")
	files, err := filepath.Glob(filepath.Join(root, "spec", "tests", "*", "*.json"))
	if err != nil || len(files) < 40 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	const event = `{"eventTime":"2026-03-01T12:00:00Z","run":{"runId":"r","facets":%s},"job":{"namespace":"n","name":"j","facets":%s},` +
		`"inputs":[{"namespace":"d","name":"in","facets":%s,"inputFacets":%s}],"outputs":[{"namespace":"d","name":"out","facets":%s,"outputFacets":%s}]}`
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		facet := filepath.Base(filepath.Dir(f))
		at := make([]any, 6)
		for i := range at {
			at[i] = "{}"
		}
		switch {
		case strings.HasSuffix(facet, "RunFacet"):
			at[0] = data
		case strings.HasSuffix(facet, "JobFacet") || facet == "LineageFacet" && bytes.Contains(data, []byte(`"entries"`)):
			at[1] = data
		case strings.HasSuffix(facet, "InputDatasetFacet"):
			at[3] = data
		case strings.HasSuffix(facet, "OutputDatasetFacet"):
			at[5] = data
		default:
			at[2], at[4] = data, data
		}
		for _, it := range readItems(t, fmt.Appendf(nil, event, at...)) {
			if it.Refusal != nil {
				t.Errorf("%s: %v", f, it.Refusal)
			}
		}
	}
}

// TestLongNames: a name that fits no Ref is refused, and long text is clipped
// in messages.
func TestLongNames(t *testing.T) {
	const event = `{"eventTime":"2026-03-01T12:00:00Z","eventType":%q,"run":{"runId":%q},"job":{"namespace":"n","name":%q},"outputs":[{"namespace":"d","name":%q}]}`
	long := strings.Repeat("x", 5000)
	for i, in := range []string{
		fmt.Sprintf(event, "", "r", "j", long), fmt.Sprintf(event, "", "r", long, "o"), fmt.Sprintf(event, "", long, "j", "o")} {
		items := readItems(t, []byte(in))
		if r := items[0].Refusal; r == nil || r.Reason != NameTooLong || len(r.Detail) > 1600 {
			t.Errorf("%d: %v", i, r)
		}
	}
	items := readItems(t, []byte(fmt.Sprintf(event, long, "r", "j", "o")))
	if items[0].Refusal != nil || len(items[0].Notes) != 2 || len(items[0].Notes[0]) > 600 {
		t.Errorf("%+v", items[0])
	}
}

// TestManyColumns: what is too much for one statement goes into several about
// the same activity, and nothing is lost.
func TestManyColumns(t *testing.T) {
	const fields, sources = 600, 40
	var b strings.Builder
	b.WriteString(`{"eventTime":"2026-03-01T12:00:00Z","eventType":"COMPLETE","run":{"runId":"r"},"job":{"namespace":"n","name":"j"},"outputs":[{"namespace":"d","name":"out","facets":{"columnLineage":{"fields":{`)
	for f := range fields {
		if f > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"f%d":{"inputFields":[`, f)
		for s := range sources {
			if s > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, `{"namespace":"%s","name":"in","field":"c%d"}`, strings.Repeat("long", 20), s)
		}
		b.WriteString("]}")
	}
	b.WriteString("}}}}]}")
	items := readItems(t, []byte(b.String()))
	if items[0].Refusal != nil || len(items[0].Statements) < 3 {
		t.Fatalf("refused %v, %d statements", items[0].Refusal, len(items[0].Statements))
	}
	n, whole := 0, 0
	for _, d := range items[0].Statements {
		a := d.Predicate.(*statement.Activity)
		for _, x := range a.Derived {
			if strings.HasPrefix(x.To.Ref, "column:") {
				n += len(x.From)
			} else {
				whole++
			}
		}
	}
	if n != fields*sources || whole != 1 {
		t.Errorf("%d column sources, want %d; %d whole datasets, want 1", n, fields*sources, whole)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// FuzzRead: whatever the bytes, each Item keeps the contract, its statements
// are valid, reading its evidence again gives the same statements and the same
// evidence, and no canary leaves.
func FuzzRead(f *testing.F) {
	if files, err := filepath.Glob(filepath.Join("testdata", "events", "*")); err == nil {
		for _, name := range files {
			if data, err := os.ReadFile(name); err == nil {
				f.Add(data)
				for _, part := range bytes.Split(data, []byte("\n----")) {
					if i := bytes.IndexByte(part, '{'); i >= 0 {
						f.Add(part[i:])
					}
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			t.Skip()
		}
		for it, err := range Read(bytes.NewReader(data), Options{MaxEvent: 1 << 14}) {
			if err != nil {
				t.Fatal(err)
			}
			importertest.Check(t, it)
			if it.Refusal != nil {
				continue
			}
			again := readItems(t, it.Evidence)
			if len(again) != 1 || again[0].Refusal != nil || !bytes.Equal(again[0].Evidence, it.Evidence) {
				t.Fatalf("%q read again gives %+v", it.Evidence, again)
			}
			if diff := cmp.Diff(withoutEvidence(t, it), withoutEvidence(t, again[0])); diff != "" {
				t.Fatalf("%q read again gives other statements:\n%s", it.Evidence, diff)
			}
		}
	})
}

// withoutEvidence gives the payloads of an Item as if they named no evidence:
// what was redacted once is not redacted again.
func withoutEvidence(t testing.TB, it importer.Item) []string {
	for _, d := range it.Statements {
		switch p := d.Predicate.(type) {
		case *statement.Activity:
			p.Evidence = nil
		case *statement.Entity:
			p.Evidence = nil
		}
	}
	return payloads(t, []importer.Item{it})
}

// BenchmarkRead measures the reading of real events.
func BenchmarkRead(b *testing.B) {
	root := importertest.Fixtures(b, "openlineage")
	for _, c := range []struct{ name, path string }{
		{"airflow", "scenarios/airflow/events/line_03.json"}, {"dbt", "dbt/structured_logs/postgres/build_command/results/build_ol_events.json"},
		{"columns", "scenarios/CLL/events/7.json"}, {"large", "marquez/open_lineage/event_large.json"}} {
		data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(c.path)))
		if err != nil {
			b.Fatal(err)
		}
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				for it, err := range Read(bytes.NewReader(data), Options{}) {
					if err != nil || it.Refusal != nil {
						b.Fatal(err, it.Refusal)
					}
				}
			}
		})
	}
}
