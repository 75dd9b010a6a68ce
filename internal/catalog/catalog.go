// Package catalog holds the control catalogues that Stemma speaks to, and which
// of its evidence speaks to which control. Identifiers and titles are those of
// the publishers; every other line is ours. Official texts are not embedded:
// they are read from an OSCAL catalogue that the user names, see [ReadOSCAL].
package catalog

import (
	"embed"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"
)

// The frameworks.
const (
	CSF     = "csf"     // NIST Cybersecurity Framework 2.0
	AIRMF   = "ai-rmf"  // NIST AI Risk Management Framework 1.0
	NHI     = "nhi"     // OWASP Non-Human Identities Top 10 (2025)
	Agentic = "agentic" // OWASP Top 10 for Agentic Applications (2026)
)

// Framework is one catalogue.
type Framework struct {
	ID       string    `yaml:"id"`
	Title    string    `yaml:"title"`
	Names    []string  `yaml:"names"` // other spellings of ID
	Groups   []Group   `yaml:"groups"`
	Controls []Control `yaml:"controls"`
}

// Group is a function or category.
type Group struct {
	ID    string `yaml:"id"`
	Title string `yaml:"title"`
}

// Control is one item of a catalogue that is in force: a subcategory of the
// NIST frameworks, a risk of the OWASP lists.
type Control struct {
	ID    string `yaml:"id"`
	Title string `yaml:"title"` // "" where the framework gives none
	Says  string `yaml:"says"`  // in our own words
}

//go:embed data/*.yaml
var data embed.FS

var frameworks = sync.OnceValues(func() ([]*Framework, error) {
	var out []*Framework
	for _, id := range []string{CSF, AIRMF, NHI, Agentic} {
		f := &Framework{}
		if err := read(id, f); err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
})

func read(name string, into any) error {
	b, err := data.ReadFile(path.Join("data", name+".yaml"))
	if err != nil {
		return fmt.Errorf("catalogue %s, which is built in: %w", name, err)
	}
	d := yaml.NewDecoder(strings.NewReader(string(b)))
	d.KnownFields(true)
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("catalogue %s, which is built in: %w", name, err)
	}
	return nil
}

// Frameworks lists the frameworks. That the data can be read is tested, so it
// panics if not.
func Frameworks() []*Framework {
	fs, err := frameworks()
	if err != nil {
		panic(err.Error())
	}
	return fs
}

// Find gives the framework of a name, in any of its spellings.
func Find(name string) (*Framework, error) {
	var known []string
	for _, f := range Frameworks() {
		if strings.EqualFold(name, f.ID) || slices.ContainsFunc(f.Names, func(n string) bool { return strings.EqualFold(n, name) }) {
			return f, nil
		}
		known = append(known, f.ID)
	}
	return nil, fmt.Errorf("no framework is called %q; there are %s", name, strings.Join(known, ", "))
}

// Control finds a control by its identifier in any spelling that [Canonical]
// reads.
func (f *Framework) Control(text string) (*Control, error) {
	id, ok := f.Canonical(text)
	for i := range f.Controls {
		if ok && f.Controls[i].ID == id {
			return &f.Controls[i], nil
		}
	}
	if ok && f.ID == CSF {
		return nil, fmt.Errorf("%q is no subcategory that is in force in %s; CSF 1.1 has some that 2.0 withdrew", text, f.Title)
	}
	return nil, fmt.Errorf("%q is no control of %s; write one such as %s", text, f.Title, f.Controls[0].ID)
}

var (
	csfID     = regexp.MustCompile(`^(?:CSF[-_ ]?(?:2\.0)?[/:_ -])?([A-Z]{2})[.\-_ ]([A-Z]{2})[-_. ]?0*([1-9][0-9]?)(?:_STATEMENT)?$`)
	airmfID   = regexp.MustCompile(`^(?:(?:NIST[-_ ])?AI[-_ ]?RMF[-_/: ])?(GOVERN|MAP|MEASURE|MANAGE|GV|MP|MS|MG)[-_. ]*0*([1-9])[.\-_]0*([1-9][0-9]?)(?:_(?:STATEMENT|SMT))?$`)
	nhiID     = regexp.MustCompile(`^(?:OWASP[-_ ])?NHI[-_ ]?0*([1-9][0-9]?)(?:[:_\- ]20[0-9]{2})?$`)
	agenticID = regexp.MustCompile(`^(?:OWASP[-_ ])?ASI[-_ ]?0*([1-9][0-9]?)(?:[:_\- ]20[0-9]{2})?$`)

	airmfFunctions = map[string]string{"GV": "GOVERN", "MP": "MAP", "MS": "MEASURE", "MG": "MANAGE"}
)

// Canonical gives the publisher's spelling of an identifier: ID.AM-2 is
// ID.AM-02 (the first is that of CSF 1.1), GV-1.1 and ai-rmf-gv-1.1 are
// GOVERN 1.1, NHI-01 is NHI1:2025. It does not tell whether there is such a
// control.
func (f *Framework) Canonical(text string) (id string, ok bool) {
	s := strings.ToUpper(strings.TrimSpace(text))
	switch f.ID {
	case CSF:
		if m := csfID.FindStringSubmatch(s); m != nil {
			return fmt.Sprintf("%s.%s-%02s", m[1], m[2], m[3]), true
		}
	case AIRMF:
		if m := airmfID.FindStringSubmatch(s); m != nil {
			if long := airmfFunctions[m[1]]; long != "" {
				m[1] = long
			}
			return fmt.Sprintf("%s %s.%s", m[1], m[2], m[3]), true
		}
	case NHI:
		if m := nhiID.FindStringSubmatch(s); m != nil {
			return "NHI" + m[1] + ":2025", true
		}
	case Agentic:
		if m := agenticID.FindStringSubmatch(s); m != nil {
			n, _ := strconv.Atoi(m[1])
			return fmt.Sprintf("ASI%02d", n), true
		}
	}
	return "", false
}

// Token gives the identifier as an OSCAL token, which has no space or colon:
// GOVERN-1.1, NHI1-2025.
func (c *Control) Token() string { return strings.NewReplacer(" ", "-", ":", "-").Replace(c.ID) }

// Mapping says what evidence speaks to a control.
type Mapping struct {
	// Shows says which part of the control the evidence can show; a log of
	// lineage shows the whole of few controls.
	Shows string `yaml:"shows"`
	// Evidence names the questions whose answer must be positive.
	Evidence []string `yaml:"evidence"`
	// Detectors must all be clear.
	Detectors []string `yaml:"detectors"`
}

var mappings = sync.OnceValues(func() (map[string]map[string]Mapping, error) {
	var out map[string]map[string]Mapping
	return out, read("mapping", &out)
})

// Mapping gives what speaks to a control of the framework; ok is false where
// nothing that Stemma records does.
func (f *Framework) Mapping(id string) (m Mapping, ok bool) {
	all, err := mappings()
	if err != nil {
		panic(err.Error())
	}
	m, ok = all[f.ID][id]
	return m, ok
}

// Mapped lists the identifiers that the data maps, known to the catalogue or
// not, in order.
func (f *Framework) Mapped() []string {
	all, err := mappings()
	if err != nil {
		panic(err.Error())
	}
	var out []string
	for id := range all[f.ID] {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}
