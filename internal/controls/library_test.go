package controls

import (
	"testing"

	"github.com/stemma-lineage/stemma/internal/catalog"
	"github.com/stemma-lineage/stemma/internal/policy"
)

// Each control that a policy of the library names is in a catalogue, and named
// as the catalogue writes it.
func TestLibraryNamesControls(t *testing.T) {
	named := 0
	for _, name := range policy.Library() {
		text, err := policy.FromLibrary(name)
		if err != nil {
			t.Fatal(err)
		}
		p, err := policy.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range p.Rules {
			for _, c := range r.Controls {
				named++
				if !inCatalogue(c) {
					t.Errorf("policy %s, rule %s: no catalogue has the control %q in this spelling", name, r.ID, c)
				}
			}
		}
	}
	if named == 0 {
		t.Error("the library names no control at all")
	}
}

func inCatalogue(control string) bool {
	for _, f := range catalog.Frameworks() {
		if id, ok := f.Canonical(control); ok && id == control {
			return true
		}
	}
	return false
}
