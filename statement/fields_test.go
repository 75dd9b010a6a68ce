package statement

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestEveryFieldIsDecided wants the fields of all predicates to be those for
// which somebody has decided whether they are kept of an erased entry.
func TestEveryFieldIsDecided(t *testing.T) {
	seen := map[string]bool{}
	var list []string
	var walk func(reflect.Type)
	walk = func(x reflect.Type) {
		for x.Kind() == reflect.Pointer || x.Kind() == reflect.Slice || x.Kind() == reflect.Map {
			x = x.Elem()
		}
		if x.Kind() != reflect.Struct || seen[x.Name()] || x == reflect.TypeFor[Time]() {
			return
		}
		seen[x.Name()] = true
		for i := range x.NumField() {
			list = append(list, x.Name()+"."+x.Field(i).Name)
			walk(x.Field(i).Type)
		}
	}
	for _, typ := range []string{ActivityType, EntityType, ApprovalType, DeploymentType, RegistryType, IdentityType, DelegationType,
		NoticeType, PolicyType, WaiverType, RetractionType, VSAType} {
		walk(reflect.TypeOf(newPredicate(typ)))
	}
	slices.Sort(list)
	name := filepath.Join("testdata", "fields.txt")
	got := strings.Join(list, "\n") + "\n"
	if os.Getenv("REWRITE") != "" {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("a field came or went. Decide in reduce.go whether an erased entry keeps it, put it into testdata/reduce, then run the test with REWRITE=1: %s", d)
	}
}
