package graph

import (
	"encoding/hex"
	"fmt"
	"time"

	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// Rules of relations: how it is known that one thing depends on another.
const (
	ruleNone uint8 = iota
	ruleStated
	ruleLineage
	ruleColumn
	ruleInputs
	ruleDesign
	ruleNamed // a name and a digest that one statement gave together
)

var ruleNames = []string{"", statement.RuleStated, statement.RuleLineage, statement.RuleColumn, statement.RuleInputs, statement.RuleDesignTime, "named-together"}

func ruleOf(s string) uint8 {
	for i, n := range ruleNames {
		if n == s {
			return uint8(i)
		}
	}
	return ruleNone
}

// emptySHA256 is the digest of no bytes: two empty files have it, and are not
// the same thing for that.
const emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// Fold takes in the entry at index, which must be Size(). A statement that
// cannot be understood changes nothing but is kept as a problem; an entry
// whose bytes are not an entry at all is an error, and so is a gap.
func (g *Graph) Fold(index uint64, content []byte) error {
	if err := g.thaw(); err != nil {
		return fmt.Errorf("folding entry %d: %w", index, err)
	}
	e, err := statement.ParseEntry(content)
	if err != nil && index == g.Size() {
		return fmt.Errorf("folding entry %d: %w", index, err)
	}
	return g.FoldParsed(index, e.RecordedAt, e.RecordedBy, statement.Read(e.Envelope))
}

// FoldParsed takes in an entry whose envelope was read already, as Fold takes
// in its bytes: the graph is the same. recordedBy is the principal that the
// entry names.
func (g *Graph) FoldParsed(index uint64, recordedAt time.Time, recordedBy string, p statement.Parsed) error {
	if index != g.Size() {
		return fmt.Errorf("folding entry %d: the graph holds %d entries; fold them in order", index, g.Size())
	}
	if err := g.thaw(); err != nil {
		return fmt.Errorf("folding entry %d: %w", index, err)
	}
	at := prov.At(recordedAt)
	g.touched = g.touched[:0]
	g.recorded.add(at)
	g.recorder.add(g.words.intern(recordedBy))
	g.foldStatement(uint32(index), at, recordedBy, p)
	g.publish()
	return nil
}

// publish shows an entry that is folded in full to readers.
func (g *Graph) publish() {
	g.mark()
	g.size.Store(g.recorded.end())
}

func (g *Graph) foldStatement(k uint32, at prov.Instant, recordedBy string, p statement.Parsed) {
	if g.duplicate(p.Digest, k) {
		g.problem(k, "the same envelope stands earlier in the log; this copy counts for nothing")
		return
	}
	if p.Err != nil {
		g.problem(k, p.Err.Error())
		return
	}
	f := folder{g: g, k: k, at: at, by: recordedBy, id: hex.EncodeToString(p.Digest[:8]), subjects: p.Statement.Subjects, envelope: p.Envelope}
	f.doubts(p.Statement.Predicate)
	f.statement(p.Statement)
}

// doubts notes evidence whose check failed. What the statement says is folded
// all the same: whoever asks must see the claim and the doubt together.
func (f *folder) doubts(p statement.Predicate) {
	for _, e := range statement.EvidenceOf(p) {
		if e.Verified != nil && e.Verified.Result == statement.CheckFailed {
			f.g.doubts.add(problem{entry: f.k, what: f.g.store(e.Verified.Reason)})
			return
		}
	}
}

// mark notes where each list stands at the log size that is reached.
func (g *Graph) mark() {
	b := &g.binding
	g.marks.add(mark{g.rels.end(), g.attrs.end(), b.asserts.end(), b.claims.end(), b.writes.end(), uint32(len(b.joins))})
}

func (g *Graph) duplicate(digest [32]byte, k uint32) bool {
	d := [16]byte(digest[:16])
	g.digests.add(d)
	if 4*g.digests.len() > 3*len(g.seen) {
		g.seen = make([]uint32, 2*len(g.seen))
		for i := range g.digests.end() - 1 {
			g.markSeen(*g.digests.at(i), i)
		}
	}
	return g.markSeen(d, k)
}

func (g *Graph) markSeen(d [16]byte, k uint32) bool {
	mask := uint64(len(g.seen) - 1)
	for i := hash(d[:]) & mask; ; i = (i + 1) & mask {
		if g.seen[i] == 0 {
			g.seen[i] = k + 1
			return false
		}
		if *g.digests.at(g.seen[i] - 1) == d {
			return true
		}
	}
}

// folder folds one statement.
type folder struct {
	g        *Graph
	k        uint32
	at       prov.Instant // recordedAt
	by       string       // recordedBy
	id       string       // short name for things that the statement makes
	subjects []statement.Subject
	envelope *statement.Envelope // nil where nobody has it
}

func (f *folder) statement(s *statement.Statement) {
	switch p := s.Predicate.(type) {
	case *statement.Activity:
		f.activity(p)
	case *statement.Entity:
		f.entity(p)
	case *statement.Approval:
		f.approval(p)
	case *statement.Deployment:
		f.deployment(p)
	case *statement.Registry:
		f.registry(p)
	case *statement.Identity:
		f.identity(p)
	case *statement.Delegation:
		f.delegation(p)
	case *statement.Notice:
		f.notice(p)
	case *statement.Policy:
		f.policy(p)
	case *statement.Waiver:
		f.waiver(p)
	case *statement.VSA:
		f.document(s.PredicateType)
	case *statement.Retraction:
		f.g.retract(p.Entry, f.k)
	case *statement.Index: // of the log's index, not of what is recorded
	default:
		f.g.problem(f.k, fmt.Sprintf("predicate type %s is not understood; the entry is kept and says nothing here", s.PredicateType))
	}
}

// must reads a target that statement.Parse has checked already.
func must(t statement.Target, err error) statement.Target {
	if err != nil {
		panic("graph: a checked statement has a bad reference: " + err.Error())
	}
	return t
}

func ref(s string) statement.Target { return must(statement.Resource{Ref: s}.Target()) }

// place gives the thing that a target names. bound says that it is a series
// whose version at the time of reading is meant.
func (f *folder) place(t statement.Target) (id ID, bound bool) {
	g := f.g
	if !t.Digest.IsZero() && !(t.Digest.Name == emptySHA256 && !t.Ref.IsZero()) {
		d := g.intern(t.Digest, f.k)
		if !t.Ref.IsZero() {
			r := g.intern(labelRef(t), f.k)
			f.rel(r, d, prov.SameAs, ruleNamed, prov.Beginning, "")
		}
		return d, false
	}
	if !t.Digest.IsZero() {
		return g.intern(labelRef(t), f.k), false
	}
	id = g.intern(t.Ref, f.k)
	return id, t.Ref.Version == "" && t.Ref.Kind.Versioned()
}

// labelRef gives the versioned name of a target: the digest, if there is one,
// is the version where none is given.
func labelRef(t statement.Target) prov.Ref {
	if t.Ref.Version == "" && t.Ref.Kind.Versioned() && !t.Digest.IsZero() {
		return t.Ref.WithVersion(t.Digest.String())
	}
	return t.Ref
}

// rel adds a relation that holds from a fixed time on.
func (f *folder) rel(from, to ID, typ prov.RelationType, rule uint8, vf prov.Instant, role string) uint32 {
	return f.relUntil(from, to, typ, rule, vf, prov.Forever, role)
}

func (f *folder) relUntil(from, to ID, typ prov.RelationType, rule uint8, vf, vt prov.Instant, role string) uint32 {
	return f.g.newRel(rel{from: from, to: to, vf: vf, vt: vt, entry: f.k, kf: f.k, kt: openKnown,
		role: f.g.words.intern(role), typ: typ, rule: rule})
}

// tie adds a relation to a target, bound by time if it is a series.
func (f *folder) tie(from ID, t statement.Target, typ prov.RelationType, rule uint8, at prov.Instant, role string) {
	to, bound := f.place(t)
	if !bound {
		f.rel(from, to, typ, rule, at, role)
		return
	}
	f.g.addAssert(f.boundTo(assert{from: from, at: at, typ: typ, rule: rule, clock: clockFixed, role: f.g.words.intern(role)}, to, t.Ref), f.k)
}

// boundTo makes an assertion bind to a series; a column binds with its
// dataset.
func (f *folder) boundTo(s assert, series ID, r prov.Ref) assert {
	s.to, s.bound = series, true
	if d, _, ok := r.SplitColumn(); ok {
		s.to, s.column = f.g.intern(d, f.k), series
	}
	return s
}

func (f *folder) attr(id ID, key, val string, at prov.Instant) { f.g.newAttr(id, key, val, at, f.k) }

// about gives the things that the subjects name; each is mentioned by this
// entry.
func (f *folder) about() []ID {
	var ids []ID
	for _, s := range f.subjects {
		id, _ := f.place(must(s.Target()))
		f.g.mentionOf(id, f.k)
		ids = append(ids, id)
	}
	return ids
}

func (f *folder) or(t statement.Time) prov.Instant { return t.Instant(f.at) }

func (f *folder) activity(p *statement.Activity) {
	g := f.g
	actRef := must(statement.Resource{Ref: p.ID, Namespace: p.Namespace}.Target()).Ref
	id := g.intern(actRef, f.k)
	g.mentionOf(id, f.k)
	a := g.actOf(id)
	f.claim(a, p)
	always := prov.Beginning // what an activity is does not change with time
	f.attr(id, "activity", p.Kind, always)
	f.attr(id, "inputsCompleteness", p.InputsCompleteness, always)
	for _, k := range sortedKeys(p.Parameters) {
		f.attr(id, "parameter."+k, p.Parameters[k], always)
	}
	for _, k := range sortedKeys(p.Environment) {
		f.attr(id, "environment."+k, p.Environment[k], always)
	}
	for _, u := range p.Used {
		f.dated(id, a, must(u.Target()), prov.Used, ruleOf(u.Rule), clockRead, u.At.Instant(prov.Beginning), u.Role)
	}
	f.outputs(id, a, actRef, p)
	none := prov.Beginning
	if p.Plan != nil {
		f.dated(id, a, must(p.Plan.Target()), prov.HadPlan, 0, clockRead, none, "")
	}
	for _, r := range p.InformedBy {
		f.dated(id, a, must(r.Target()), prov.InformedBy, 0, clockRead, none, "")
	}
	for _, x := range p.Identities {
		f.dated(id, a, ref(x.Ref), prov.AssociatedWith, 0, clockRead, none, x.Role)
	}
	for _, x := range p.OnBehalfOf {
		f.dated(id, a, ref(x.Ref), prov.ActedOnBehalfOf, 0, clockRead, none, x.Role)
	}
	for _, r := range p.Credentials {
		f.dated(id, a, must(r.Target()), prov.AuthenticatesWith, 0, clockRead, none, "")
	}
	for _, r := range p.Tools {
		f.dated(id, a, must(r.Target()), prov.CallsTool, 0, clockRead, none, "")
	}
}

func (f *folder) claim(a uint32, p *statement.Activity) {
	b := &f.g.binding
	state := uint8(0)
	for i, n := range stateNames {
		if n == p.State {
			state = uint8(i)
		}
	}
	put(&b.acts.at(a).claim, b.claims.add(claim{act: a, next: b.acts.at(a).claim, start: p.StartedAt.Instant(prov.Beginning),
		end: p.EndedAt.Instant(prov.Beginning), seen: p.ObservedAt.Instant(prov.Beginning), recorded: f.at,
		entry: f.k, kt: openKnown, state: state}))
	f.g.refreshAct(a, f.k)
}

// dated adds a relation that follows the clock of activity a.
func (f *folder) dated(from ID, a uint32, t statement.Target, typ prov.RelationType, rule uint8, clock uint8, at prov.Instant, role string) {
	to, bound := f.place(t)
	s := assert{from: from, to: to, act: a, at: at, typ: typ, rule: rule, clock: clock, role: f.g.words.intern(role)}
	if bound {
		s = f.boundTo(s, to, t.Ref)
	}
	f.g.addAssert(s, f.k)
}

// outputs makes the versions that the activity wrote, and their derivations.
func (f *folder) outputs(id ID, a uint32, actRef prov.Ref, p *statement.Activity) {
	stated := map[string]bool{}
	var outs []statement.Target
	have := map[string]bool{}
	add := func(t statement.Target) {
		if key := targetKey(t); !have[key] && t.Ref != actRef {
			have[key] = true
			outs = append(outs, t)
		}
	}
	for _, s := range f.subjects {
		add(must(s.Target()))
	}
	for _, d := range p.Derived {
		if t := must(d.To.Target()); t.Ref.Kind != prov.Column {
			stated[targetKey(t)] = true
			add(t)
		}
	}
	rule := ruleOf(p.Rule)
	if p.Rule == "" {
		rule = ruleInputs
	}
	made := map[string]ID{}
	for _, t := range outs {
		key := targetKey(t)
		typ, r := prov.GeneratedBy, rule
		if stated[key] {
			typ, r = prov.GeneratedByStated, ruleNone
		}
		made[key] = f.output(id, a, actRef, t, typ, r)
	}
	for _, d := range p.Derived {
		f.derivation(a, actRef, d, made)
	}
}

func targetKey(t statement.Target) string { return t.Ref.Key() + "|" + t.Digest.Key() }

func versionName(actRef prov.Ref) string {
	if actRef.Namespace != "" {
		return actRef.Namespace + "/" + actRef.Name
	}
	return actRef.Name
}

func (f *folder) output(act ID, a uint32, actRef prov.Ref, t statement.Target, typ prov.RelationType, rule uint8) ID {
	g := f.g
	var ver ID // the version that becomes current in its series
	id, series := f.place(t)
	switch {
	case series:
		ver = g.intern(t.Ref.WithVersion(versionName(actRef)), f.k)
		id = ver
	case !t.Ref.IsZero():
		ver = g.intern(labelRef(t), f.k)
	}
	g.mentionOf(id, f.k)
	g.addAssert(assert{from: id, to: act, act: a, typ: typ, rule: rule, clock: clockWrite}, f.k)
	if ver != None && g.things.at(ver).series != None {
		g.addWrite(write{version: ver, act: a}, f.k)
	}
	return id
}

func (f *folder) derivation(a uint32, actRef prov.Ref, d statement.Derivation, made map[string]ID) {
	t := must(d.To.Target())
	from, ok := made[targetKey(t)]
	if !ok { // a column of an output
		from = f.columnOut(a, actRef, t, made)
	}
	for _, in := range d.From {
		// What is derived was read when the activity read, written when it wrote;
		// the relation holds from the reading of its source.
		f.dated(from, a, must(in.Target()), prov.DerivedFrom, ruleOf(d.Rule), clockRead, prov.Beginning, in.Transformation)
	}
}

func (f *folder) columnOut(a uint32, actRef prov.Ref, t statement.Target, made map[string]ID) ID {
	r := t.Ref
	whole, _, ok := r.SplitColumn()
	if r.Version == "" && ok {
		r = r.WithVersion(versionName(actRef))
	}
	id := f.g.intern(r, f.k)
	if ok {
		if d, in := made[targetKey(statement.Target{Ref: whole})]; in {
			f.g.addAssert(assert{from: id, to: d, act: a, typ: prov.PartOf, clock: clockWrite}, f.k)
		}
	}
	return id
}

func (f *folder) entity(p *statement.Entity) {
	g, at := f.g, f.or(p.At)
	for i, id := range f.about() {
		t := must(f.subjects[i].Target())
		if p.State != "same-as" {
			f.attr(id, "state", p.State, at)
		}
		f.attr(id, "origin", p.Origin, at)
		f.attr(id, "licence", p.Licence, at)
		f.attr(id, "sensitivity", p.Sensitivity, at)
		f.attr(id, "description", p.Description, at)
		for _, k := range sortedKeys(p.Attributes) {
			f.attr(id, k, p.Attributes[k], at)
		}
		if p.State == "registered" && !t.Ref.IsZero() {
			if r := labelRef(t); r.Version != "" {
				g.addWrite(write{version: g.intern(r, f.k), at: at}, f.k)
			}
		}
		if p.Owner != "" {
			o, _ := f.place(ref(p.Owner))
			g.fillSlot("owner|"+g.text(g.things.at(id).key), slotItem{at: at, id: o, entry: f.k,
				rels: []uint32{f.rel(id, o, prov.OwnedBy, ruleStated, at, "owner")}}, f.k)
		}
		for _, r := range p.PartOf {
			f.tie(id, must(r.Target()), prov.PartOf, ruleStated, at, "")
		}
		for _, r := range p.SameAs {
			f.same(id, must(r.Target()))
		}
	}
	for _, d := range p.Derived {
		from, _ := f.place(must(d.To.Target()))
		for _, in := range d.From {
			to, _ := f.place(must(in.Target()))
			f.rel(from, to, prov.DerivedFrom, ruleOf(d.Rule), at, in.Transformation)
		}
	}
}

func (f *folder) same(a ID, t statement.Target) {
	b, _ := f.place(t)
	if a == b {
		return
	}
	f.g.mentionOf(b, f.k)
	f.rel(a, b, prov.SameAs, ruleStated, prov.Beginning, "")
	if f.isSeries(a) && f.isSeries(b) {
		f.g.addJoin(a, b, f.k)
	}
}

func (f *folder) isSeries(id ID) bool {
	t := f.g.things.at(id)
	r, err := prov.ParseKey(f.g.text(t.key))
	return err == nil && t.flags&flagDigest == 0 && r.Version == "" && r.Kind.Versioned()
}

// Skip passes over entries up to index to: what they say is not known here. A
// bundle holds only the entries that its answer rests on.
//
// It is for graphs that were made by New.
func (g *Graph) Skip(to uint64) {
	for g.Size() < to {
		at := prov.Beginning
		if n := g.recorded.end(); n > 0 {
			at = *g.recorded.at(n - 1)
		}
		g.recorded.add(at)
		g.recorder.add(g.words.intern(""))
		g.digests.add([16]byte{})
		g.publish()
	}
}
