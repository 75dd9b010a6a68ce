package graph

import (
	"fmt"
	"maps"
	"slices"

	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// The statements that govern things: decisions, deployments, registries,
// inventories, delegations, notices.

func (f *folder) approval(p *statement.Approval) {
	g, at := f.g, f.or(p.DecidedAt)
	r := prov.Ref{Kind: prov.Approval, Name: f.id}
	if p.ID != "" {
		r = ref(p.ID).Ref
	}
	id := g.intern(r, f.k)
	g.mentionOf(id, f.k)
	for _, a := range []struct{ key, val string }{{"decision", p.Decision}, {"review", p.Review}, {"comment", p.Comment},
		{"decidedAt", at.String()}, {"validUntil", p.ValidUntil.String()}, {"role", p.Role}, {"recordedBy", f.by}, {"log", p.Log},
		{"assurance", p.Assurance}, {"signedWith", f.envelope.Assurance()}, {"revokes", p.Revokes}, {"text", f.shown(p)}} {
		f.attr(id, a.key, a.val, at)
	}
	if d := p.Policy.Content(); !d.IsZero() {
		f.attr(id, "policy", d.String(), at)
	}
	for _, e := range p.Environments {
		f.attr(id, "environment."+e, "yes", at)
	}
	for _, c := range p.Controls {
		f.attr(id, "control."+c, "yes", at)
	}
	f.rel(id, f.named(p.Approver), prov.AssociatedWith, ruleStated, at, p.Role)
	f.evidence(id, p.Evidence, at)
	if p.Credential != "" {
		f.rel(id, f.named(p.Credential), prov.AuthenticatesWith, ruleStated, at, "")
	}
	if p.Supersedes != "" {
		f.rel(id, f.named(p.Supersedes), prov.Supersedes, ruleStated, at, "")
	}
	typ := map[string]prov.RelationType{statement.Approve: prov.ApprovedBy, statement.Reject: prov.RejectedBy,
		statement.Revoke: prov.RevokedBy, statement.Request: prov.RequestedBy}[p.Decision]
	from := p.ValidFrom.Instant(at)
	for _, s := range f.about() {
		f.relUntil(s, id, typ, ruleStated, from, p.ValidUntil.Instant(prov.Forever), p.Review)
	}
}

// shown tells whether the text that an approver was shown is that of the
// statement: "same", "differs", or "" when the statement has none.
func (f *folder) shown(p *statement.Approval) string {
	switch p.Text {
	case "":
		return ""
	case statement.ApprovalText(f.subjects, p):
		return "same"
	}
	return "differs"
}

func (f *folder) named(s string) ID {
	id, _ := f.place(ref(s))
	return id
}

func (f *folder) evidence(id ID, evs []statement.Evidence, at prov.Instant) {
	for _, e := range evs {
		if e.Importer == "" {
			if d := e.Digest.Content(); !d.IsZero() {
				f.rel(id, f.g.intern(d, f.k), prov.Used, ruleStated, at, "evidence")
			}
		}
	}
}

func (f *folder) deployment(p *statement.Deployment) {
	g, at := f.g, f.or(p.At)
	env, svc := ref(p.Environment).Ref, ref(p.Service).Ref
	r := prov.Ref{Kind: prov.Deployment, Name: env.Name + "/" + svc.Name, Version: at.String()}
	if p.ID != "" {
		r = ref(p.ID).Ref
	}
	id := g.intern(r, f.k)
	g.mentionOf(id, f.k)
	f.attr(id, "action", p.Action, at)
	f.attr(id, "at", at.String(), at)
	f.attr(id, "reason", p.Reason, at)
	item := slotItem{at: at, id: id, entry: f.k}
	if p.Action != "retire" {
		item.rels = []uint32{f.rel(id, g.intern(env, f.k), prov.DeployedTo, ruleStated, at, "environment"),
			f.rel(id, g.intern(svc, f.k), prov.DeployedTo, ruleStated, at, "service")}
		if r.Version != "" {
			g.addWrite(write{version: id, at: at}, f.k)
		}
	} else { // it is deployed nowhere, and is told in the history of where it was
		f.attr(id, "environment", env.String(), at)
		f.attr(id, "service", svc.String(), at)
	}
	g.fillSlot("deployed|"+env.Key()+"|"+svc.Key(), item, f.k)
	for i := range f.subjects {
		t := must(f.subjects[i].Target())
		f.tie(id, t, prov.Deployed, ruleStated, at, "")
		if to, _ := f.place(t); true {
			g.mentionOf(to, f.k)
		}
	}
	f.deploymentParts(id, p, at)
}

func (f *folder) deploymentParts(id ID, p *statement.Deployment, at prov.Instant) {
	for _, x := range p.RunsAs {
		f.tie(id, ref(x), prov.RunsAs, ruleStated, at, "")
	}
	for _, part := range []struct {
		list []statement.Resource
		typ  prov.RelationType
	}{{p.Credentials, prov.AuthenticatesWith}, {p.Secrets, prov.ReadsSecret}, {p.Tools, prov.CallsTool}, {p.Prompts, prov.UsesPrompt}} {
		for _, x := range part.list {
			f.tie(id, must(x.Target()), part.typ, ruleStated, at, "")
		}
	}
	if p.PolicyBundle != nil {
		f.tie(id, must(p.PolicyBundle.Target()), prov.GovernedBy, ruleStated, at, "")
	}
	for _, x := range p.Identities {
		f.tie(id, ref(x.Ref), prov.AssociatedWith, ruleStated, at, x.Role)
	}
	if p.Supersedes != "" {
		f.tie(id, ref(p.Supersedes), prov.Supersedes, ruleStated, at, "")
	}
	if p.Restores != "" {
		f.tie(id, ref(p.Restores), prov.Restores, ruleStated, at, "")
	}
}

func (f *folder) registry(p *statement.Registry) {
	g, at := f.g, f.or(p.At)
	series := must(statement.Resource{Ref: p.Name, Namespace: p.Namespace}.Target()).Ref
	if p.Mode == "snapshot" {
		f.aliases(p, series, at)
		return
	}
	id := f.alias(p, series, p.Alias)
	f.attr(id, "reason", p.Reason, at)
	if p.Stage {
		f.attr(id, attrStage, "yes", prov.Beginning) // that it is a stage does not change with time
	}
	for _, s := range f.about() {
		item := slotItem{at: at, id: s, entry: f.k}
		if !p.Removed {
			item.rels = []uint32{f.rel(s, id, prov.NamedBy, ruleStated, at, p.Alias)}
		}
		if p.Stage {
			g.fillSlot("stage|"+p.Registry+"|"+series.Key()+"|"+g.text(g.things.at(s).key), item, f.k)
		} else {
			g.fill(f.aliasSlot(p.Registry, series, p.Alias), item, f.k)
		}
	}
	for _, x := range p.Identities {
		f.tie(id, ref(x.Ref), prov.AssociatedWith, ruleStated, at, x.Role)
	}
}

// aliases takes a snapshot of all aliases of a series.
func (f *folder) aliases(p *statement.Registry, series prov.Ref, at prov.Instant) {
	g := f.g
	about := f.about()
	for _, name := range slices.Sorted(maps.Keys(p.Aliases)) {
		id := f.alias(p, series, name)
		to, _ := f.place(must(p.Aliases[name].Target()))
		g.fill(f.aliasSlot(p.Registry, series, name), slotItem{at: at, id: to, entry: f.k,
			rels: []uint32{f.rel(to, id, prov.NamedBy, ruleStated, at, name)}}, f.k)
		for _, x := range p.Identities {
			f.tie(id, ref(x.Ref), prov.AssociatedWith, ruleStated, at, x.Role)
		}
	}
	g.fill(g.slotOf(snapshotsOf(p.Registry, series)), slotItem{at: at, id: about[0], entry: f.k}, f.k)
}

func (f *folder) alias(p *statement.Registry, series prov.Ref, name string) ID {
	id := f.g.intern(AliasRef(p.Registry, series, name), f.k)
	f.g.mentionOf(id, f.k)
	return id
}

func (f *folder) aliasSlot(registry string, series prov.Ref, alias string) uint32 {
	p := f.g.slotOf("alias|" + registry + "|" + series.Key() + "|" + alias)
	f.g.memberOf(p, f.g.slotOf(snapshotsOf(registry, series)))
	return p
}

func snapshotsOf(registry string, series prov.Ref) string {
	return "aliases|" + registry + "|" + series.Key()
}

// attrStage marks an alias that is a stage.
const attrStage = "stage"

// AliasRef names an alias or stage of a series in a registry.
func AliasRef(registry string, series prov.Ref, alias string) prov.Ref {
	return prov.Ref{Kind: prov.Registry, Name: registry + "/" + series.String() + "#" + alias}
}

func (f *folder) delegation(p *statement.Delegation) {
	f.about()
	at, until := f.or(p.IssuedAt), p.ExpiresAt.Instant(prov.Forever)
	child, parent := f.named(p.Child), f.named(p.Parent)
	f.g.mentionOf(child, f.k)
	f.relUntil(parent, child, prov.DelegatedTo, ruleStated, at, until, p.Grade)
	f.relUntil(child, parent, prov.ActedOnBehalfOf, ruleStated, at, until, p.Grade)
	if p.OnBehalfOf != "" && p.OnBehalfOf != p.Parent {
		f.relUntil(child, f.named(p.OnBehalfOf), prov.ActedOnBehalfOf, ruleStated, at, until, "root")
	}
	if p.Credential != "" {
		f.relUntil(child, f.named(p.Credential), prov.AuthenticatesWith, ruleStated, at, until, "")
	}
	f.hop(child, p, at)
}

// hop notes on the child what one delegation says, as a waiver does: it hangs
// together by its entry.
func (f *folder) hop(child ID, p *statement.Delegation, at prov.Instant) {
	for _, a := range []struct{ key, val string }{{"delegation.by", p.Parent}, {"delegation.grade", p.Grade}, {"delegation.root", p.OnBehalfOf},
		{"delegation.issuedAt", p.IssuedAt.String()}, {"delegation.expiresAt", p.ExpiresAt.String()}, {"delegation.credential", p.Credential}} {
		f.attr(child, a.key, a.val, at)
	}
	for _, s := range p.Scope {
		f.attr(child, "delegation.scope."+s, "yes", at)
	}
	for i, r := range p.Chain {
		f.attr(child, fmt.Sprintf("delegation.chain.%d", i), r, at)
	}
}

func (f *folder) notice(p *statement.Notice) {
	g, at := f.g, f.or(p.At)
	r := prov.Ref{Kind: prov.Notice, Name: f.id}
	if p.ID != "" {
		r = ref(p.ID).Ref
	}
	id := g.intern(r, f.k)
	g.mentionOf(id, f.k)
	f.attr(id, "notice", p.Kind, at)
	f.attr(id, "severity", p.Severity, at)
	f.attr(id, "source", p.Source, at)
	f.attr(id, "description", p.Description, at)
	f.attr(id, "at", at.String(), at)
	since := p.Since.Instant(prov.Beginning)
	f.attr(id, "since", since.String(), at)
	f.attr(id, "until", p.Until.String(), at)
	for _, s := range f.about() {
		f.relUntil(s, id, prov.SubjectOf, ruleStated, since, p.Until.Instant(prov.Forever), p.Kind)
	}
}

// policy folds the text of a policy. A version of it is current from its time
// on, as a registered version is.
func (f *folder) policy(p *statement.Policy) {
	at := f.or(p.At)
	for i, id := range f.about() {
		f.attr(id, "text", p.Text, at)
		f.attr(id, "name", p.Name, at)
		f.attr(id, "recordedBy", f.by, at)
		for _, e := range p.Environments {
			f.attr(id, "environment."+e, "yes", at)
		}
		if r := labelRef(must(f.subjects[i].Target())); r.Version != "" {
			f.g.addWrite(write{version: f.g.intern(r, f.k), at: at}, f.k)
		}
	}
}

// waiver folds an exception: what it says hangs together by its entry.
func (f *folder) waiver(p *statement.Waiver) {
	at := f.or(p.At)
	for _, id := range f.about() {
		for _, a := range []struct{ key, val string }{{"waiver", p.Rule}, {"waiver.reason", p.Reason},
			{"waiver.until", p.Until.String()}, {"waiver.by", f.by}, {"waiver.from", at.String()}} {
			f.attr(id, a.key, a.val, at)
		}
		for _, s := range p.Scope {
			f.attr(id, "waiver.scope."+s, "yes", at)
		}
	}
}

// document keeps a statement that has a place in the log but no relations of
// its own in the graph yet: what is known of it is that it is about its
// subjects.
func (f *folder) document(typ string) {
	for _, s := range f.subjects {
		if t, err := s.Target(); err == nil {
			id, _ := f.place(t)
			f.g.mentionOf(id, f.k)
			f.attr(id, "statement", typ, f.at)
		}
	}
}
