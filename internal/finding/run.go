package finding

import (
	"errors"
	"iter"
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/policy"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
)

// ErrMoment says that a view over all of time was asked.
var ErrMoment = errors.New("findings are of a moment; give a time")

// Run yields what the detectors say of every subject, as of a view at a
// moment, in the order of the subjects in the graph and of the detectors.
func Run(v graph.View, o Options) (iter.Seq[Finding], error) {
	if v.AsOf().Valid == prov.Forever {
		return nil, ErrMoment
	}
	o = o.filled()
	return func(yield func(Finding) bool) {
		s := newScope(v, &o)
		for id := graph.ID(1); int(id) < v.Len(); id++ {
			if id&1023 == 0 && o.Stop != nil && o.Stop() {
				return
			}
			for _, f := range s.subject(id) {
				if !yield(f) {
					return
				}
			}
		}
	}, nil
}

// subject gives what the detectors say of one thing.
func (s *scope) subject(id graph.ID) []Finding {
	if !s.all.Known(id) {
		return nil
	}
	var out []Finding
	for _, i := range byKind[s.kind(id)] {
		if f, ok := s.check(i, id); ok {
			out = append(out, f)
		}
	}
	return out
}

// check gives what one detector says of a thing of one of its kinds.
func (s *scope) check(i int, id graph.ID) (Finding, bool) {
	d := &detectors[i]
	if s.o.Only != nil && !slices.Contains(s.o.Only, d.ID) {
		return Finding{}, false
	}
	r := d.check(s, id)
	if r == nil || r.outcome == "" {
		return Finding{}, false
	}
	if slices.Contains(s.o.Terse, r.outcome) {
		return terse(d, id, r.outcome), true
	}
	return s.finish(d, id, r), true
}

func terse(d *Detector, id graph.ID, o Outcome) Finding {
	return Finding{Detector: d.ID, Name: d.Name, Outcome: o, ID: id, Witness: []Hop{}}
}

// Behind tells of findings whether they concern some things: what they are, all
// that they were made with, where they are deployed, what these run as and
// with, and the decisions and notices on any of that.
func Behind(v graph.View, ids []graph.ID) func(*Finding) bool {
	s := newScope(v, &Options{})
	in := map[graph.ID]bool{}
	var from []graph.ID
	for _, id := range ids {
		for _, x := range s.same(id) {
			from = append(from, x)
			for _, y := range s.in(x, prov.Relations(prov.Deployed)) {
				from = append(from, y.From)
			}
			for _, y := range s.in(x, prov.Relations(prov.DeployedTo)) { // of a service or environment
				if y.Valid.Holds(s.at) {
					from = append(from, y.From)
				}
			}
		}
	}
	for _, id := range query.Members(v.Always(), from, false) {
		in[id] = true
		for _, x := range s.out(id, chained|prov.Relations(prov.ApprovedBy, prov.SubjectOf, prov.Granted)) {
			in[x.To] = true
			for _, y := range s.out(x.To, prov.Relations(prov.AuthenticatesWith, prov.ReadsSecret, prov.RunsAs)) {
				in[y.To] = true
			}
		}
	}
	return func(f *Finding) bool { return in[f.ID] }
}

// told gives hops with the names of what they are between, those that are told
// in the same words once.
func (s *scope) told(hops []Hop) []Hop {
	out := []Hop{}
	for _, h := range hops {
		if h.From == "" {
			h.From, h.fromKind = s.label(h.from), s.kind(h.from)
		}
		if h.To == "" {
			h.To, h.toKind = s.label(h.to), s.kind(h.to)
		}
		h.from, h.to = graph.None, graph.None
		if !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return out
}

// finish makes a finding of a result.
func (s *scope) finish(d *Detector, id graph.ID, r *result) Finding {
	r.hops = s.told(r.hops)
	f := Finding{Detector: d.ID, Name: d.Name, Subject: s.label(id), Outcome: r.outcome, Witness: r.hops, Hidden: r.hidden,
		Known: r.known, Environment: r.env, Under: append(r.about, r.under...), Fingerprint: fingerprint(d.ID, s.all.Key(id), r), ID: id}
	if c, ok := s.content(id); ok {
		f.Digest = s.all.Ref(c).String()
	}
	slices.Sort(r.entries)
	f.Entries = slices.Compact(r.entries)
	if len(f.Entries) == 0 {
		f.Entries = []uint64{s.all.First(id)}
	}
	for _, h := range r.hops {
		if h.Grade != "" && (f.Grade == "" || gradeRank[h.Grade] < gradeRank[f.Grade]) {
			f.Grade = h.Grade
		}
	}
	f.Controls = d.Controls
	if r.outcome == Clear {
		return f
	}
	f.Reasons = r.reasons
	base := r.base
	if base == "" {
		base = d.Severity
	}
	f.Inputs = &Inputs{base, r.env, r.live, r.blast}
	f.Severity = f.Inputs.Severity()
	f.First = s.first(r, f.Entries)
	if o := s.owner(id); o.name != "" {
		f.Owner = o.name
	}
	s.waive(&f, d, id, r)
	return f
}

var gradeRank = map[string]int{"self-reported": 1, "declared": 2, "observed": 3, "resource-side": 4, "issuer": 5}

// first gives when the finding could first be seen.
func (s *scope) first(r *result, entries []uint64) *Seen {
	last := slices.Max(entries)
	if len(r.causes) == 0 {
		r.causes = []cause{{s.all.Recorded(last), last}}
	}
	best, when := cause{}, prov.Forever
	for _, c := range r.causes {
		if c.entry == 0 {
			c.entry = last
		}
		if t := max(c.at, s.all.Recorded(c.entry)); t < when || t == when && (c.entry < best.entry || c.entry == best.entry && c.at < best.at) {
			best, when = c, t
		}
	}
	return &Seen{At: best.at.String(), Entry: best.entry, RecordedAt: s.all.Recorded(best.entry).String()}
}

// waive looks for a waiver that counts: on the subject, or of a deployment or
// a decision on what it places or decides.
func (s *scope) waive(f *Finding, d *Detector, id graph.ID, r *result) {
	ids := s.same(id)
	for _, x := range r.about {
		ids = append(ids, s.same(x)...)
	}
	slices.Sort(ids)
	for _, w := range policy.Waivers(s.v, slices.Compact(ids), []string{d.ID, d.Name}, s.o.WaiverRole, policy.Context{Log: s.o.Log, Environment: r.env, Stewards: s.o.Stewards}) {
		if w.Effect == policy.Counts && f.Waiver == nil {
			f.Waiver = &Waiver{w.Approver, w.Until, w.Comment, w.Entry}
			continue
		}
		if w.Effect == policy.Counts {
			continue
		}
		var why []string
		for _, x := range w.Reasons {
			why = append(why, x.Detail)
		}
		f.NotWaived = append(f.NotWaived, "the waiver of "+w.Approver+" until "+w.Until+" does not count: "+strings.Join(why, "; "))
	}
}
