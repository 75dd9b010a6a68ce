package provjson

import (
	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// Documents that Stemma wrote carry deployments, decisions and notices as
// wasInfluencedBy with stemma:relation. Deployments and notices are read back
// here. Decisions are not: a decision is whoever's signs it, and whoever
// imports a document would sign all that it holds.

// governing is a deployment or notice with what it is tied to.
type governing struct {
	name string
	ties []tie
}

type tie struct {
	typ   string // of the relation
	other string
	role  string
}

func (g *governing) add(typ, other, role string) { g.ties = append(g.ties, tie{typ, other, role}) }

func (t *teller) govern(name string) *governing {
	g := t.governing[name]
	if g == nil {
		g = &governing{name: name}
		t.governing[name] = g
		t.rulings = append(t.rulings, g)
	}
	return g
}

// isAnswer tells whether a thing is the description of the answer that the
// document gives.
func (t *teller) isAnswer(m *thing) bool {
	for _, r := range m.records {
		for _, v := range values(r.node.Get("prov:type")) {
			if v.text == "stemma:Answer" {
				return true
			}
		}
	}
	return false
}

// influence reads wasInfluencedBy. Of documents that others wrote it says too
// little to be a lineage: that one thing bore on the other somehow.
func (t *teller) influence(r *relation) {
	from, to := r.end("prov:influencee"), r.end("prov:influencer")
	typ := first(r.node.Get(RelationAttribute))
	how := first(r.node.Get("stemma:role"))
	if how == "" {
		how = role(r)
	}
	switch {
	case typ == "":
		t.d.note("wasInfluencedBy says that one thing bore on another, and not how; kept in the evidence only")
	case t.classOf(from) == isActivity && typ == prov.AuthenticatesWith.String():
		t.act(from).cred = append(t.act(from).cred, t.d.resource(to))
	case t.classOf(from) == isActivity && typ == prov.CallsTool.String():
		t.act(from).tools = append(t.act(from).tools, t.d.resource(to))
	case t.classOf(from) == isActivity && typ == prov.ActedOnBehalfOf.String():
		t.party(t.act(from), &t.act(from).behalf, to, how)
	case typ == prov.ApprovedBy.String(), typ == prov.RejectedBy.String(), typ == prov.RevokedBy.String():
		t.d.note("decisions are kept in the evidence only: one counts where its approver signed it, in the log for which it was made")
	case typ == prov.SubjectOf.String():
		t.govern(to).add(typ, from, how)
	case t.kind(from) == prov.Deployment:
		t.govern(from).add(typ, to, how)
	case t.classOf(from) == isAgent && t.holds(r, typ, from, to):
	default:
		t.d.note("wasInfluencedBy with stemma:relation %s is kept in the evidence only", typ)
	}
}

// holds reads what an identity holds: a credential or a secret.
func (t *teller) holds(r *relation, typ, from, to string) bool {
	it := statement.IdentityItem{Ref: t.d.agent(from)}
	at, until := t.written(r, "stemma:validFrom"), t.written(r, "stemma:validTo")
	other := t.d.ref(to, t.classOf(to)).String()
	switch typ {
	case prov.AuthenticatesWith.String():
		it.Credentials = []statement.CredentialItem{{Ref: other, IssuedAt: at, ExpiresAt: until}}
	case prov.ReadsSecret.String():
		it.Secrets = []string{other}
	default: // who holds which role is not for a document of lineage to say
		return false
	}
	if !until.IsZero() && until.Before(at.Time) {
		return false
	}
	t.tell(importer.Draft{Subjects: []statement.Subject{statement.NewSubject(t.d.ref(from, isAgent), nil)},
		Predicate: &statement.Identity{Mode: "event", Source: "prov-json", At: at, Items: []statement.IdentityItem{it}}})
	return true
}

func (t *teller) kind(name string) prov.Kind {
	return t.d.ref(name, t.classOf(name)).Kind
}

// rule gives the statements of deployments and notices.
func (t *teller) rule() {
	for _, g := range t.rulings {
		x := t.d.thing(g.name)
		attr := func(key string) string { return x.attribute(attrPrefix + key) }
		var p statement.Predicate
		var subjects []statement.Subject
		for _, y := range g.ties {
			switch y.typ {
			case "SubjectOf":
				subjects = append(subjects, t.about(y.other, t.classOf(y.other)))
			case "Deployed":
				subjects = append(subjects, t.d.subject(y.other))
			}
		}
		switch t.kind(g.name) {
		case prov.Deployment:
			p = t.deployment(g, attr)
		case prov.Notice:
			p = &statement.Notice{Kind: attr("notice"), ID: t.d.ref(g.name, isEntity).String(), Severity: attr("severity"), Source: attr("source"),
				Description: attr("description"), At: t.own(x, "at"), Since: t.own(x, "since"), Until: t.own(x, "until")}
		}
		if p == nil || len(subjects) == 0 {
			t.d.note("%s lacks what its statement needs; kept in the evidence only", g.name)
			continue
		}
		if _, err := statement.Format(subjects, p); err != nil {
			t.d.note("%s makes no statement: %v; kept in the evidence only", g.name, err)
			continue
		}
		t.tell(importer.Draft{Subjects: subjects, Predicate: p})
	}
}

// own reads a time among the attributes that package report wrote.
func (t *teller) own(x *thing, key string) statement.Time {
	for _, r := range x.records {
		if at := t.time(r.node.Get(attrPrefix+key), key, x.name); !at.IsZero() {
			return at
		}
	}
	return statement.Time{}
}

func (t *teller) deployment(g *governing, attr func(string) string) statement.Predicate {
	p := &statement.Deployment{Action: attr("action"), ID: t.d.ref(g.name, isEntity).String(), At: t.own(t.d.thing(g.name), "at"), Reason: attr("reason")}
	for _, y := range g.ties {
		r := t.d.ref(y.other, t.classOf(y.other))
		switch y.typ {
		case "DeployedTo":
			if r.Kind == prov.Environment {
				p.Environment = r.String()
			} else {
				p.Service = r.String()
			}
		case "RunsAs":
			p.RunsAs = append(p.RunsAs, r.String())
		case "AuthenticatesWith":
			p.Credentials = append(p.Credentials, t.any(y.other))
		case "ReadsSecret":
			p.Secrets = append(p.Secrets, t.any(y.other))
		case "CallsTool":
			p.Tools = append(p.Tools, t.any(y.other))
		case "UsesPrompt":
			p.Prompts = append(p.Prompts, t.any(y.other))
		case "GovernedBy":
			x := t.any(y.other)
			p.PolicyBundle = &x
		case "Supersedes":
			p.Supersedes = r.String()
		case "Restores":
			p.Restores = r.String()
		case "AssociatedWith":
			p.Identities = append(p.Identities, statement.Party{Ref: t.d.agent(y.other), Role: y.role})
		case "Deployed":
		default:
			t.d.note("%s of a deployment is kept in the evidence only", y.typ)
		}
	}
	if p.Environment == "" || p.Service == "" {
		return nil
	}
	return p
}
