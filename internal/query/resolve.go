package query

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// ErrNotFound says that nothing of that name is known as of the view.
var ErrNotFound = errors.New("not found")

// AmbiguousError says that a name stands for several things.
type AmbiguousError struct {
	Text       string
	Candidates []string
}

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("%q names %d things: %s; write one of them in full", e.Text, len(e.Candidates), strings.Join(e.Candidates, ", "))
}

// Versions says what a name without a version stands for.
type Versions bool

const (
	// One: the version that is current as of the view.
	One Versions = false
	// All: the series and all its versions.
	All Versions = true
)

// Resolve finds the things that a text names: a Ref, a digest or the first 6
// or more digits of one, or a name without its kind.
func Resolve(v graph.View, text string, vs Versions) ([]graph.ID, error) {
	found, err := candidates(v, text)
	if err != nil {
		return nil, err
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("%w: %s%s", ErrNotFound, text, hint(v, text))
	case 1:
	default:
		if len(distinct(v, found)) > 1 {
			var names []string
			for _, id := range found {
				names = append(names, describe(v, id))
			}
			sort.Strings(names)
			return nil, &AmbiguousError{text, uniq(names)}
		}
	}
	return expandVersions(v, found[0], vs), nil
}

// distinct drops names that stand for the same content.
func distinct(v graph.View, ids []graph.ID) []graph.ID {
	seen := map[graph.ID]bool{}
	var out []graph.ID
	for _, id := range ids {
		if p := partners(v, id); !v.IsDigest(id) && len(p) == 1 {
			id = p[0]
		}
		if !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out
}

func describe(v graph.View, id graph.ID) string {
	r := v.Ref(id)
	if r.Namespace != "" {
		return fmt.Sprintf("%s (namespace %s)", r, r.Namespace)
	}
	return r.String()
}

func candidates(v graph.View, text string) ([]graph.ID, error) {
	if text == "" {
		return nil, fmt.Errorf("%w: the name is empty", prov.ErrRef)
	}
	if hex := strings.TrimPrefix(text, "sha256:"); isHex(hex) && (hex != text || len(hex) >= 6) {
		if len(hex) == 64 {
			if id := v.Lookup(prov.DigestRef("sha256", hex)); id != graph.None {
				return []graph.ID{id}, nil
			}
			return nil, nil
		}
		if len(hex) < 6 {
			return nil, fmt.Errorf("%w: %q: give 6 or more digits of a digest", prov.ErrRef, text)
		}
		if ids := v.DigestPrefix(hex); len(ids) > 0 || hex != text {
			return ids, nil
		}
	}
	ref, err := prov.ParseRef(text)
	if err == nil {
		return byRef(v, ref), nil
	}
	if strings.Contains(text, ":") && !strings.Contains(text, "://") {
		return nil, err
	}
	var out []graph.ID
	for _, k := range prov.Kinds() {
		if r, err := prov.ParseRef(string(k) + ":" + text); err == nil {
			out = append(out, byRef(v, r)...)
		}
	}
	return out, nil
}

func isHex(s string) bool { return s != "" && strings.Trim(s, "0123456789abcdef") == "" }

// byRef finds the things that a Ref's text may mean: the name as a whole, the
// name as a pair split at any '/', and an alias in a registry.
func byRef(v graph.View, ref prov.Ref) []graph.ID {
	var out []graph.ID
	add := func(r prov.Ref) {
		if id := v.Lookup(r); id != graph.None {
			out = append(out, id)
		}
	}
	add(ref)
	for i := 0; i < len(ref.Name); i++ {
		if ref.Name[i] == '/' && i > 0 && i+1 < len(ref.Name) {
			r := ref
			r.Namespace, r.Name = ref.Name[:i], ref.Name[i+1:]
			add(r)
		}
	}
	if len(out) == 0 && ref.Version != "" {
		for _, id := range byRef(v, ref.Series()) {
			out = append(out, alias(v, id, ref.Version)...)
			out = append(out, shortVersion(v, id, ref.Version)...)
		}
	}
	return out
}

// alias finds what a registry's alias or stage of the series points at.
func alias(v graph.View, series graph.ID, name string) []graph.ID {
	var out []graph.ID
	for _, ver := range v.Versions(series) {
		for _, id := range append(partners(v, ver.ID), ver.ID) {
			for r := range v.Out(id) {
				x := v.Relation(r)
				if x.Type == prov.NamedBy && x.Role == name && (v.AsOf().Valid != prov.Forever || x.Valid.To == prov.Forever) {
					out = append(out, id)
				}
			}
		}
	}
	return distinct(v, out)
}

// shortVersion finds versions by the first 6 or more characters: those that
// are made of digests or activities are long.
func shortVersion(v graph.View, series graph.ID, prefix string) []graph.ID {
	var out []graph.ID
	if len(prefix) < 6 {
		return nil
	}
	for _, ver := range v.Versions(series) {
		w := v.Ref(ver.ID).Version
		if strings.HasPrefix(w, prefix) || strings.HasPrefix(strings.TrimPrefix(w, "sha256:"), prefix) {
			out = append(out, ver.ID)
		}
	}
	return out
}

// expandVersions gives what a series stands for; anything else stands for
// itself.
func expandVersions(v graph.View, id graph.ID, vs Versions) []graph.ID {
	group := []graph.ID{id}
	if r := v.Ref(id); r.Version == "" && r.Kind.Versioned() {
		w := closure(v, group, up, prov.Relations(prov.SameAs))
		group = slices.Clone(w.order)
		w.free()
	}
	if vs == All {
		out := append([]graph.ID{}, group...)
		for _, s := range group {
			for _, ver := range v.Versions(s) {
				out = append(out, ver.ID)
			}
		}
		return out
	}
	best := graph.Version{ID: id}
	for _, s := range group {
		for _, ver := range v.Versions(s) {
			if ver.Written && (!best.Written || ver.At > best.At || ver.At == best.At && string(v.Key(ver.ID)) > string(v.Key(best.ID))) {
				best = ver
			}
		}
	}
	return []graph.ID{best.ID}
}

// maxNamed is how many versions an error names.
const maxNamed = 8

// versionless gives an error for a series of which nothing is said and of
// which no version is current, although there are some: an answer about the
// series would be empty, and would read as if there were nothing.
func versionless(v graph.View, series graph.ID) error {
	if r := v.Ref(series); r.Version != "" || !r.Kind.Versioned() {
		return nil
	}
	for range v.Out(series) {
		return nil
	}
	all := v.Always().Versions(series)
	if len(all) == 0 {
		return nil
	}
	var names []string
	for _, ver := range all[max(0, len(all)-maxNamed):] {
		name := v.Ref(ver.ID).String()
		if ver.Written {
			name += " (since " + ver.At.String() + ")"
		}
		names = append(names, name)
	}
	if n := len(all) - len(names); n > 0 {
		names = append([]string{fmt.Sprintf("%d more", n)}, names...)
	}
	return fmt.Errorf("%w: no version of %s is current as of then; known are %s; name the one that you mean", ErrNotFound, v.Ref(series), strings.Join(names, ", "))
}

// hint proposes names that look like the one that was not found.
func hint(v graph.View, text string) string { return near(v, text) + erasedNames(v, text) }

// erasedNames says that the name may be one of those that were erased.
func erasedNames(v graph.View, text string) string {
	r, err := prov.ParseRef(text)
	if err != nil {
		return ""
	}
	var entries []uint64
	for _, e := range v.Erasures() {
		if slices.Contains(e.Kinds, r.Kind) {
			entries = append(entries, e.Entry)
		}
	}
	if len(entries) == 0 {
		return ""
	}
	return fmt.Sprintf("; names of that kind were erased from %s, and it may have been one of them", entriesText(entries))
}

func near(v graph.View, text string) string {
	if v.AsOf().Known == 0 {
		return "; the log is empty as of then"
	}
	_, part, ok := strings.Cut(text, ":")
	if !ok {
		part = text
	}
	part, _, _ = strings.Cut(part, "@")
	if i := strings.LastIndexByte(part, '/'); i >= 0 && i+1 < len(part) {
		part = part[i+1:]
	}
	ids, _ := v.Search(part, 4)
	if len(ids) == 0 {
		return "; stemma search TEXT looks for parts of names"
	}
	var names []string
	for _, id := range ids {
		names = append(names, v.Ref(id).String())
	}
	return "; did you mean " + strings.Join(names, ", ") + "?"
}

// Identify gives the name and the content digest of the one thing that a text
// names; the digest is zero when none, or more than one, is known.
func Identify(v graph.View, text string) (name, digest prov.Ref, err error) {
	ids, err := Resolve(v, text, One)
	if err != nil {
		return prov.Ref{}, prov.Ref{}, err
	}
	id := ids[0]
	ps := partners(v, id)
	if v.IsDigest(id) {
		name, digest = v.Ref(id), v.Ref(id)
		if len(ps) > 0 {
			name = best(v, ps)
		}
		return name, digest, nil
	}
	if len(ps) == 1 {
		digest = v.Ref(ps[0])
	}
	return v.Ref(id), digest, nil
}
