package policy

import (
	"fmt"
	"maps"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
)

// The questions that expressions ask of the graph.

// question is a function of expressions. bad is the answer for which entries
// against the thing can be the reason; see contest.
type question struct {
	ask func(f *facts, a arguments) ref.Val
	bad ref.Val
}

var questions = map[string]question{
	"approved":             {func(f *facts, a arguments) ref.Val { return f.approved(a.text[0], a.num, "") }, nil},
	"approvedWith":         {func(f *facts, a arguments) ref.Val { return f.approved(a.text[0], a.num, a.text[1]) }, nil},
	"approvedApart":        {func(f *facts, a arguments) ref.Val { return f.approvedApart(a.list) }, nil},
	"rejected":             {func(f *facts, a arguments) ref.Val { return f.rejected(a.text[0]) }, nil},
	"noticed":              {func(f *facts, a arguments) ref.Val { return f.noticed(a.list) }, types.True},
	"originsKnown":         {func(f *facts, a arguments) ref.Val { return f.originsKnown() }, nil},
	"licensed":             {func(f *facts, a arguments) ref.Val { return f.licensed(a.list) }, types.False},
	"evaluated":            {func(f *facts, a arguments) ref.Val { return f.evaluated(a.text[0]) }, types.False},
	"owned":                {func(f *facts, a arguments) ref.Val { return f.owned() }, nil},
	"ancestorsApproved":    {func(f *facts, a arguments) ref.Val { return f.ancestorsApproved(a.text[0], a.list, false) }, types.False},
	"thirdPartiesReviewed": {func(f *facts, a arguments) ref.Val { return f.ancestorsApproved(a.text[0], nil, true) }, types.False},
	"credentialsInDate":    {func(f *facts, a arguments) ref.Val { return f.credentialsInDate() }, types.False},
	"policyPinned":         {func(f *facts, a arguments) ref.Val { return f.policyPinned() }, nil},
	"unchanged":            {func(f *facts, a arguments) ref.Val { return f.unchanged() }, nil},
}

// functions binds the questions of expressions. An argument of another type,
// which a policy's parameters can bring, makes the question unknown: an empty
// list or name in its place could pass.
func (f *facts) functions() map[string]cel.LateBoundFunction {
	out := map[string]cel.LateBoundFunction{}
	for name, q := range questions {
		out[name] = func(_ string, args ...ref.Val) ref.Val {
			a, err := readArguments(name, args)
			if err != nil {
				return f.unknown("%v", err)
			}
			return f.once(a.key, func() ref.Val { return f.contest(q, a) })
		}
	}
	return out
}

// arguments are those of one call: texts in their order, a number, a list.
type arguments struct {
	text []string
	num  int
	list []string
	key  string // of the function with them
}

func readArguments(name string, args []ref.Val) (arguments, error) {
	a := arguments{key: name}
	for _, v := range args {
		switch x := v.Value().(type) {
		case string:
			if x == "" {
				return a, fmt.Errorf("%s: a name is empty", name)
			}
			a.text = append(a.text, x)
			a.key += fmt.Sprintf(" %q", x)
		case int64:
			if x < 1 || x > 1000 {
				return a, fmt.Errorf("%s: the number %d is not from 1 to 1000", name, x)
			}
			a.num = int(x)
			a.key += fmt.Sprintf(" %d", x)
		default:
			n, err := v.ConvertToNative(stringsType)
			list, ok := n.([]string)
			if err != nil || !ok || len(list) == 0 || slices.Contains(list, "") {
				return a, fmt.Errorf("%s takes a name, a number or a list of names, none of them empty; it was given a %s", name, v.Type().TypeName())
			}
			a.list = list
			a.key += fmt.Sprintf(" %q", list)
		}
	}
	return a, a.fit(name)
}

// shapes tells how many texts, numbers and lists each function takes.
var shapes = map[string][3]int{"approved": {1, 1, 0}, "approvedWith": {2, 1, 0}, "approvedApart": {0, 0, 1}, "rejected": {1, 0, 0}, "noticed": {0, 0, 1},
	"licensed": {0, 0, 1}, "evaluated": {1, 0, 0}, "ancestorsApproved": {1, 0, 1}, "thirdPartiesReviewed": {1, 0, 0}}

func (a arguments) fit(name string) error {
	has := [3]int{len(a.text), 0, 0}
	if a.num > 0 {
		has[1] = 1
	}
	if a.list != nil {
		has[2] = 1
	}
	if has != shapes[name] {
		return fmt.Errorf("%s was given arguments of other types than it takes", name)
	}
	return nil
}

// maxQuestions is how many different questions one evaluation may ask of the
// graph. CEL counts a call as cheap; these are not.
const maxQuestions = 256

// answered is what a question gave, with what it looked at.
type answered struct {
	val     ref.Val
	looked  map[uint64]bool
	reasons []string
}

// once asks each question once, however often rules ask it.
func (f *facts) once(key string, ask func() ref.Val) ref.Val {
	got, ok := f.asked[key]
	if !ok {
		if len(f.asked) >= maxQuestions {
			return f.unknown("the policy asks more than %d different questions", maxQuestions)
		}
		looked, reasons := f.looked, f.reasons
		f.looked, f.reasons = map[uint64]bool{}, nil
		val := ask()
		got = answered{val, f.looked, f.reasons}
		f.asked[key] = got
		f.looked, f.reasons = looked, reasons
	}
	maps.Copy(f.looked, got.looked)
	f.reasons = append(f.reasons, got.reasons...)
	return got.val
}

// maxAlone bounds how many entries one answer is tried without.
const maxAlone = 64

// contest asks a question, and where the answer is bad also without each of
// the entries on which it may hang. If it were good without one of them, it is
// not known: else leaving out that entry would allow. A notice is not among
// them, for that is what a notice is for.
func (f *facts) contest(q question, a arguments) ref.Val {
	f.against = nil
	val := q.ask(f, a)
	if q.bad == nil || val != q.bad || f.alone {
		return val
	}
	slices.Sort(f.against)
	entries := slices.Compact(f.against)
	if len(entries) > maxAlone {
		return f.unknown("the answer may hang on any of %d entries, more than the %d that are tried", len(entries), maxAlone)
	}
	for _, e := range entries {
		other := newFacts(f.p, f.v.Without(e), f.q)
		other.alone = true
		if got := q.ask(other, a); types.IsBool(got) && got != q.bad {
			return f.unknown("entry %d alone says so, and the other entries say otherwise: record all of it in one statement", e)
		}
	}
	return val
}

// leadsTo notes the entries by which lineage leads to a member of the closure,
// those that tell of it, and those that name it.
func (f *facts) leadsTo(id graph.ID) {
	if f.alone {
		return
	}
	start := append(f.ids(), f.judge.same...)
	between := query.Between(f.v, start, id)
	in := make(map[graph.ID]bool, len(between))
	for _, x := range between {
		in[x] = true
	}
	var all, few []uint64
	for _, x := range between {
		var here []uint64
		for r := range f.v.Out(x) {
			if in[r.To()] {
				here = append(here, f.v.Relation(r).Entry)
			}
		}
		for r := range f.v.In(x) {
			if r.Type() == prov.SameAs && in[r.From()] {
				here = append(here, f.v.Relation(r).Entry)
			}
		}
		all = append(all, here...)
		if f.toldElsewhere(x, here) {
			few = append(few, here...)
		}
	}
	slices.Sort(all)
	if all = slices.Compact(all); len(all) > maxAlone {
		all = few // elsewhere a gap would be left, and that is not good either
	}
	f.against = append(f.against, all...)
	content, names := Same(f.v, id)
	for _, x := range append(content, names...) {
		f.tellOf(x)
	}
}

// tellOf notes the entries that tell an attribute of a thing, or name it.
func (f *facts) tellOf(id graph.ID) {
	for c := range f.v.Claims(id) {
		f.against = append(f.against, c.Entry)
	}
	for r := range f.v.Out(id) {
		if r.Type() == prov.SameAs {
			f.against = append(f.against, f.v.Relation(r).Entry)
		}
	}
	for r := range f.v.In(id) {
		if r.Type() == prov.SameAs {
			f.against = append(f.against, f.v.Relation(r).Entry)
		}
	}
}

// toldElsewhere tells whether anything but the one entry says how a thing was
// made, or what an activity used.
func (f *facts) toldElsewhere(id graph.ID, by []uint64) bool {
	first := uint64(0)
	if len(by) > 0 {
		first = by[0]
	}
	for r := range f.v.Out(id) {
		switch r.Type() {
		case prov.Used, prov.GeneratedBy, prov.GeneratedByStated, prov.DerivedFrom, prov.PartOf, prov.SameAs:
			if f.v.Relation(r).Entry != first {
				return true
			}
		}
	}
	for c := range f.v.Claims(id) {
		if (c.Key == "origin" || c.Key == "inputsCompleteness") && c.Entry != first {
			return true
		}
	}
	return false
}
