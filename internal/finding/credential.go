package finding

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// What can be wrong with credentials and the identities that hold them.

// issued gives when a credential got its present value.
func issued(a map[string]string) (prov.Instant, bool) {
	i, ok1 := moment(a["issuedAt"])
	r, ok2 := moment(a["rotatedAt"])
	switch {
	case ok1 && ok2:
		return max(i, r), true
	case ok2:
		return r, true
	}
	return i, ok1
}

// dead tells whether a credential is said to be of no use any more.
func dead(a map[string]string) bool {
	switch a["state"] {
	case "revoked", "expired", "inactive", "retired":
		return true
	}
	return false
}

// staleCredential is L01.
func staleCredential(s *scope, id graph.ID) *result {
	us := s.users(id)
	if len(us) == 0 {
		return nil
	}
	a := s.attributes(id)
	if dead(a) {
		return nil // L02
	}
	r := &result{}
	s.use(r, us)
	began, ok := issued(a)
	if !ok {
		r.unsure("issue-not-known", "no entry says when it was issued or rotated")
	} else if old := after(began, s.o.Limits.MaxAge); s.due(old) {
		r.from(old)
		r.bad("too-old", fmt.Sprintf("it was issued or rotated at %s, more than %s before", began, days(s.o.Limits.MaxAge)))
	}
	used, ok := moment(a["lastUsedAt"])
	if !ok {
		r.unsure("use-not-known", "no entry says when it was used last")
	} else if idle := after(used, s.o.Limits.MaxIdle); s.due(idle) {
		r.from(idle)
		r.bad("idle", fmt.Sprintf("it was used last at %s, more than %s before", used, days(s.o.Limits.MaxIdle)))
	}
	if r.outcome == Violated {
		for _, u := range us {
			for _, x := range s.out(u.d.id, prov.Relations(prov.Supersedes)) {
				for _, y := range s.out(x.To, chained) {
					if y.To == id {
						r.add("inherited", s.label(u.d.id)+" has it from "+s.label(x.To))
						r.say(s.hop(x), s.hop(y))
					}
				}
			}
		}
	}
	return r.clear()
}

func days(d interface{ Hours() float64 }) string { return fmt.Sprintf("%g days", d.Hours()/24) }

// endedCredential is L02.
func endedCredential(s *scope, id graph.ID) *result {
	a := s.attributes(id)
	us := s.users(id)
	end, known := moment(a["expiresAt"])
	r := &result{}
	if a["state"] == "revoked" || a["state"] == "expired" {
		t, entry := s.stateClaim(id)
		r.entries = append(r.entries, entry)
		if !known || t < end {
			end, known = t, true
		}
	}
	s.use(r, us)
	if !known {
		switch {
		case len(us) == 0:
			return nil
		case a["neverExpires"] == "yes":
			return r.clear()
		}
		return r.unsure("expiry-not-known", "no entry says when it expires")
	}
	if s.due(end) && len(us) > 0 {
		r.from(end)
		r.bad("ended-and-live", fmt.Sprintf("it ended at %s, and a live deployment has it", end))
	}
	var uses []graph.Relation
	if s.due(end) {
		uses = s.in(id, prov.Relations(prov.AuthenticatesWith))
	}
	for _, x := range uses {
		if k := s.all.Kind(x.From); (k == prov.Activity || k == prov.Approval || k == prov.Deployment) && x.Valid.From >= end && x.Valid.From <= s.at {
			r.from(x.Valid.From, x.Entry)
			r.base = Critical
			r.bad("used-after-end", fmt.Sprintf("%s used it at %s, after it ended at %s", s.label(x.From), x.Valid.From, end))
			r.say(s.hop(x))
		}
	}
	if t, ok := moment(a["lastUsedAt"]); ok && t >= end && t <= s.at {
		r.from(t)
		r.base = Critical
		r.bad("used-after-end", fmt.Sprintf("it was used last at %s, after it ended at %s", t, end))
	}
	if r.outcome == "" && len(us) == 0 && s.due(end) {
		return nil // over, and nothing has it
	}
	return r.clear()
}

// leaked is L16.
func leaked(s *scope, id graph.ID) *result {
	us := s.users(id)
	r := &result{}
	s.use(r, us)
	a := s.attributes(id)
	found := false
	for _, n := range s.out(id, prov.Relations(prov.SubjectOf)) {
		if n.Role != "leaked" && n.Role != "compromised" || s.all.Recorded(n.Entry) > s.at {
			continue
		}
		found = true
		r.say(s.hop(n))
		since := n.Valid.From
		if since == prov.Beginning {
			since = s.all.Recorded(n.Entry)
		}
		began, ok := issued(a)
		switch {
		case len(us) == 0 || dead(a) || ok && began > since:
			r.clear()
		case !ok:
			r.unsure("rotation-not-known", "no entry says when it was issued or rotated")
		default:
			r.from(since)
			r.bad("not-rotated", fmt.Sprintf("it leaked at %s, and was issued or rotated last at %s", since, began))
		}
	}
	switch {
	case found:
		return r
	case len(us) == 0 || dead(a):
		return nil
	}
	return r.unsure("no-scan-recorded", "no entry says that anybody looked for it where it should not be")
}

// offboarded is L17.
func offboarded(s *scope, id graph.ID) *result {
	us := s.users(id)
	a := s.attributes(id)
	if dead(a) {
		return nil
	}
	r := &result{}
	s.use(r, us)
	owners := 0
	for _, x := range s.out(id, prov.Relations(prov.OwnedBy)) {
		if x.Valid.Holds(s.at) {
			owners++
			s.left(r, x)
		}
	}
	if k := s.all.Kind(id); k == prov.Credential || k == prov.Secret {
		for n := range s.v.InOf(id, prov.Relations(prov.AuthenticatesWith, prov.ReadsSecret)) {
			switch s.all.Kind(n.From()) {
			case prov.ServiceAccount, prov.Workload, prov.Subagent, prov.Role, prov.Person, prov.Agent:
				owners++
				s.left(r, s.v.Relation(n))
			}
		}
	}
	if owners == 0 {
		return nil // L04 says so
	}
	return r.clear()
}

// left asks whether who owns or holds a thing has left.
func (s *scope) left(r *result, x graph.Relation) {
	who := x.To
	if x.Type != prov.OwnedBy {
		who = x.From
	}
	a := s.v.Attributes(who)
	r.say(s.hop(x))
	switch {
	case gone(a):
		since, entry := s.stateClaim(who)
		r.entries = append(r.entries, entry)
		if end := after(since, s.o.Limits.Grace); s.due(end) {
			r.from(end, entry)
			r.bad("owner-left", fmt.Sprintf("%s is %s since %s", s.label(who), a["state"], since))
		}
	case s.all.Kind(who) == prov.Person:
		if o, why := s.person(who); o == Unknown {
			r.unsure("owner-not-listed", why)
		}
	case s.all.Kind(who) == prov.Team:
		switch o, class, why := s.team(who); o {
		case Violated:
			r.bad(class, why)
		case Unknown:
			r.unsure(class, why)
		}
	}
}

// overprivileged is L03.
func overprivileged(s *scope, id graph.ID) *result {
	us := s.users(id)
	if len(us) == 0 {
		return nil
	}
	r := &result{}
	s.use(r, us)
	grants := 0
	for _, g := range s.out(id, prov.Relations(prov.Granted)) {
		if !g.Valid.Holds(s.at) {
			continue
		}
		grants++
		r.say(s.hop(g))
		a := s.v.Attributes(g.To)
		scopes := listed(a, "scope.")
		if len(scopes) == 0 && len(listed(a, "notScope.")) == 0 {
			r.unsure("scope-not-known", "no entry tells the scope of "+s.label(g.To))
		}
		for _, x := range s.out(g.To, prov.Relations(prov.GrantsOn)) {
			wide := wildcard(scopes) || len(listed(a, "notScope.")) > 0
			top := topRole(scopes)
			switch {
			case top != "" && !wide && a["condition"] == "" && g.Role != graph.RoleConditional:
				r.from(g.Valid.From)
				r.bad("administrator", fmt.Sprintf("it holds %s on %s", top, s.label(x.To)))
				r.say(s.hop(x))
			case !wide && s.all.Ref(x.To).Name != "*":
			case a["condition"] != "" || g.Role == graph.RoleConditional:
				r.unsure("conditional", fmt.Sprintf("%s on %s holds only under a condition", texts(scopes), s.label(x.To)))
				r.say(s.hop(x))
			case wide:
				r.from(g.Valid.From)
				r.bad("unbounded", fmt.Sprintf("it holds %s on %s", texts(scopes), s.label(x.To)))
				r.say(s.hop(x))
			}
		}
	}
	if grants == 0 {
		return r.unsure("grants-not-known", "no entry tells what it was granted")
	}
	return r.clear()
}

func listed(a map[string]string, prefix string) []string {
	var out []string
	for _, k := range sortedKeys(a) {
		if t, ok := strings.CutPrefix(k, prefix); ok {
			out = append(out, t)
		}
	}
	return out
}

// topRoles are the names of roles with which sources grant everything.
var topRoles = []string{"roles/owner", "roles/editor", "AdministratorAccess", "cluster-admin", "Owner"}

func topRole(scopes []string) string {
	for _, x := range scopes {
		if slices.Contains(topRoles, x) {
			return x
		}
	}
	return ""
}

// wildcard tells whether a scope is everything, or everything of a service.
func wildcard(scopes []string) bool {
	for _, x := range scopes {
		if x == "*" || x == "*:*" || strings.HasSuffix(x, ":*") || strings.HasSuffix(x, "/*") {
			return true
		}
	}
	return false
}

// anySubject finds a condition on the subject that holds for every subject, as
// inventories write it: sub=*, "….:sub":"*", "…:sub":["*"].
var anySubject = regexp.MustCompile(`sub"?\s*[:=]\s*\[?\s*"?\*"?\s*(?:$|[],}) &])`)

// weakTrust is L20.
func weakTrust(s *scope, id graph.ID) *result {
	us := s.users(id)
	if len(us) == 0 {
		return nil
	}
	r := &result{}
	s.use(r, us)
	a := s.v.Attributes(id)
	told := 0
	for _, k := range sortedKeys(a) {
		who, ok := strings.CutPrefix(k, "trust.")
		if !ok || strings.HasPrefix(who, "denied.") {
			continue
		}
		told++
		federated := strings.Contains(who, "oidc") || strings.Contains(who, "federated") || strings.Contains(who, "saml")
		_, name, _ := strings.Cut(who, ":")
		switch cond := a[k]; {
		case anybody(name) && cond == "unconditional":
			r.bad("anybody", "anybody may act as it")
		case federated && cond == "unconditional":
			r.bad("no-condition", "federated "+who+" may act as it without a condition on subject or audience")
		case federated && !strings.Contains(cond, "sub"):
			r.bad("no-subject", "federated "+who+" may act as it whatever its subject: "+cond)
		case federated && anySubject.MatchString(cond):
			r.bad("any-subject", "federated "+who+" may act as it with any subject: "+cond)
		case federated && !strings.Contains(cond, "aud"):
			r.unsure("no-audience", "no entry says for which audience the tokens of federated "+who+" must be: "+cond)
		case strings.Contains(cond, "*") || anybody(name):
			r.unsure("condition-not-understood", who+" may act as it under a condition that is not understood here: "+cond)
		}
	}
	for _, x := range s.in(id, prov.Relations(prov.CanAssume)) {
		if x.Valid.Holds(s.at) {
			r.say(s.hop(x))
		}
	}
	if told == 0 {
		return r.unsure("trust-not-known", "no entry tells who may act as it")
	}
	return r.clear()
}

// shared is L15.
func shared(s *scope, id graph.ID) *result {
	r := &result{}
	delegated := s.sharedHop(r, id)
	switch s.all.Kind(id) {
	case prov.Agent, prov.Tool:
		if !delegated {
			return nil
		}
		return r.clear()
	}
	us := s.users(id)
	s.use(r, us)
	envs, services := map[string]bool{}, map[string]bool{}
	prod, other := false, false
	for _, u := range us {
		envs[u.d.env], services[u.d.service] = true, true
		prod, other = prod || production(u.d.env), other || !production(u.d.env)
	}
	if prod && other {
		r.bad("environments", "it serves "+strings.Join(sortedKeys(envs), ", "))
	}
	if n := len(services); n > s.o.Limits.Services {
		r.bad("services", fmt.Sprintf("%d services share it, more than %d", n, s.o.Limits.Services))
	}
	if len(us) == 0 && !delegated {
		return nil
	}
	if prod != other { // on one side: what it does beside is not told to be of that side
		for n := range s.all.InOf(id, prov.Relations(prov.AssociatedWith)) {
			if x := s.all.Relation(n); s.all.Kind(x.From) == prov.Activity && x.Valid.From <= s.at {
				r.unsure("other-use", s.label(x.From)+" ran as it too, in an environment that no entry tells")
				break
			}
		}
	}
	return r.clear()
}

// overBudget is L23.
func overBudget(s *scope, id graph.ID) *result {
	us := s.users(id)
	if len(us) == 0 {
		return nil
	}
	r := &result{}
	s.use(r, us)
	n := 0
	for _, u := range us {
		if production(u.d.env) {
			n++
		}
	}
	if budget := s.o.Limits.Budget; n > budget {
		return r.bad("over-budget", fmt.Sprintf("%d live deployments in production depend on it, the budget is %d", n, budget))
	}
	for _, x := range s.in(id, prov.Relations(prov.CanAssume)) {
		if x.Valid.Holds(s.at) && x.Role == graph.RoleConditional {
			r.unsure("conditional", s.label(x.From)+" may act as it under a condition that is not understood here")
			r.say(s.hop(x))
		}
	}
	return r.clear()
}

// anybody tells whether a principal stands for everybody, as inventories name
// it.
func anybody(name string) bool {
	return name == "*" || strings.HasSuffix(name, "/*") || strings.HasSuffix(name, "/anyone") || strings.HasSuffix(name, "/allUsers") || strings.HasSuffix(name, "/allAuthenticatedUsers")
}
