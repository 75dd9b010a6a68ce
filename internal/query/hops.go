package query

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/internal/access"
	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// copied is a membership or grant as one has it who acts.
type copied struct{ id, by graph.ID }

// firstCopy is where the numbers of copies begin; things have lower ones.
const firstCopy graph.ID = 1 << 31

// copy gives the copy of a thing for who acts; nobody: the thing itself.
func (r *reacher) copy(id, by graph.ID) graph.ID {
	if by == graph.None {
		return id
	}
	c := copied{id, by}
	n, ok := r.copyOf[c]
	if !ok {
		n = firstCopy + graph.ID(len(r.copies))
		r.copies, r.copyOf[c] = append(r.copies, c), n
	}
	return n
}

// real gives the thing that a number stands for; None: what was asked for, and
// is not in the graph.
func (r *reacher) real(id graph.ID) graph.ID {
	if id < firstCopy {
		return id
	}
	return r.copies[id-firstCopy].id
}

// next gives the hops from a thing.
func (r *reacher) next(id graph.ID) []hop {
	if hs, ok := r.hops[id]; ok {
		return hs
	}
	var hs []hop
	if x := r.real(id); x != graph.None {
		by := graph.None
		if id >= firstCopy {
			by = r.copies[id-firstCopy].by
		} else if r.limited[x] {
			by = x
		}
		hs = r.hopsOf(x, by)
	}
	if r.sure {
		hs = slices.DeleteFunc(hs, func(h hop) bool { return h.doubt != "" })
	}
	r.doubt = r.doubt || slices.ContainsFunc(hs, func(h hop) bool { return h.doubt != "" })
	r.hops[id] = hs
	return hs
}

// walker gathers the hops from one thing.
type walker struct {
	r     *reacher
	from  graph.ID
	doubt string // of all
	when  span   // at which the thing itself leads anywhere
	hops  []hop
}

func (w *walker) add(to graph.ID, h hop) {
	if h.doubt == "" {
		h.doubt = w.doubt
	}
	h.to = to
	for _, p := range w.when.meet(w.r.period(h.rel)) {
		if to != w.from {
			h.in = p
			w.hops = append(w.hops, h)
		}
	}
}

// hopsOf gives the hops from a thing, as one has it who is limited; by is None
// where nobody is.
func (r *reacher) hopsOf(id, by graph.ID) []hop {
	v := r.v
	w := &walker{r: r, from: id}
	for _, x := range r.b.group(id) {
		w.when, w.doubt = span{prov.Always}, ""
		if v.Ref(x).Kind == prov.Deployment && v.Attributes(x)["action"] != "" {
			w.when = r.live(x)
		}
		if s := v.Attributes(x)["state"]; v.AsOf().Valid != prov.Forever && v.Ref(x).Class() == prov.ClassIdentity && (s == "inactive" || s == "retired") {
			w.doubt = "is recorded as " + s + "; whether what it could reach ended with that, no entry says"
		}
		if v.Ref(x).Kind == prov.Grant {
			r.granted(w, x, by)
			continue
		}
		for rel := range v.Out(x) {
			t, y := rel.Type(), v.Relation(rel)
			switch {
			case !r.mask.Has(t), t == prov.Deployed, t == prov.DeployedTo:
			case t == prov.MemberOf, t == prov.Granted:
				w.add(r.copy(r.b.represent(rel.To()), by), hop{rel: y, doubt: r.onlyIf(x, y)})
			case t == prov.CanAssume:
				r.assume(w, x, y, by)
			default:
				w.add(r.b.represent(rel.To()), hop{rel: y, doubt: r.onlyIf(x, y)})
			}
		}
		r.inward(w, x, id)
		if r.mask.Has(prov.MemberOf) {
			for _, y := range r.implied(x) {
				w.add(r.copy(r.b.represent(y.To), by), hop{rel: y, doubt: y.Role})
			}
		}
		if r.mask.Has(prov.CanAssume) && (by == graph.None || by == id) {
			r.byAccount(w, x, by)
		}
	}
	return w.hops
}

// inward takes what is walked against its direction.
func (r *reacher) inward(w *walker, x, id graph.ID) {
	for rel := range r.v.In(x) {
		switch t := rel.Type(); {
		case !r.mask.Has(t):
		case t == prov.SameAs:
			w.add(r.b.represent(rel.From()), hop{rel: r.v.Relation(rel)})
		case t == prov.DeployedTo, t == prov.Deployed && (id == r.start || r.v.Ref(x).Kind == prov.Agent):
			when := w.when
			w.when = r.live(rel.From())
			w.add(r.b.represent(rel.From()), hop{rel: r.v.Relation(rel)})
			w.when = when
		}
	}
}

// onlyIf gives the doubt of a relation that holds under a condition only.
func (r *reacher) onlyIf(x graph.ID, y graph.Relation) string {
	if y.Role != graph.RoleConditional || y.Type == prov.Granted { // a grant's condition is weighed with it
		return ""
	}
	return fmt.Sprintf("the right to %s (entry %d) holds only under a condition; whether it is met is not in the graph", r.b.name(y.To), y.Entry)
}

// implied gives the groups that an identity is in by its name alone: those of
// every service account in Kubernetes, everybody, the domain of an address. The
// entry of each is the first that names the group.
func (r *reacher) implied(x graph.ID) []graph.Relation {
	ref := r.v.Ref(x)
	var out []graph.Relation
	add := func(name prov.Ref, doubt string) {
		to := r.v.Lookup(name)
		if to == graph.None || to == x {
			return
		}
		e := r.v.Entries(to)[0]
		out = append(out, graph.Relation{Type: prov.MemberOf, From: x, To: to, Valid: prov.Always, Entry: e, Since: e, Rule: "implied", Role: doubt})
	}
	team := func(name string) { add(prov.Ref{Kind: prov.Team, Name: name}, "") }
	first, rest, _ := strings.Cut(ref.Name, "/")
	switch ref.Kind {
	case prov.ServiceAccount:
		if cluster, ns, _, ok := clusterAccount(ref); ok {
			team("kubernetes/" + cluster + "group/system:serviceaccounts")
			team("kubernetes/" + cluster + "group/system:serviceaccounts:" + ns)
			team("kubernetes/" + cluster + "group/system:authenticated")
		}
	case prov.Workload:
		if cluster, user, ok := strings.Cut("/"+rest, "/user/"); ok && first == "kubernetes" && user != "system:anonymous" {
			team(strings.TrimSuffix("kubernetes/"+strings.TrimPrefix(cluster, "/"), "/") + "/group/system:authenticated")
		}
	case prov.Person:
		if _, domain, ok := strings.Cut(ref.Name, "@"); ok {
			add(prov.Ref{Kind: prov.Org, Name: "gcp/domain/" + domain}, "whether "+ref.String()+" is an account of the domain "+domain+" is not in the graph")
		}
	}
	if ref.Kind == prov.Person || first == "gcp" && ref.Class() == prov.ClassIdentity && ref.Kind != prov.Team {
		team("gcp/allUsers")
		team("gcp/allAuthenticatedUsers")
	}
	return out
}

// clusterAccount tells whether a name is that of a service account of
// Kubernetes: [CLUSTER/]NAMESPACE/NAME. cluster ends with '/', if there is one.
func clusterAccount(ref prov.Ref) (cluster, ns, name string, ok bool) {
	p := strings.Split(ref.Name, "/")
	if ref.Kind != prov.ServiceAccount || slices.Contains([]string{"aws", "gcp", "github", "vault"}, p[0]) {
		return "", "", "", false
	}
	if len(p) == 3 {
		cluster, p = p[0]+"/", p[1:]
	}
	if len(p) != 2 {
		return "", "", "", false
	}
	return cluster, p[0], p[1], true
}

// awsAccount gives the account of a user or role of AWS.
func awsAccount(ref prov.Ref) string {
	p := strings.Split(ref.Name, "/")
	if len(p) != 3 || p[0] != "aws" || ref.Kind != prov.ServiceAccount && ref.Kind != prov.Role {
		return ""
	}
	return p[1]
}

// arn gives the ARN of a user or role of AWS.
func (r *reacher) arn(x graph.ID) string {
	if a := r.all.Attributes(x)["arn"]; a != "" {
		return a
	}
	ref := r.v.Ref(x)
	account := awsAccount(ref)
	if account == "" {
		return ""
	}
	return "arn:aws:iam::" + account + ":" + map[prov.Kind]string{prov.Role: "role", prov.ServiceAccount: "user"}[ref.Kind] + ref.Name[strings.LastIndexByte(ref.Name, '/'):]
}

// assume takes a relation by which one may act as another. Whether AWS lets a
// user or role do so depends on policies on both sides (AWS IAM, policy
// evaluation logic, cross-account requests): the role's own trust, and where
// that is in another account, a grant of sts:AssumeRole.
func (r *reacher) assume(w *walker, x graph.ID, y graph.Relation, by graph.ID) {
	h := hop{rel: y, doubt: r.trusts(x, y)}
	if h.doubt == no {
		return
	}
	from, to := awsAccount(r.v.Ref(x)), awsAccount(r.v.Ref(y.To))
	if from == "" || to == "" || by != graph.None && by != x {
		w.add(r.b.represent(y.To), h)
		return
	}
	r.mayAssume(w, x, h, from != to)
}

// no says that a relation gives no right.
const no = "\x00no"

// trusts gives the doubt whether a relation CanAssume holds, no when it does
// not.
func (r *reacher) trusts(x graph.ID, y graph.Relation) string {
	name := r.v.Ref(x).String()
	if refused := r.texts(y, "trust.denied."+name); slices.Contains(refused, "yes") {
		return no
	} else if len(refused) > 0 {
		return fmt.Sprintf("%s refuses it under a condition (entry %d): %s", r.b.name(y.To), y.Entry, refused[0])
	}
	conds := r.texts(y, "trust."+name)
	if len(conds) == 0 && y.Role != graph.RoleConditional {
		return r.annotated(x, y)
	}
	best := access.No
	for _, c := range conds {
		best = max(best, r.holds(c, r.facts(x)))
	}
	switch {
	case best == access.Yes:
		return ""
	case best == access.No && len(conds) > 0:
		return no
	}
	return fmt.Sprintf("may act as %s (entry %d) only under a condition that nothing here decides: %s", r.b.name(y.To), y.Entry, strings.Join(conds, " or "))
}

// holds decides a condition of a trust.
func (r *reacher) holds(cond string, f access.Facts) access.Outcome {
	if cond == "unconditional" {
		return access.Yes
	}
	return access.Condition(cond, f)
}

// texts gives all that the entry of a relation says under one key of what the
// relation leads to.
func (r *reacher) texts(y graph.Relation, key string) []string {
	var out []string
	for c := range r.all.Claims(y.To) {
		if c.Entry == y.Entry && c.Key == key && !c.Retracted {
			out = append(out, c.Value)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// annotated weighs what a service account of Kubernetes says of itself, that it
// acts as an identity of a cloud: that identity must trust it.
func (r *reacher) annotated(x graph.ID, y graph.Relation) string {
	_, ns, name, ok := clusterAccount(r.v.Ref(x))
	said := r.all.Said(x, y.Entry)
	if !ok || said["eks.amazonaws.com/role-arn"] == "" && said["iam.gke.io/gcp-service-account"] == "" {
		return ""
	}
	best, told := access.No, false
	for rel := range r.v.In(y.To) {
		z := r.v.Relation(rel)
		from := r.v.Ref(z.From)
		if z.Type != prov.CanAssume || z.Entry == y.Entry && z.From == x {
			continue
		}
		told = true
		_, issuer, provider := strings.Cut(from.Name, "/oidc-provider/")
		switch {
		case z.From == x:
			best = access.Yes
		case provider:
			f := r.facts(x)
			f.Keys[strings.ToLower(issuer)+":sub"], f.Keys[strings.ToLower(issuer)+":aud"] = "system:serviceaccount:"+ns+":"+name, "sts.amazonaws.com"
			for _, cond := range r.texts(z, "trust."+from.String()) {
				best = max(best, r.holds(cond, f))
			}
		}
	}
	for k := range r.all.Attributes(y.To) {
		told = told || strings.HasPrefix(k, "trust.")
	}
	switch {
	case best == access.Yes:
		return ""
	case best == access.Unknown:
		return fmt.Sprintf("says of itself that it acts as %s (entry %d), whose trust depends on a condition that nothing here decides", r.b.name(y.To), y.Entry)
	case told:
		return no
	}
	return fmt.Sprintf("says of itself that it acts as %s (entry %d); no entry tells whom that trusts", r.b.name(y.To), y.Entry)
}

// byAccount takes the roles that trust the whole account of a user or role, or
// anybody: who acts needs a grant of sts:AssumeRole on the role.
func (r *reacher) byAccount(w *walker, x, by graph.ID) {
	account := awsAccount(r.v.Ref(x))
	if account == "" || strings.Contains(r.v.Ref(x).Name, "/policy/") {
		return
	}
	for _, group := range []prov.Ref{{Kind: prov.Org, Name: "aws/" + account}, {Kind: prov.Team, Name: "aws/anyone"}} {
		id := r.v.Lookup(group)
		if id == graph.None {
			continue
		}
		for rel := range r.v.Out(id) {
			if rel.Type() != prov.CanAssume || rel.To() == x {
				continue
			}
			y := r.v.Relation(rel)
			d := r.trusts(id, y)
			if y.From, y.Rule = x, "by-account"; d != no {
				r.mayAssume(w, x, hop{rel: y, doubt: d}, group.Kind == prov.Org || awsAccount(r.v.Ref(y.To)) != account)
			}
		}
	}
}

// mayAssume adds the hop to a role for when policies of who acts allow it, or
// where the role's trust is enough, do not refuse it.
func (r *reacher) mayAssume(w *walker, x graph.ID, h hop, need bool) {
	yes, maybe := r.allowed(x, access.Ask{Names: []string{r.arn(h.rel.To)}, Action: "sts:AssumeRole"}, need)
	whole := w.when
	to := r.b.represent(h.rel.To)
	w.when = whole.cut(yes)
	w.add(to, h)
	if h.doubt == "" {
		h.doubt = fmt.Sprintf("whether it is allowed sts:AssumeRole on %s, which trusts it (entry %d), is not known", r.b.name(h.rel.To), h.rel.Entry)
	}
	w.when = whole.cut(maybe)
	w.add(to, h)
	w.when = whole
}

// facts are what conditions can be decided by.
func (r *reacher) facts(x graph.ID) access.Facts {
	f := access.Facts{Keys: map[string]string{}}
	if at := r.v.AsOf().Valid; at != prov.Forever {
		f.At = at.Time()
	}
	if x == graph.None {
		return f
	}
	if account := awsAccount(r.v.Ref(x)); account != "" {
		f.Keys["aws:principalaccount"], f.Keys["aws:principalarn"] = account, r.arn(x)
	}
	return f
}
