// Package oscal is the part of NIST OSCAL 1.2.2 that Stemma writes: assessment
// results and plans of action and milestones. The values follow the JSON
// schema's names; only what Stemma fills in is there.
package oscal

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"unicode"

	"github.com/google/uuid"
)

// Version is the OSCAL version that the documents are of.
const Version = "1.2.2"

// Document holds one of the two models.
type Document struct {
	Results *AssessmentResults `json:"assessment-results,omitempty"`
	POAM    *POAM              `json:"plan-of-action-and-milestones,omitempty"`
}

// Metadata says what a document is.
type Metadata struct {
	Title        string     `json:"title"`
	LastModified string     `json:"last-modified"` // RFC 3339
	Version      string     `json:"version"`
	OSCALVersion string     `json:"oscal-version"`
	Props        []Property `json:"props,omitempty"`
	Remarks      string     `json:"remarks,omitempty"`
}

// Property is a name with a value, in the namespace NS.
type Property struct {
	Name  string `json:"name"`
	NS    string `json:"ns,omitempty"`
	Value string `json:"value"`
}

// AssessmentResults is the model of that name.
type AssessmentResults struct {
	UUID       string      `json:"uuid"`
	Metadata   Metadata    `json:"metadata"`
	ImportAP   Import      `json:"import-ap"`
	Results    []Result    `json:"results"`
	BackMatter *BackMatter `json:"back-matter,omitempty"`
}

// Import names another document.
type Import struct {
	Href    string `json:"href"`
	Remarks string `json:"remarks,omitempty"`
}

// Result is what one assessment gave.
type Result struct {
	UUID             string           `json:"uuid"`
	Title            string           `json:"title"`
	Description      string           `json:"description"`
	Start            string           `json:"start"`
	End              string           `json:"end,omitempty"`
	Props            []Property       `json:"props,omitempty"`
	LocalDefinitions LocalDefinitions `json:"local-definitions"`
	ReviewedControls ReviewedControls `json:"reviewed-controls"`
	Observations     []Observation    `json:"observations,omitempty"`
	Risks            []Risk           `json:"risks,omitempty"`
	Findings         []Finding        `json:"findings,omitempty"`
	Remarks          string           `json:"remarks,omitempty"`
}

// LocalDefinitions holds what observations are about.
type LocalDefinitions struct {
	Components []Component `json:"components"`
}

// Component is a thing that is assessed or that assesses.
type Component struct {
	UUID        string     `json:"uuid"`
	Type        string     `json:"type"`
	Title       string     `json:"title"`
	Description string     `json:"description"`
	Props       []Property `json:"props,omitempty"`
	Status      State      `json:"status"`
}

// State is the status of a component.
type State struct {
	State string `json:"state"`
}

// ReviewedControls says which controls were looked at.
type ReviewedControls struct {
	Selections []Selection `json:"control-selections"`
	Remarks    string      `json:"remarks,omitempty"`
}

// Selection includes and excludes controls.
type Selection struct {
	Description string      `json:"description,omitempty"`
	Include     []ControlID `json:"include-controls,omitempty"`
	Exclude     []ControlID `json:"exclude-controls,omitempty"`
}

// ControlID selects a control.
type ControlID struct {
	ControlID string `json:"control-id"`
}

// Observation is one thing that was observed.
type Observation struct {
	UUID        string     `json:"uuid"`
	Title       string     `json:"title"`
	Description string     `json:"description"`
	Props       []Property `json:"props,omitempty"`
	Methods     []string   `json:"methods"`
	Types       []string   `json:"types,omitempty"`
	Origins     []Origin   `json:"origins,omitempty"`
	Subjects    []Subject  `json:"subjects,omitempty"`
	Evidence    []Evidence `json:"relevant-evidence,omitempty"`
	Collected   string     `json:"collected"`
	Remarks     string     `json:"remarks,omitempty"`
}

// Origin says who observed.
type Origin struct {
	Actors []Actor `json:"actors"`
}

// Actor is a tool.
type Actor struct {
	Type string `json:"type"`
	UUID string `json:"actor-uuid"`
}

// Subject names a component.
type Subject struct {
	UUID  string `json:"subject-uuid"`
	Type  string `json:"type"`
	Title string `json:"title,omitempty"`
}

// Evidence points at evidence.
type Evidence struct {
	Href        string     `json:"href,omitempty"`
	Description string     `json:"description"`
	Props       []Property `json:"props,omitempty"`
}

// Risk is a risk that a finding makes.
type Risk struct {
	UUID         string               `json:"uuid"`
	Title        string               `json:"title"`
	Description  string               `json:"description"`
	Statement    string               `json:"statement"`
	Status       string               `json:"status"`
	Observations []RelatedObservation `json:"related-observations,omitempty"`
}

// Finding says whether an objective is met.
type Finding struct {
	UUID         string               `json:"uuid"`
	Title        string               `json:"title"`
	Description  string               `json:"description"`
	Target       Target               `json:"target"`
	Observations []RelatedObservation `json:"related-observations,omitempty"`
	Risks        []RelatedRisk        `json:"related-risks,omitempty"`
}

// Target is the objective of a finding.
type Target struct {
	Type   string       `json:"type"`
	ID     string       `json:"target-id"`
	Status TargetStatus `json:"status"`
}

// TargetStatus is satisfied or not-satisfied.
type TargetStatus struct {
	State   string `json:"state"`
	Reason  string `json:"reason,omitempty"`
	Remarks string `json:"remarks,omitempty"`
}

// RelatedObservation refers to an observation.
type RelatedObservation struct {
	UUID string `json:"observation-uuid"`
}

// RelatedRisk refers to a risk.
type RelatedRisk struct {
	UUID string `json:"risk-uuid"`
}

// RelatedFinding refers to a finding.
type RelatedFinding struct {
	UUID string `json:"finding-uuid"`
}

// BackMatter holds resources.
type BackMatter struct {
	Resources []Resource `json:"resources"`
}

// Resource is something that a document refers to.
type Resource struct {
	UUID        string     `json:"uuid"`
	Title       string     `json:"title"`
	Description string     `json:"description,omitempty"`
	Props       []Property `json:"props,omitempty"`
}

// POAM is a plan of action and milestones.
type POAM struct {
	UUID             string            `json:"uuid"`
	Metadata         Metadata          `json:"metadata"`
	SystemID         *SystemID         `json:"system-id,omitempty"`
	LocalDefinitions *LocalDefinitions `json:"local-definitions,omitempty"`
	Observations     []Observation     `json:"observations,omitempty"`
	Risks            []Risk            `json:"risks,omitempty"`
	Findings         []Finding         `json:"findings,omitempty"`
	Items            []POAMItem        `json:"poam-items"`
}

// SystemID names the system that a plan is for.
type SystemID struct {
	ID string `json:"id"`
}

// POAMItem is one thing to do.
type POAMItem struct {
	UUID         string               `json:"uuid"`
	Title        string               `json:"title"`
	Description  string               `json:"description"`
	Props        []Property           `json:"props,omitempty"`
	Findings     []RelatedFinding     `json:"related-findings,omitempty"`
	Observations []RelatedObservation `json:"related-observations,omitempty"`
	Risks        []RelatedRisk        `json:"related-risks,omitempty"`
	Remarks      string               `json:"remarks,omitempty"`
}

// Format gives the JSON text of a document, the same for the same document.
func Format(d *Document) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(d); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// space is the namespace of Stemma's UUIDs: that of DNS names with stemma.dev
// (RFC 9562, section 5.5 and appendix A).
var space = uuid.NewSHA1(uuid.NameSpaceDNS, []byte("stemma.dev"))

// UUID derives a UUID of version 5 (RFC 9562, section 5.5) from words: the same
// words give the same UUID, whatever the machine and the time.
func UUID(words ...string) string {
	return uuid.NewSHA1(space, []byte(strings.Join(words, "\x00"))).String()
}

// Line makes a text fit a place for one line: it has no line break and no space
// at its ends, and is not empty.
func Line(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	if s == "" {
		return "-"
	}
	return s
}

var token = regexp.MustCompile(`^(\p{L}|_)(\p{L}|\p{N}|[.\-_])*$`)

// IsToken tells whether a text may stand where OSCAL wants a token: a control's
// identifier, for example.
func IsToken(s string) bool { return token.MatchString(s) }
