package catalog

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// fixture reads a real input; without it the test is skipped.
func fixture(t testing.TB, path ...string) []byte {
	t.Helper()
	dir := os.Getenv("STEMMA_FIXTURES")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "fixtures")
	}
	b, err := os.ReadFile(filepath.Join(append([]string{dir, "frameworks"}, path...)...))
	if err != nil {
		if os.Getenv("STEMMA_TEST_REQUIRE") == "all" {
			t.Fatalf("STEMMA_TEST_REQUIRE=all, but a real input is not there: %v; set STEMMA_FIXTURES", err)
		}
		t.Skip(err)
	}
	return b
}

// item is what the fixtures say of a group or control.
type item struct {
	ID            string
	Title         string
	Text          string
	Status        string
	Categories    []item
	Subcategories []item
	Items         []item
	Functions     []item
}

func published(t testing.TB, path ...string) (groups, controls []item) {
	var doc item
	if err := json.Unmarshal(fixture(t, path...), &doc); err != nil {
		t.Fatal(err)
	}
	controls = doc.Items
	for _, f := range doc.Functions {
		groups = append(groups, f)
		for _, c := range f.Categories {
			active := 0
			for _, s := range c.Subcategories {
				if s.Status == "" {
					active++
					controls = append(controls, s)
				}
			}
			if active > 0 {
				groups = append(groups, c)
			}
		}
	}
	return groups, controls
}

// TestPublished holds the embedded identifiers and titles to the published
// catalogues.
func TestPublished(t *testing.T) {
	for _, c := range []struct {
		framework        string
		path             []string
		groups, controls int
	}{
		{CSF, []string{"nist-csf-2.0", "nist_csf_2.0_flat.json"}, 6 + 22, 106},
		{AIRMF, []string{"nist-ai-rmf-1.0", "ai_rmf_1.0_core.json"}, 4 + 19, 72},
		{NHI, []string{"owasp", "owasp_nhi_top10_2025.json"}, 0, 10},
		{Agentic, []string{"owasp", "owasp_agentic_top10_2026.json"}, 0, 10},
	} {
		t.Run(c.framework, func(t *testing.T) {
			f, err := Find(c.framework)
			if err != nil {
				t.Fatal(err)
			}
			groups, controls := published(t, c.path...)
			if len(f.Groups) != c.groups || len(f.Controls) != c.controls {
				t.Errorf("%d groups and %d controls, want %d and %d", len(f.Groups), len(f.Controls), c.groups, c.controls)
			}
			var ours, theirs []string
			official := map[string]string{}
			for _, g := range groups {
				theirs = append(theirs, g.ID)
				official[g.ID] = g.Title
			}
			for _, k := range controls {
				theirs = append(theirs, k.ID)
				official[k.ID] = k.Title + "\x00" + k.Text
			}
			for _, g := range f.Groups {
				ours = append(ours, g.ID)
				if want := official[g.ID]; want != "" && !strings.EqualFold(g.Title, want) {
					t.Errorf("%s: title %q, want %q", g.ID, g.Title, want)
				}
			}
			for _, k := range f.Controls {
				ours = append(ours, k.ID)
				title, text, _ := strings.Cut(official[k.ID], "\x00")
				if k.Title != title {
					t.Errorf("%s: title %q, want %q", k.ID, k.Title, title)
				}
				if run := sharedWords(k.Says, text); run > 5 {
					t.Errorf("%s: %d words in a row are those of the official text %q; say it in our own: %q", k.ID, run, text, k.Says)
				}
			}
			slices.Sort(ours)
			slices.Sort(theirs)
			if d := cmp.Diff(theirs, ours); d != "" {
				t.Errorf("identifiers (-published +ours):\n%s", d)
			}
		})
	}
}

// sharedWords gives the longest run of words that two texts share.
func sharedWords(a, b string) int {
	words := regexp.MustCompile(`[a-z]+`)
	x, y := words.FindAllString(strings.ToLower(a), -1), words.FindAllString(strings.ToLower(b), -1)
	longest := 0
	for i := range x {
		for j := range y {
			n := 0
			for i+n < len(x) && j+n < len(y) && x[i+n] == y[j+n] {
				n++
			}
			longest = max(longest, n)
		}
	}
	return longest
}

func TestControlsAreSound(t *testing.T) {
	token := regexp.MustCompile(`^(\p{L}|_)(\p{L}|\p{N}|[.\-_])*$`) // OSCAL TokenDatatype
	for _, f := range Frameworks() {
		seen := map[string]bool{}
		for _, k := range f.Controls {
			if k.Says == "" || !strings.HasSuffix(k.Says, ".") || strings.Contains(k.Says, "\n") || utf8.RuneCountInString(k.Says) > 140 {
				t.Errorf("%s: one line that ends with a stop is wanted, not %q", k.ID, k.Says)
			}
			if !token.MatchString(k.Token()) || seen[k.Token()] {
				t.Errorf("%s: token %q", k.ID, k.Token())
			}
			seen[k.Token()] = true
			for _, spelling := range []string{k.ID, k.Token(), strings.ToLower(k.ID)} {
				if got, err := f.Control(spelling); err != nil || got.ID != k.ID {
					t.Errorf("%s is not found as %q: %v", k.ID, spelling, err)
				}
			}
		}
		for _, id := range f.Mapped() {
			if _, err := f.Control(id); err != nil {
				t.Errorf("the mapping speaks of a control that is not in the catalogue: %v", err)
			}
			if m, _ := f.Mapping(id); m.Shows == "" || len(m.Evidence)+len(m.Detectors) == 0 {
				t.Errorf("%s: the mapping says nothing", id)
			}
		}
	}
}

func TestAliases(t *testing.T) {
	for _, c := range []struct{ framework, text, want string }{
		{"NIST-CSF-2.0", "ID.AM-2", "ID.AM-02"}, {CSF, "id.am-02", "ID.AM-02"}, {CSF, "csf-2.0/PR.AA-05", "PR.AA-05"}, {CSF, "PR.AA-05_statement", "PR.AA-05"},
		{CSF, "PR.DS-10", "PR.DS-10"}, {CSF, "PR.AC-4", ""}, {CSF, "ID.AM-06", ""}, {CSF, "GV.OC", ""}, {CSF, "GV.OC-00", ""}, {CSF, "", ""},
		{AIRMF, "GOVERN 1.1", "GOVERN 1.1"}, {AIRMF, "govern-1.1", "GOVERN 1.1"}, {AIRMF, "GV-1.1", "GOVERN 1.1"}, {AIRMF, "ai-rmf-ms-2.10", "MEASURE 2.10"},
		{AIRMF, "MG 4.1", "MANAGE 4.1"}, {AIRMF, "Map1.1", "MAP 1.1"}, {AIRMF, "GOVERN 9.9", ""}, {AIRMF, "ai-rmf-gv-1.1_smt", "GOVERN 1.1"},
		{NHI, "NHI-01", "NHI1:2025"}, {NHI, "NHI1", "NHI1:2025"}, {NHI, "nhi10:2025", "NHI10:2025"}, {NHI, "NHI8:2024", "NHI8:2025"}, {NHI, "NHI1-2025", "NHI1:2025"},
		{NHI, "NHI11", ""}, {Agentic, "ASI1", "ASI01"}, {"owasp-asi", "ASI10:2026", "ASI10"}, {Agentic, "ASI-3", "ASI03"},
	} {
		f, err := Find(c.framework)
		if err != nil {
			t.Fatal(err)
		}
		k, err := f.Control(c.text)
		switch {
		case c.want == "" && err == nil:
			t.Errorf("%s: %q is %s, want none", c.framework, c.text, k.ID)
		case c.want != "" && (err != nil || k.ID != c.want):
			t.Errorf("%s: %q: %v, want %s", c.framework, c.text, err, c.want)
		}
	}
	if _, err := Find("iso"); err == nil || !strings.Contains(err.Error(), "csf, ai-rmf, nhi, agentic") {
		t.Errorf("an unknown framework: %v", err)
	}
}

// TestDetectorMapping holds the mapping to the list of which detector concerns
// which control.
func TestDetectorMapping(t *testing.T) {
	var doc struct {
		Detectors []struct {
			ID    string
			NHI   []string `json:"owasp_nhi"`
			CSF   []string
			AIRMF []string `json:"ai_rmf"`
			ASI   []string `json:"owasp_asi"`
		}
	}
	if err := json.Unmarshal(fixture(t, "detectors", "detectors_proposal.json"), &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Detectors) != 23 {
		t.Fatalf("%d detectors", len(doc.Detectors))
	}
	for _, d := range doc.Detectors {
		for name, ids := range map[string][]string{CSF: d.CSF, AIRMF: d.AIRMF, NHI: d.NHI, Agentic: d.ASI} {
			f, _ := Find(name)
			for _, id := range ids {
				if m, _ := f.Mapping(id); !slices.Contains(m.Detectors, d.ID) {
					t.Errorf("%s concerns %s, but the mapping does not say so", d.ID, id)
				}
			}
		}
	}
}

func TestReadOSCAL(t *testing.T) {
	f, _ := Find(CSF)
	o, err := f.ReadOSCAL(fixture(t, "nist-csf-2.0", "NIST_CSF_v2.0_catalog.xml"))
	if err != nil {
		t.Fatal(err)
	}
	_, controls := published(t, "nist-csf-2.0", "nist_csf_2.0_flat.json")
	if len(o.Texts) != 106 || o.UUID != "720a010b-253c-4a94-bb65-cb58400966f5" || o.Version != "1.0.0" || o.Title != "NIST Cybersecurity Framework 2.0" {
		t.Errorf("%d texts of %q %s %s", len(o.Texts), o.Title, o.Version, o.UUID)
	}
	for _, k := range controls {
		want := OfficialText{ControlID: k.ID, StatementID: k.ID + "_statement", Title: k.ID, Text: clean(k.Text)}
		if d := cmp.Diff(want, o.Texts[k.ID]); d != "" {
			t.Errorf("%s (-want +got):\n%s", k.ID, d)
		}
	}
	other, _ := Find(NHI)
	if _, err := other.ReadOSCAL(fixture(t, "nist-csf-2.0", "NIST_CSF_v2.0_catalog.xml")); err == nil || !strings.Contains(err.Error(), "has no control of OWASP") {
		t.Errorf("a catalogue of another framework: %v", err)
	}
}

const smallJSON = `{"catalog":{"uuid":"u","metadata":{"title":"A  catalogue","version":"2"},"groups":[{"id":"ai-rmf-gv","title":"Govern","controls":[
 {"id":"ai-rmf-gv-1","title":"G 1","controls":[{"id":"ai-rmf-gv-1.1","title":"GV-1.1","parts":[
  {"id":"x_overview","name":"overview","prose":"not this"},
  {"id":"ai-rmf-gv-1.1_smt","name":"statement","prose":"First,","parts":[{"name":"item","prose":"then this."}]}]}]}]}]}}`

const smallXML = `<?xml version="1.0"?><catalog xmlns="http://csrc.nist.gov/ns/oscal/1.0" uuid="u"><metadata><title>A  catalogue</title><version>2</version></metadata>
<group id="g"><title>G</title><control id="ai-rmf-gv-1"><title>G 1</title><control id="ai-rmf-gv-1.1"><title>GV-1.1</title>
<part name="overview"><p>not this</p></part><part id="ai-rmf-gv-1.1_smt" name="statement"><p>First,</p><part name="item"><title>no</title><p>then <em>th</em>is.</p></part></part>
<part id="again" name="statement"><p>nor this</p></part></control></control></group></catalog>`

func TestReadOSCALSmall(t *testing.T) {
	f, _ := Find(AIRMF)
	want := &Official{UUID: "u", Title: "A catalogue", Version: "2", Texts: map[string]OfficialText{
		"GOVERN 1.1": {ControlID: "ai-rmf-gv-1.1", StatementID: "ai-rmf-gv-1.1_smt", Title: "GV-1.1", Text: "First, then this."}}}
	for name, text := range map[string]string{"JSON": smallJSON, "XML": smallXML, "with a byte order mark": "\xef\xbb\xbf" + smallJSON} {
		got, err := f.ReadOSCAL([]byte(text))
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, d)
		}
	}
	for name, c := range map[string]struct{ text, says string }{
		"nothing":           {"", "neither JSON nor XML"},
		"another document":  {`{"profile":{}}`, `no member "catalog"`},
		"another element":   {`<profile/>`, "not catalog"},
		"cut short":         {smallXML[:400], "XML syntax error"},
		"cut short in JSON": {smallJSON[:200], "unexpected end"},
		"nested JSON":       {`{"catalog":` + strings.Repeat(`{"groups":[`, 40) + strings.Repeat(`]}`, 40) + `}`, "nest deeper"},
		"nested XML":        {`<catalog>` + strings.Repeat(`<group>`, 200), "nest deeper"},
		"too large":         {strings.Repeat(" ", MaxOSCAL+1), "the limit is"},
	} {
		if _, err := f.ReadOSCAL([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}

// FuzzReadOSCAL: whatever the text, what is read is of controls that are in
// force, and reading it twice gives the same.
func FuzzReadOSCAL(f *testing.F) {
	f.Add([]byte(smallJSON))
	f.Add([]byte(smallXML))
	f.Add([]byte(`<catalog><control id="ID.AM-2"><part name="statement"/></control></catalog>`))
	f.Add([]byte(`{"catalog":{"controls":[{"id":"NHI-01"},{"id":"ASI1"}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, fr := range Frameworks() {
			o, err := fr.ReadOSCAL(text)
			if err != nil {
				continue
			}
			for id := range o.Texts {
				if k, err := fr.Control(id); err != nil || k.ID != id {
					t.Errorf("%s: %v", id, err)
				}
			}
			again, err := fr.ReadOSCAL(text)
			if d := cmp.Diff(o, again); err != nil || d != "" {
				t.Errorf("read twice: %v\n%s", err, d)
			}
		}
	})
}

// FuzzCanonical: what is canonical stays as it is.
func FuzzCanonical(f *testing.F) {
	for _, s := range []string{"ID.AM-2", "GV-1.1", "NHI-01", "ASI1", "csf-2.0/PR.AA-05", "MEASURE 2.10"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, fr := range Frameworks() {
			id, ok := fr.Canonical(text)
			if !ok {
				continue
			}
			if again, ok := fr.Canonical(id); !ok || again != id {
				t.Errorf("%s: %q gives %q, and that %q", fr.ID, text, id, again)
			}
		}
	})
}
