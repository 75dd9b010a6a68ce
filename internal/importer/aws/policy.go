package aws

import (
	"net/url"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/inventory"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/statement"
)

// maxGrants is how many grants are made of one policy.
const maxGrants = 2000

// document gives the policy: an object, or the text of one, which the API
// encodes as in a URL (RFC 3986).
func document(n rawjson.Node) rawjson.Node {
	if n.Kind() != '"' {
		return n
	}
	text := n.Text()
	if strings.HasPrefix(strings.TrimSpace(text), "%7B") || strings.HasPrefix(strings.TrimSpace(text), "%7b") {
		if t, err := url.PathUnescape(text); err == nil {
			text = t
		}
	}
	return inventory.Embedded(text)
}

// statements gives the statements of a policy: a list, or the one.
func statementsOf(policy rawjson.Node) []rawjson.Node {
	st := policy.Get("Statement")
	if st.Kind() == '{' {
		return []rawjson.Node{st}
	}
	var out []rawjson.Node
	if st.Kind() == '[' {
		for x := range st.All() {
			out = append(out, x)
		}
	}
	return out
}

func condition(st rawjson.Node) string {
	if c := st.Get("Condition"); c.Kind() == '{' {
		return inventory.Short(compact(c))
	}
	return ""
}

// grants says what a policy allows and denies (IAM JSON policy elements).
func grants(s *inventory.Statements, where string, n rawjson.Node) []statement.GrantItem {
	doc := document(n)
	if doc.Kind() != '{' {
		s.Note("%s: its document is no JSON object; what it grants is not known", where)
		return nil
	}
	var out []statement.GrantItem
	for _, st := range statementsOf(doc) {
		g := statement.GrantItem{Scope: inventory.Texts(st.Get("Action")), NotScope: inventory.Texts(st.Get("NotAction")),
			NotResource: inventory.Texts(st.Get("NotResource")), Condition: condition(st), Via: where}
		switch st.Get("Effect").Text() {
		case "Allow":
		case "Deny":
			g.Deny = true
		default:
			s.Note("%s: a statement has neither Allow nor Deny as its Effect; it is left out", where)
			continue
		}
		if len(g.NotScope) > 0 {
			g.Scope = []string{"*"}
		}
		on := inventory.Texts(st.Get("Resource"))
		if len(g.NotResource) > 0 {
			on = []string{"*"}
		}
		if len(g.Scope) == 0 || len(on) == 0 {
			s.Note("%s: a statement names no action or no resource; it is left out", where)
			continue
		}
		for _, r := range on {
			if len(out) >= maxGrants {
				s.Note("%s grants more than %d things; the rest is kept in the evidence only", where, maxGrants)
				return out
			}
			g.Resource = resource(r)
			out = append(out, g)
		}
	}
	return out
}

// trust says who may assume a role.
func trust(s *inventory.Statements, where string, n rawjson.Node) []statement.TrustItem {
	doc := document(n)
	if doc.Kind() != '{' {
		s.Note("%s: its trust policy is no JSON object; who may assume it is not known", where)
		return nil
	}
	var out []statement.TrustItem
	for _, st := range statementsOf(doc) {
		cond, deny := condition(st), st.Get("Effect").Text() == "Deny"
		add := func(kind string, names []string) {
			for _, p := range names {
				if p != "" && len(out) < maxGrants {
					out = append(out, statement.TrustItem{Principal: principal(kind, p), Condition: cond, Deny: deny})
				}
			}
		}
		if st.Get("NotPrincipal").Given() {
			s.Note("%s: a statement of its trust policy has NotPrincipal, which names nobody; it is kept in the evidence only", where)
			continue
		}
		if !allows(st) {
			continue
		}
		p := st.Get("Principal")
		if p.Kind() == '"' {
			add("AWS", []string{p.Text()})
		}
		if p.Kind() == '{' {
			for m := range p.All() {
				add(m.Key(), inventory.Texts(m))
			}
		}
	}
	return out
}

// allows tells whether a statement of a trust policy is about assuming: not
// one that only lets tags be passed.
func allows(st rawjson.Node) bool {
	actions := inventory.Texts(st.Get("Action"))
	if len(actions) == 0 {
		return st.Get("NotAction").Given()
	}
	for _, a := range actions {
		if a = strings.ToLower(a); strings.HasPrefix(a, "sts:assume") || strings.Contains(a, "*") {
			return true
		}
	}
	return false
}
