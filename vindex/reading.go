package vindex

import (
	"encoding/hex"
	"maps"
	"slices"

	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// Reading is what one entry says, taken apart into ties between things. The
// keys of the entry follow from it, and whoever walks a closure over proved
// lists reads the same. It says nothing of other entries: what a series' name
// is bound to, or whether the entry was retracted, is not told here.
type Reading struct {
	Recorded prov.Instant
	By       string   // the principal that recorded it
	Digest   [32]byte // of the envelope
	Type     string   // the predicate type; empty when there is no statement
	// Unread says why the entry cannot be read; empty when it can.
	Unread string
	Ties   []Tie
	Writes []Write
	Placed *Placed   // of a deployment statement
	Claim  *Claim    // of an activity statement
	Says   *Decision // of an approval statement
	// About are the keys of the things that it says something of.
	About []string
	// Names are the keys of all things that it names, in any role.
	Names []string
	// Retracts is the entry that it retracts.
	Retracts *uint64
	// Reused says that a name in it was made of the time of recording, so that
	// a copy of the envelope would have another.
	Reused bool
	Index  *statement.Index // of a root entry
}

// Which clock dates a tie.
const (
	Fixed = iota // At
	Read         // At if it is given, else when the activity read
	Wrote        // when the activity wrote
)

// End is one end of a tie.
type End struct {
	Key string // of the thing: prov.Ref.Key
	// Floating says that Key is of a series, and that the version is meant that
	// was current then.
	Floating bool
}

// Tie is a relation as one entry states it.
type Tie struct {
	Type  prov.RelationType
	From  string // key of a thing
	To    End
	Clock int
	At    prov.Instant // Beginning when not given
	Act   string       // key of the activity whose clock dates it; may be empty
	// Named says, of a SameAs, that it ties a name to the digest beside it.
	Named bool
	// Undated says that At is only the time of recording.
	Undated bool
	// Retires says that it is of a deployment that takes things down.
	Retires bool
	// Lasting says that the tie holds from At on, until something ends it that
	// this entry does not tell.
	Lasting bool
}

// Write makes a version current in its series.
type Write struct {
	Version string       // key
	Act     string       // key of the writing activity, or empty: registered at At
	At      prov.Instant // when there is no activity
}

// Placed says that from At on a deployment is what is in its place.
type Placed struct {
	ID    string // key of the deployment
	Place string // the environment's key, a space, and the service's key
	At    prov.Instant
}

// Claim is what the entry says of an activity's times and state. Times that it
// does not give are Beginning.
type Claim struct {
	Act              string
	Start, End, Seen prov.Instant
	State            string
	Inputs           string // inputsCompleteness; empty when not stated
}

// Decision is what an approval statement decides.
type Decision struct {
	ID       string // key of the approval
	Approval *statement.Approval
	At       prov.Instant
	Undated  bool
	Of       []string // keys of what it decides on
}

// ReadEntry reads the content of an entry. It gives an error for bytes that
// are no entry; a statement that cannot be read gives a Reading that says so.
func ReadEntry(content []byte) (*Reading, error) {
	e, err := statement.ParseEntry(content)
	if err != nil {
		return nil, err
	}
	p := statement.Read(e.Envelope)
	r := &reader{Reading: Reading{Recorded: prov.At(e.RecordedAt), By: e.RecordedBy, Digest: p.Digest}, names: map[string]bool{}, about: map[string]bool{}}
	switch {
	case p.Err != nil:
		r.Unread = "it cannot be read"
	case p.Statement.Predicate == nil:
		r.Type = p.Statement.PredicateType
		r.Unread = "its predicate type is not understood: " + r.Type
	default:
		r.Type = p.Statement.PredicateType
		r.id = hex.EncodeToString(p.Digest[:8])
		r.subjects = p.Statement.Subjects
		r.statement(p.Statement)
	}
	r.Names, r.About = slices.Sorted(maps.Keys(r.names)), slices.Sorted(maps.Keys(r.about))
	return &r.Reading, nil
}

// reader takes one statement apart, as the graph's fold does.
type reader struct {
	Reading
	id           string // short name for things that the statement makes
	subjects     []statement.Subject
	names, about map[string]bool
}

func (r *reader) statement(s *statement.Statement) {
	switch p := s.Predicate.(type) {
	case *statement.Activity:
		r.activity(p)
	case *statement.Entity:
		r.entity(p)
	case *statement.Approval:
		r.approval(p)
	case *statement.Deployment:
		r.deployment(p)
	case *statement.Registry:
		r.registry(p)
	case *statement.Identity:
		r.identity(p)
	case *statement.Delegation:
		r.delegation(p)
	case *statement.Notice:
		r.notice(p)
	case *statement.Policy:
		r.policy(p)
	case *statement.Waiver:
		r.subjectKeys()
	case *statement.VSA:
		for _, s := range r.subjects {
			if t, err := s.Target(); err == nil {
				r.about[r.place(t).Key] = true
			}
		}
	case *statement.Retraction:
		r.Retracts = &p.Entry
	case *statement.Index:
		r.Index = p
	}
}

// must reads a target that statement.Parse has checked already.
func must(t statement.Target, err error) statement.Target {
	if err != nil {
		panic("vindex: a checked statement has a bad reference: " + err.Error())
	}
	return t
}

func named(s string) statement.Target { return must(statement.Resource{Ref: s}.Target()) }

// emptySHA256 is the digest of no bytes: it ties nothing.
const emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// label gives the versioned name of a target: the digest, if there is one, is
// the version where none is given.
func label(t statement.Target) prov.Ref {
	if t.Ref.Version == "" && t.Ref.Kind.Versioned() && !t.Digest.IsZero() {
		return t.Ref.WithVersion(t.Digest.String())
	}
	return t.Ref
}

// place gives the thing that a target names, and ties its name to its digest.
func (r *reader) place(t statement.Target) End {
	if t.Digest.IsZero() {
		r.names[t.Ref.Key()] = true
		return End{t.Ref.Key(), t.Ref.Version == "" && t.Ref.Kind.Versioned()}
	}
	if t.Digest.Name == emptySHA256 && !t.Ref.IsZero() {
		r.names[label(t).Key()] = true
		return End{Key: label(t).Key()}
	}
	d := t.Digest.Key()
	r.names[d] = true
	if !t.Ref.IsZero() {
		l := label(t).Key()
		r.names[l] = true
		r.Ties = append(r.Ties, Tie{Type: prov.SameAs, From: l, To: End{Key: d}, At: prov.Beginning, Named: true})
	}
	return End{Key: d}
}

// fix adds a tie to a thing itself, at a time.
func (r *reader) fix(typ prov.RelationType, from string, to End, at prov.Instant) {
	to.Floating = false
	r.Ties = append(r.Ties, Tie{Type: typ, From: from, To: to, At: at})
}

// tie adds a tie that is bound by time if its end is a series.
func (r *reader) tie(typ prov.RelationType, from string, t statement.Target, at prov.Instant, undated bool) {
	r.Ties = append(r.Ties, Tie{Type: typ, From: from, To: r.place(t), At: at, Undated: undated})
}

// subjectKeys gives the things that the subjects name.
func (r *reader) subjectKeys() []string {
	var out []string
	for _, s := range r.subjects {
		k := r.place(must(s.Target())).Key
		r.about[k] = true
		out = append(out, k)
	}
	return out
}

func (r *reader) or(t statement.Time) (prov.Instant, bool) { return t.Instant(r.Recorded), t.IsZero() }

func (r *reader) own(ref prov.Ref) string {
	k := ref.Key()
	r.names[k], r.about[k] = true, true
	return k
}

func (r *reader) activity(p *statement.Activity) {
	ref := must(statement.Resource{Ref: p.ID, Namespace: p.Namespace}.Target()).Ref
	act := r.own(ref)
	r.Claim = &Claim{Act: act, Start: p.StartedAt.Instant(prov.Beginning), End: p.EndedAt.Instant(prov.Beginning),
		Seen: p.ObservedAt.Instant(prov.Beginning), State: p.State, Inputs: p.InputsCompleteness}
	read := func(typ prov.RelationType, t statement.Target, at prov.Instant) {
		r.Ties = append(r.Ties, Tie{Type: typ, From: act, To: r.place(t), Clock: Read, At: at, Act: act})
	}
	for _, u := range p.Used {
		read(prov.Used, must(u.Target()), u.At.Instant(prov.Beginning))
	}
	r.outputs(act, ref, p)
	none := prov.Beginning
	if p.Plan != nil {
		read(prov.HadPlan, must(p.Plan.Target()), none)
	}
	for _, x := range p.InformedBy {
		read(prov.InformedBy, must(x.Target()), none)
	}
	for _, x := range p.Identities {
		read(prov.AssociatedWith, named(x.Ref), none)
	}
	for _, x := range p.OnBehalfOf {
		read(prov.ActedOnBehalfOf, named(x.Ref), none)
	}
	for _, x := range p.Credentials {
		read(prov.AuthenticatesWith, must(x.Target()), none)
	}
	for _, x := range p.Tools {
		read(prov.CallsTool, must(x.Target()), none)
	}
}

func targetKey(t statement.Target) string { return t.Ref.Key() + "|" + t.Digest.Key() }

func versionName(act prov.Ref) string {
	if act.Namespace != "" {
		return act.Namespace + "/" + act.Name
	}
	return act.Name
}

// outputs are the versions that an activity wrote, and their derivations.
func (r *reader) outputs(act string, ref prov.Ref, p *statement.Activity) {
	stated, have := map[string]bool{}, map[string]bool{}
	var outs []statement.Target
	add := func(t statement.Target) {
		if k := targetKey(t); !have[k] && t.Ref != ref {
			have[k] = true
			outs = append(outs, t)
		}
	}
	for _, s := range r.subjects {
		add(must(s.Target()))
	}
	for _, d := range p.Derived {
		if t := must(d.To.Target()); t.Ref.Kind != prov.Column {
			stated[targetKey(t)] = true
			add(t)
		}
	}
	made := map[string]string{}
	for _, t := range outs {
		typ := prov.GeneratedBy
		if stated[targetKey(t)] {
			typ = prov.GeneratedByStated
		}
		made[targetKey(t)] = r.output(act, ref, t, typ)
	}
	for _, d := range p.Derived {
		t := must(d.To.Target())
		from, ok := made[targetKey(t)]
		if !ok { // a column of an output
			from = r.column(act, ref, t.Ref, made)
		}
		for _, in := range d.From {
			r.Ties = append(r.Ties, Tie{Type: prov.DerivedFrom, From: from, To: r.place(must(in.Target())), Clock: Read, At: prov.Beginning, Act: act})
		}
	}
}

func (r *reader) output(act string, ref prov.Ref, t statement.Target, typ prov.RelationType) string {
	end := r.place(t)
	id, version := end.Key, prov.Ref{}
	switch {
	case end.Floating:
		version = t.Ref.WithVersion(versionName(ref))
		id = version.Key()
		r.names[id] = true
	case !t.Ref.IsZero():
		version = label(t)
	}
	r.about[id] = true
	r.Ties = append(r.Ties, Tie{Type: typ, From: id, To: End{Key: act}, Clock: Wrote, At: prov.Beginning, Act: act})
	if version.Version != "" {
		r.Writes = append(r.Writes, Write{Version: version.Key(), Act: act})
	}
	return id
}

func (r *reader) column(act string, ref, c prov.Ref, made map[string]string) string {
	whole, _, ok := c.SplitColumn()
	if c.Version == "" && ok {
		c = c.WithVersion(versionName(ref))
	}
	k := c.Key()
	r.names[k] = true
	if d, in := made[targetKey(statement.Target{Ref: whole})]; ok && in {
		r.Ties = append(r.Ties, Tie{Type: prov.PartOf, From: k, To: End{Key: d}, Clock: Wrote, At: prov.Beginning, Act: act})
	}
	return k
}

func (r *reader) entity(p *statement.Entity) {
	at, undated := r.or(p.At)
	for i, id := range r.subjectKeys() {
		t := must(r.subjects[i].Target())
		if p.State == "registered" && !t.Ref.IsZero() {
			if l := label(t); l.Version != "" {
				r.names[l.Key()] = true
				r.Writes = append(r.Writes, Write{Version: l.Key(), At: at})
			}
		}
		if p.Owner != "" {
			r.fix(prov.OwnedBy, id, r.place(named(p.Owner)), at)
		}
		for _, x := range p.PartOf {
			r.tie(prov.PartOf, id, must(x.Target()), at, undated)
		}
		for _, x := range p.SameAs {
			if o := r.place(must(x.Target())); o.Key != id {
				r.fix(prov.SameAs, id, o, prov.Beginning)
			}
		}
	}
	for _, d := range p.Derived {
		from := r.place(must(d.To.Target())).Key
		for _, in := range d.From {
			r.fix(prov.DerivedFrom, from, r.place(must(in.Target())), at)
			r.Ties[len(r.Ties)-1].Undated = undated
		}
	}
}

func (r *reader) approval(p *statement.Approval) {
	at, undated := r.or(p.DecidedAt)
	ref := prov.Ref{Kind: prov.Approval, Name: r.id}
	if p.ID != "" {
		ref = named(p.ID).Ref
	}
	id := r.own(ref)
	r.fix(prov.AssociatedWith, id, r.place(named(p.Approver)), at)
	for _, e := range p.Evidence {
		if d := e.Digest.Content(); e.Importer == "" && !d.IsZero() {
			r.names[d.Key()] = true
			r.Ties = append(r.Ties, Tie{Type: prov.Used, From: id, To: End{Key: d.Key()}, At: at, Undated: undated})
		}
	}
	if p.Credential != "" {
		r.fix(prov.AuthenticatesWith, id, r.place(named(p.Credential)), at)
	}
	if p.Supersedes != "" {
		r.fix(prov.Supersedes, id, r.place(named(p.Supersedes)), at)
	}
	r.fixUndated(undated)
	d := &Decision{ID: id, Approval: p, At: at, Undated: undated}
	for _, s := range r.subjects {
		d.Of = append(d.Of, r.place(must(s.Target())).Key)
	}
	r.Says = d
}

// fixUndated marks the fixed ties so far.
func (r *reader) fixUndated(undated bool) {
	for i := range r.Ties {
		if r.Ties[i].Type != prov.SameAs {
			r.Ties[i].Undated = undated
		}
	}
}

func (r *reader) deployment(p *statement.Deployment) {
	at, undated := r.or(p.At)
	env, svc := named(p.Environment).Ref, named(p.Service).Ref
	ref := prov.Ref{Kind: prov.Deployment, Name: env.Name + "/" + svc.Name, Version: at.String()}
	if p.ID != "" {
		ref = named(p.ID).Ref
	} else {
		r.Reused = undated
	}
	id := r.own(ref)
	r.Placed = &Placed{id, env.Key() + " " + svc.Key(), at}
	if p.Action != "retire" {
		r.names[env.Key()], r.names[svc.Key()] = true, true
		r.fix(prov.DeployedTo, id, End{Key: env.Key()}, at)
		r.fix(prov.DeployedTo, id, End{Key: svc.Key()}, at)
		if ref.Version != "" {
			r.Writes = append(r.Writes, Write{Version: id, At: at})
		}
	}
	tie := func(typ prov.RelationType, t statement.Target) { r.tie(typ, id, t, at, undated) }
	for i := range r.subjects {
		tie(prov.Deployed, must(r.subjects[i].Target()))
	}
	for _, x := range p.RunsAs {
		tie(prov.RunsAs, named(x))
	}
	for _, part := range []struct {
		list []statement.Resource
		typ  prov.RelationType
	}{{p.Credentials, prov.AuthenticatesWith}, {p.Secrets, prov.ReadsSecret}, {p.Tools, prov.CallsTool}, {p.Prompts, prov.UsesPrompt}} {
		for _, x := range part.list {
			tie(part.typ, must(x.Target()))
		}
	}
	if p.PolicyBundle != nil {
		tie(prov.GovernedBy, must(p.PolicyBundle.Target()))
	}
	for _, x := range p.Identities {
		tie(prov.AssociatedWith, named(x.Ref))
	}
	if p.Supersedes != "" {
		tie(prov.Supersedes, named(p.Supersedes))
	}
	if p.Restores != "" {
		tie(prov.Restores, named(p.Restores))
	}
	for i := range r.Ties {
		r.Ties[i].Retires = p.Action == "retire" && r.Ties[i].Type != prov.SameAs
	}
}

// registry ties what an alias points at to the name by which the alias is
// read as a version of the series, and to the alias itself.
func (r *reader) registry(p *statement.Registry) {
	at, _ := r.or(p.At)
	series := must(statement.Resource{Ref: p.Name, Namespace: p.Namespace}.Target()).Ref
	names := func(to, alias string) {
		id := r.own(prov.Ref{Kind: prov.Registry, Name: p.Registry + "/" + series.String() + "#" + alias})
		r.fix(prov.NamedBy, to, End{Key: id}, at)
		if series.Kind.Versioned() && series.Version == "" && alias != "" {
			r.fix(prov.NamedBy, to, End{Key: series.WithVersion(alias).Key()}, at)
		}
		for _, x := range p.Identities {
			r.tie(prov.AssociatedWith, id, named(x.Ref), at, p.At.IsZero())
		}
	}
	about := r.subjectKeys()
	if p.Mode == "snapshot" {
		for _, alias := range slices.Sorted(maps.Keys(p.Aliases)) {
			names(r.place(must(p.Aliases[alias].Target())).Key, alias)
		}
		return
	}
	for _, s := range about {
		names(s, p.Alias)
	}
}

func (r *reader) delegation(p *statement.Delegation) {
	r.subjectKeys()
	at, undated := r.or(p.IssuedAt)
	child, parent := r.place(named(p.Child)), r.place(named(p.Parent))
	r.fix(prov.DelegatedTo, parent.Key, child, at)
	r.fix(prov.ActedOnBehalfOf, child.Key, parent, at)
	if p.OnBehalfOf != "" && p.OnBehalfOf != p.Parent {
		r.fix(prov.ActedOnBehalfOf, child.Key, r.place(named(p.OnBehalfOf)), at)
	}
	if p.Credential != "" {
		r.fix(prov.AuthenticatesWith, child.Key, r.place(named(p.Credential)), at)
	}
	r.fixUndated(undated)
	r.lasting()
}

// lasting marks the ties of a statement about what holds.
func (r *reader) lasting() {
	for i := range r.Ties {
		r.Ties[i].Lasting = r.Ties[i].Type != prov.SameAs
	}
}

func (r *reader) notice(p *statement.Notice) {
	ref := prov.Ref{Kind: prov.Notice, Name: r.id}
	if p.ID != "" {
		ref = named(p.ID).Ref
	}
	id := r.own(ref)
	for _, s := range r.subjectKeys() {
		r.fix(prov.SubjectOf, s, End{Key: id}, p.Since.Instant(prov.Beginning))
	}
}

func (r *reader) policy(p *statement.Policy) {
	at, _ := r.or(p.At)
	r.subjectKeys()
	for _, s := range r.subjects {
		if l := label(must(s.Target())); l.Version != "" {
			r.names[l.Key()] = true
			r.Writes = append(r.Writes, Write{Version: l.Key(), At: at})
		}
	}
}
