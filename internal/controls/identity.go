package controls

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/policy"
	"github.com/stemma-lineage/stemma/prov"
)

// Questions about identities, their credentials, grants and delegations.

// accounts gives the service accounts and workloads in scope that are not
// retired.
func (s *scope) accounts() []graph.ID {
	m := map[graph.ID][]uint64{}
	for _, k := range []prov.Kind{prov.ServiceAccount, prov.Workload} {
		for _, id := range s.kinds[k] {
			if s.covers(id) && s.v.Attributes(id)["state"] != "retired" {
				m[id] = nil
			}
		}
	}
	return s.ordered(m)
}

// told are the relations that an inventory states of an identity.
var told = prov.Relations(prov.OwnedBy, prov.MemberOf, prov.CanAssume, prov.Granted, prov.ReadsSecret, prov.AuthenticatesWith)

func askInventoryFresh(s *scope, c *collector) {
	for _, id := range s.accounts() {
		newest, entry := prov.Beginning, uint64(0)
		for r := range s.v.Out(id) {
			x := s.v.Relation(r)
			if t := s.v.Recorded(x.Entry); told.Has(x.Type) && t > newest && t <= s.at {
				newest, entry = t, x.Entry
			}
		}
		answer, says, entries := Unknown, "no inventory that was recorded by then tells of it", []uint64(nil)
		switch {
		case newest == prov.Beginning:
		case s.at-newest <= inventoryDays*day:
			answer, says, entries = Yes, "an inventory of "+newest.String()+" tells of it", []uint64{entry}
		default:
			answer, says, entries = No, fmt.Sprintf("the newest inventory that tells of it is of %s, more than %d days before", newest, inventoryDays), []uint64{entry}
		}
		if !c.say(id, answer, entries, "%s", says) {
			return
		}
	}
}

func askIdentitiesOwned(s *scope, c *collector) {
	for _, id := range s.accounts() {
		answer, says, entries := s.owner(id)
		if !c.say(id, answer, entries, "%s", says) {
			return
		}
	}
}

// owner tells whether somebody answers for an identity who is still there.
// That no entry names an owner is not known to mean that there is none.
func (s *scope) owner(id graph.ID) (Answer, string, []uint64) {
	answer, says, entries := Unknown, "no entry says who owns it", []uint64(nil)
	for r := range s.v.Out(id) {
		x := s.v.Relation(r)
		if x.Type != prov.OwnedBy {
			continue
		}
		entries = append(entries, x.Entry)
		who := s.v.Ref(x.To)
		switch gone := s.v.Attributes(x.To)["state"] == "retired"; {
		case answer == Yes:
		case gone:
			answer, says = No, who.String()+", who owns it, is retired"
		case who.Kind == prov.Person:
			answer, says = Yes, "owned by "+who.String()
		default:
			member, entry := s.member(x.To)
			if member == "" {
				if answer != No {
					says = "owned by " + who.String() + ", of which no entry tells a member who is still there"
				}
				continue
			}
			answer, says = Yes, "owned by "+who.String()+", of which "+member+" is a member"
			entries = append(entries, entry)
		}
	}
	return answer, says, entries
}

// membership is what member gives.
type membership struct {
	name  string
	entry uint64
}

// member gives a person who is a member of a team and not retired, the first by
// name.
func (s *scope) member(team graph.ID) (name string, entry uint64) {
	if m, ok := s.members[team]; ok {
		return m.name, m.entry
	}
	defer func() { s.members[team] = membership{name, entry} }()
	for r := range s.v.InOf(team, prov.Relations(prov.MemberOf)) {
		x := s.v.Relation(r)
		who := s.v.Ref(x.From)
		if who.Kind != prov.Person || s.v.Attributes(x.From)["state"] == "retired" {
			continue
		}
		if n := who.String(); name == "" || n < name {
			name, entry = n, x.Entry
		}
	}
	return name, entry
}

// credentials gives the credentials of what runs live deployments in scope, with
// the entries that say so: those that a deployment names, and those of the
// identities as which it runs. What an identity held before it got another is
// left out.
func (s *scope) credentials() map[graph.ID][]uint64 {
	found := map[graph.ID][]uint64{}
	put := func(id graph.ID, entry uint64) { found[id] = append(found[id], entry) }
	for _, d := range s.live() {
		for r := range s.v.Out(d.id) {
			switch x := s.v.Relation(r); x.Type {
			case prov.AuthenticatesWith:
				put(x.To, x.Entry)
			case prov.RunsAs:
				s.ofIdentity(x.To, put)
			}
		}
	}
	return found
}

func (s *scope) ofIdentity(id graph.ID, put func(graph.ID, uint64)) {
	now := false
	for r := range s.v.Out(id) {
		if x := s.v.Relation(r); x.Type == prov.AuthenticatesWith {
			now = true
			put(x.To, x.Entry)
		}
	}
	if now {
		return
	}
	for r := range s.v.Always().Out(id) {
		if x := s.v.Relation(r); x.Type == prov.AuthenticatesWith && x.Valid.From <= s.at {
			put(x.To, x.Entry)
		}
	}
}

func askCredentialsInDate(s *scope, c *collector) {
	found := s.credentials()
	for _, id := range s.ordered(found) {
		attrs := s.v.Attributes(id)
		answer, says := Unknown, "no entry says when it expires"
		switch t, err := prov.ParseTime(attrs["expiresAt"]); {
		case attrs["state"] == "retired":
			answer, says = No, "it is retired, and what is live uses it"
		case err == nil && prov.At(t) <= s.at:
			answer, says = No, "it expired at "+attrs["expiresAt"]
		case err == nil:
			answer, says = Yes, "it expires at "+attrs["expiresAt"]
		}
		if !c.say(id, answer, found[id], "%s", says) {
			return
		}
	}
}

func askCredentialsFresh(s *scope, c *collector) {
	found := s.credentials()
	for _, id := range s.ordered(found) {
		issued := s.v.Attributes(id)["issuedAt"]
		answer, says := Unknown, "no entry says when it was issued"
		switch t, err := prov.ParseTime(issued); {
		case err != nil:
		case s.at-prov.At(t) > credentialDays*day:
			answer, says = No, fmt.Sprintf("it was issued at %s, more than %d days before", issued, credentialDays)
		default:
			answer, says = Yes, "it was issued at "+issued
		}
		if !c.say(id, answer, found[id], "%s", says) {
			return
		}
	}
}

// consumers gives, of each identity and credential that a live deployment
// anywhere uses, where.
func (s *scope) consumers(where func(deployment) string) (order map[graph.ID][]uint64, at map[graph.ID]map[string]bool) {
	order, at = map[graph.ID][]uint64{}, map[graph.ID]map[string]bool{}
	put := func(id graph.ID, place string, entry uint64) {
		if at[id] == nil {
			at[id] = map[string]bool{}
		}
		at[id][place] = true
		order[id] = append(order[id], entry)
	}
	for _, d := range s.everywhere {
		for r := range s.v.Out(d.id) {
			x := s.v.Relation(r)
			if x.Type == prov.AuthenticatesWith || x.Type == prov.RunsAs {
				put(x.To, where(d), x.Entry)
			}
			if x.Type == prov.RunsAs {
				for o := range s.v.Out(x.To) {
					if y := s.v.Relation(o); y.Type == prov.AuthenticatesWith {
						put(y.To, where(d), y.Entry)
					}
				}
			}
		}
	}
	return order, at
}

func askEnvironmentsApart(s *scope, c *collector) {
	envs := map[string]bool{}
	for _, d := range s.everywhere {
		envs[d.env] = true
	}
	s.shared(c, func(d deployment) string { return d.env }, "environment", len(envs) > 1)
}

func askOneService(s *scope, c *collector) {
	s.shared(c, func(d deployment) string { return d.service }, "service", true)
}

// shared asks of each identity and credential in scope whether it serves one
// place. Where the log tells of one environment only, it cannot be told.
func (s *scope) shared(c *collector, where func(deployment) string, word string, several bool) {
	order, at := s.consumers(where)
	for _, id := range s.ordered(order) {
		if !s.within[id] {
			continue
		}
		places := slices.Sorted(maps.Keys(at[id]))
		answer, says := Yes, fmt.Sprintf("it serves the %s %s", word, places[0])
		switch {
		case len(places) > 1:
			answer, says = No, fmt.Sprintf("it serves %d: %s", len(places), strings.Join(places, ", "))
		case places[0] == "":
			answer, says = Unknown, "no entry says which "+word+" it serves"
		case !several:
			answer, says = Unknown, "the log tells of one "+word+" only"
		}
		if !c.say(id, answer, order[id], "%s", says) {
			return
		}
	}
}

func askGrantsNarrow(s *scope, c *collector) {
	runs := map[graph.ID][]uint64{}
	for _, d := range s.live() {
		for r := range s.v.Out(d.id) {
			if x := s.v.Relation(r); x.Type == prov.RunsAs {
				runs[x.To] = append(runs[x.To], x.Entry)
			}
		}
	}
	for _, id := range s.ordered(runs) {
		n, wide, entries := 0, "", []uint64(nil)
		for r := range s.v.Out(id) {
			x := s.v.Relation(r)
			if x.Type != prov.Granted {
				continue
			}
			n++
			entries = append(entries, x.Entry)
			if w := s.wildcard(x.To); w != "" && (wide == "" || w < wide) {
				wide = w
			}
		}
		answer, says := Yes, fmt.Sprintf("%d grants, none a wildcard", n)
		switch {
		case n == 0:
			answer, says, entries = Unknown, "no entry tells its grants", runs[id]
		case wide != "":
			answer, says = No, "it is granted "+wide
		}
		if !c.say(id, answer, entries, "%s", says) {
			return
		}
	}
}

// wildcard gives what is unbounded of a grant: a scope that allows every
// action, of everything or of one service, or a resource that is everything.
func (s *scope) wildcard(grant graph.ID) string {
	out := ""
	put := func(w string) {
		if out == "" || w < out {
			out = w
		}
	}
	for k := range s.v.Attributes(grant) {
		if sc, ok := strings.CutPrefix(k, "scope."); ok && (sc == "*" || strings.HasSuffix(sc, ":*") || strings.HasSuffix(sc, ".*")) {
			put("the scope " + sc)
		}
	}
	for r := range s.v.Out(grant) {
		if r.Type() == prov.GrantsOn {
			if name := s.v.Ref(r.To()).Name; name == "*" || name == "" {
				put("the resource " + s.v.Ref(r.To()).String())
			}
		}
	}
	return out
}

func askOffboarded(s *scope, c *collector) {
	retired := map[graph.ID][]uint64{}
	for _, k := range []prov.Kind{prov.ServiceAccount, prov.Workload, prov.Subagent, prov.Credential} {
		for _, id := range s.kinds[k] {
			if s.v.Attributes(id)["state"] == "retired" && (s.focus == nil || s.covers(id)) {
				retired[id] = nil
			}
		}
	}
	order, at := s.consumers(func(d deployment) string { return policy.Label(s.v, d.id) })
	for _, id := range s.ordered(retired) {
		answer, says, entries := Yes, "it is retired, and nothing that is live uses it", s.v.Entries(id)
		if users := slices.Sorted(maps.Keys(at[id])); len(users) > 0 {
			answer, says, entries = No, "it is retired, but "+strings.Join(users, ", ")+" uses it", append(entries, order[id]...)
		}
		if !c.say(id, answer, entries, "%s", says) {
			return
		}
	}
}

// delegations gives who holds a delegation in effect, with its entries and when
// the last of them ends.
func (s *scope) delegations() (children map[graph.ID][]uint64, until map[graph.ID]prov.Instant) {
	children, until = map[graph.ID][]uint64{}, map[graph.ID]prov.Instant{}
	for k, ids := range s.kinds {
		if k.Class() != prov.ClassIdentity && k != prov.Agent {
			continue
		}
		for _, id := range ids {
			for r := range s.v.In(id) {
				if x := s.v.Relation(r); x.Type == prov.DelegatedTo && (s.focus == nil || s.covers(id)) {
					children[id] = append(children[id], x.Entry)
					until[id] = max(until[id], x.Valid.To)
				}
			}
		}
	}
	return children, until
}

func askDelegationsRooted(s *scope, c *collector) {
	children, _ := s.delegations()
	for _, id := range s.ordered(children) {
		answer, says := s.root(id)
		if !c.say(id, answer, children[id], "%s", says) {
			return
		}
	}
}

// root follows delegations up to a person, or to an identity with an owner that
// got none itself.
func (s *scope) root(child graph.ID) (Answer, string) {
	seen, ends := map[graph.ID]bool{child: true}, []string{}
	for todo := []graph.ID{child}; len(todo) > 0; {
		id := todo[0]
		todo = todo[1:]
		parents := 0
		for r := range s.v.In(id) {
			if x := s.v.Relation(r); x.Type == prov.DelegatedTo {
				parents++
				if s.v.Ref(x.From).Kind == prov.Person {
					return Yes, "it leads back to " + s.v.Ref(x.From).String()
				}
				if !seen[x.From] {
					seen[x.From] = true
					todo = append(todo, x.From)
				}
			}
		}
		if parents > 0 {
			continue
		}
		answer, says, _ := s.owner(id)
		if answer == Yes {
			return Yes, "it leads back to " + policy.Label(s.v, id) + ", " + says
		}
		ends = append(ends, policy.Label(s.v, id))
	}
	if len(ends) == 0 {
		return No, "it leads round in a circle and to no person"
	}
	slices.Sort(ends)
	return Unknown, "it leads back to " + strings.Join(ends, ", ") + ", for which nobody is known to answer"
}

func askDelegationsDated(s *scope, c *collector) {
	children, until := s.delegations()
	for _, id := range s.ordered(children) {
		answer, says := Yes, "it ends at "+until[id].String()
		for r := range s.v.In(id) {
			x := s.v.Relation(r)
			if x.Type != prov.DelegatedTo {
				continue
			}
			if parent, ok := until[x.From]; ok && parent < x.Valid.To {
				answer, says = No, "it ends after the delegation of "+policy.Label(s.v, x.From)+", at "+parent.String()
			} else if x.Valid.To == prov.Forever && answer == Yes {
				answer, says = Unknown, "no entry says when it ends"
			}
		}
		if !c.say(id, answer, children[id], "%s", says) {
			return
		}
	}
}
