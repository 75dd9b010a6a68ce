package aws

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/importer/inventory/inventorytest"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
)

// The reference evaluates account details as AWS describes it (IAM, policy
// evaluation logic), for one action on one resource, by recursion over the
// documents themselves.

type policyStatement struct {
	Effect      string
	Action      []string       `json:",omitempty"`
	NotAction   []string       `json:",omitempty"`
	Resource    []string       `json:",omitempty"`
	NotResource []string       `json:",omitempty"`
	Condition   map[string]any `json:",omitempty"`
	Principal   map[string]any `json:",omitempty"`
}

type policyDoc struct{ Statement []policyStatement }

type inlinePolicy struct {
	PolicyName     string
	PolicyDocument policyDoc
}

type attached struct{ PolicyArn string }

type boundary struct{ PermissionsBoundaryArn string }

type principalDetail struct {
	Arn                      string
	GroupList                []string       `json:",omitempty"`
	UserPolicyList           []inlinePolicy `json:",omitempty"`
	GroupPolicyList          []inlinePolicy `json:",omitempty"`
	RolePolicyList           []inlinePolicy `json:",omitempty"`
	AttachedManagedPolicies  []attached
	PermissionsBoundary      *boundary  `json:",omitempty"`
	AssumeRolePolicyDocument *policyDoc `json:",omitempty"`
}

type version struct {
	IsDefaultVersion bool
	Document         policyDoc
}

type managed struct {
	Arn               string
	PolicyVersionList []version
}

type account struct {
	UserDetailList, GroupDetailList, RoleDetailList []principalDetail
	Policies                                        []managed
}

const (
	arnOf    = "arn:aws:iam::111111111111:"
	foreign  = "arn:aws:iam::222222222222:user/v"
	undecide = "s3:x-amz-undecided"
)

func matches(p, text string) bool {
	switch {
	case p == "":
		return text == ""
	case p[0] == '*':
		return matches(p[1:], text) || text != "" && matches(p, text[1:])
	case text == "":
		return false
	case p[0] == '?' || p[0] == text[0]:
		return matches(p[1:], text[1:])
	}
	return false
}

func anyMatches(list []string, text string) bool {
	return slices.ContainsFunc(list, func(p string) bool { return matches(p, text) })
}

const (
	no = iota
	unknown
	yes
)

// condition decides StringEquals on the account, and nothing else.
func decide(c map[string]any, account string) int {
	if len(c) == 0 {
		return yes
	}
	if eq, ok := c["StringEquals"].(map[string]any); ok {
		if want, ok := eq["aws:PrincipalAccount"]; ok && account != "" {
			return map[bool]int{true: yes, false: no}[want == account]
		}
	}
	return unknown
}

func (s policyStatement) about(action, res string) bool {
	act := strings.ToLower(action)
	if s.NotAction != nil && anyMatches(lowered(s.NotAction), act) || s.NotAction == nil && !anyMatches(lowered(s.Action), act) {
		return false
	}
	if s.NotResource != nil {
		return !anyMatches(s.NotResource, res)
	}
	return anyMatches(s.Resource, res)
}

func lowered(list []string) []string {
	var out []string
	for _, x := range list {
		out = append(out, strings.ToLower(x))
	}
	return out
}

// documents gives the policies of a user or role, and whether all are told.
func (a *account) documents(arn string) (docs []policyDoc, told bool) {
	told = true
	attach := func(list []attached) {
		for _, x := range list {
			d, ok := a.managed(x.PolicyArn)
			docs, told = append(docs, d...), told && ok
		}
	}
	inline := func(list []inlinePolicy) {
		for _, x := range list {
			docs = append(docs, x.PolicyDocument)
		}
	}
	for _, p := range append(slices.Clone(a.UserDetailList), a.RoleDetailList...) {
		if p.Arn != arn {
			continue
		}
		inline(p.UserPolicyList)
		inline(p.RolePolicyList)
		attach(p.AttachedManagedPolicies)
		for _, g := range a.GroupDetailList {
			if slices.Contains(p.GroupList, g.Arn[strings.LastIndexByte(g.Arn, '/')+1:]) {
				inline(g.GroupPolicyList)
				attach(g.AttachedManagedPolicies)
			}
		}
	}
	return docs, told
}

func (a *account) managed(arn string) ([]policyDoc, bool) {
	for _, m := range a.Policies {
		if m.Arn == arn {
			return []policyDoc{m.PolicyVersionList[0].Document}, true
		}
	}
	return nil, false
}

func (a *account) of(arn string) *principalDetail {
	for _, list := range [][]principalDetail{a.UserDetailList, a.RoleDetailList} {
		for i := range list {
			if list[i].Arn == arn {
				return &list[i]
			}
		}
	}
	return nil
}

// may weighs one action on one resource. free: no grant is needed.
func (a *account) may(arn, action, res string, free bool) int {
	docs, told := a.documents(arn)
	weigh := func(docs []policyDoc) (allow, deny int) {
		for _, d := range docs {
			for _, s := range d.Statement {
				if s.about(action, res) {
					switch c := decide(s.Condition, "111111111111"); s.Effect {
					case "Allow":
						allow = max(allow, c)
					case "Deny":
						deny = max(deny, c)
					}
				}
			}
		}
		return allow, deny
	}
	allow, deny := weigh(docs)
	if !told {
		allow = max(allow, unknown)
	}
	if free {
		allow = yes
	}
	out := min(allow, yes-deny)
	if p := a.of(arn); p != nil && p.PermissionsBoundary != nil {
		b, ok := a.managed(p.PermissionsBoundary.PermissionsBoundaryArn)
		in, not := weigh(b)
		if ok {
			out = min(out, in, yes-not)
		} else {
			out = min(out, unknown)
		}
	}
	return out
}

// acts gives as whom a principal may act, and how sure that is.
func (a *account) acts(start string) map[string]int {
	out := map[string]int{start: yes}
	for todo := []string{start}; len(todo) > 0; {
		at := todo[0]
		todo = todo[1:]
		for _, r := range a.RoleDetailList {
			if r.Arn == at {
				continue
			}
			best := no
			for _, s := range r.AssumeRolePolicyDocument.Statement {
				p, _ := s.Principal["AWS"].(string)
				c := no
				switch p {
				case at:
					c = min(decide(s.Condition, "111111111111"), a.reaches(at, r.Arn, true))
				case arnOf + "root":
					c = min(decide(s.Condition, ""), a.reaches(at, r.Arn, false))
				case "*":
					c = min(decide(s.Condition, ""), a.reaches(at, r.Arn, true))
				}
				best = max(best, c)
			}
			if o := min(best, out[at]); o > out[r.Arn] {
				out[r.Arn] = o
				todo = append(todo, r.Arn)
			}
		}
	}
	return out
}

func (a *account) reaches(at, role string, free bool) int {
	return max(a.may(at, "sts:AssumeRole", role, free), a.may(at, "sts:AssumeRole", role+"/below", free))
}

var (
	allActions   = []string{"s3:GetObject", "s3:GetOther", "s3:PutObject", "s3:Other", "sts:AssumeRole", "ec2:Other"}
	allResources = []string{"arn:aws:s3:::b1/x", "arn:aws:s3:::b2/x", "arn:aws:s3:::b1"}
)

// outcome is the answer that is expected.
func (a *account) outcome(start, action, res string) string {
	best, gap := no, false
	for p, o := range a.acts(start) {
		if o == no {
			continue
		}
		_, told := a.documents(p)
		gap = gap || !told
		for _, act := range allActions {
			if action != "" && action != act || action == "" && !strings.HasPrefix(act, "s3:") {
				continue
			}
			for _, r := range []string{res, res + "/below", res + "/x"} {
				// What is not told makes no path.
				best = max(best, min(o, a.granted(p, act, r)))
			}
		}
	}
	switch {
	case best == yes:
		return "yes"
	case best == unknown, gap:
		return "unknown"
	}
	return "none"
}

// granted is may without what is not told.
func (a *account) granted(arn, action, res string) int {
	docs, _ := a.documents(arn)
	for _, d := range docs {
		for _, s := range d.Statement {
			if s.Effect == "Allow" && s.about(action, res) && decide(s.Condition, "111111111111") != no {
				x := a.may(arn, action, res, false)
				if _, told := a.documents(arn); !told && x == unknown { // by a grant that is told?
					y := *a
					y.Policies = slices.Clone(a.Policies)
					for _, list := range [][]principalDetail{a.UserDetailList, a.GroupDetailList, a.RoleDetailList} {
						for _, p := range list {
							for _, m := range p.AttachedManagedPolicies {
								if _, ok := a.managed(m.PolicyArn); !ok {
									y.Policies = append(y.Policies, managed{Arn: m.PolicyArn, PolicyVersionList: []version{{}}})
								}
							}
						}
					}
					if p := a.of(arn); p.PermissionsBoundary != nil {
						if _, ok := a.managed(p.PermissionsBoundary.PermissionsBoundaryArn); !ok {
							return x
						}
					}
					return y.may(arn, action, res, false)
				}
				return x
			}
		}
	}
	return no
}

type inventor struct{ *rand.Rand }

func (m inventor) pick(list ...string) string { return list[m.IntN(len(list))] }

func (m inventor) statement() policyStatement {
	s := policyStatement{Effect: m.pick("Allow", "Allow", "Deny")}
	if m.IntN(6) == 0 {
		s.NotAction = []string{m.pick("s3:Get*", "sts:*", "S3:PutObject"), "ec2:*"}
	} else {
		s.Action = []string{m.pick("s3:Get*", "s3:*", "*", "s3:PutObject", "sts:AssumeRole", "s3:get?bject")}
	}
	if m.IntN(6) == 0 {
		s.NotResource = []string{m.pick("arn:aws:s3:::b1/*", arnOf+"role/*", "arn:aws:s3:::b?/x")}
	} else {
		s.Resource = []string{m.pick("*", "arn:aws:s3:::b1/*", "arn:aws:s3:::b?/x", arnOf+"role/*", "arn:aws:s3:::*", arnOf+"role/r1")}
	}
	s.Condition = m.condition()
	return s
}

func (m inventor) condition() map[string]any {
	switch m.IntN(8) {
	case 0:
		return map[string]any{"StringEquals": map[string]any{"aws:PrincipalAccount": m.pick("111111111111", "222222222222")}}
	case 1:
		return map[string]any{"StringEquals": map[string]any{undecide: "x"}}
	}
	return nil
}

func (m inventor) doc() policyDoc {
	var d policyDoc
	for range 1 + m.IntN(2) {
		d.Statement = append(d.Statement, m.statement())
	}
	return d
}

func (m inventor) inline() []inlinePolicy {
	var out []inlinePolicy
	for i := range m.IntN(2) {
		out = append(out, inlinePolicy{fmt.Sprint("i", i), m.doc()})
	}
	return out
}

func (m inventor) attached() []attached {
	out := []attached{}
	if m.IntN(2) == 0 {
		out = append(out, attached{arnOf + "policy/" + m.pick("p1", "p2", "p1", "p2", "untold")})
	}
	return out
}

func (m inventor) bound() *boundary {
	if m.IntN(4) == 0 {
		return &boundary{arnOf + "policy/" + m.pick("p1", "p2", "untold")}
	}
	return nil
}

func (m inventor) account() *account {
	a := &account{}
	for _, g := range []string{"g1", "g2"} {
		a.GroupDetailList = append(a.GroupDetailList, principalDetail{Arn: arnOf + "group/" + g, GroupPolicyList: m.inline(), AttachedManagedPolicies: m.attached()})
	}
	for _, u := range []string{"u1", "u2"} {
		p := principalDetail{Arn: arnOf + "user/" + u, UserPolicyList: m.inline(), AttachedManagedPolicies: m.attached(), PermissionsBoundary: m.bound()}
		if m.IntN(2) == 0 {
			p.GroupList = []string{m.pick("g1", "g2")}
		}
		a.UserDetailList = append(a.UserDetailList, p)
	}
	for _, r := range []string{"r1", "r2"} {
		var trust policyDoc
		for range 1 + m.IntN(2) {
			trust.Statement = append(trust.Statement, policyStatement{Effect: "Allow", Action: []string{"sts:AssumeRole"}, Condition: m.condition(),
				Principal: map[string]any{"AWS": m.pick(arnOf+"user/u1", arnOf+"root", arnOf+"role/r1", foreign, "*")}})
		}
		a.RoleDetailList = append(a.RoleDetailList, principalDetail{Arn: arnOf + "role/" + r, RolePolicyList: m.inline(), AttachedManagedPolicies: m.attached(),
			PermissionsBoundary: m.bound(), AssumeRolePolicyDocument: &trust})
	}
	for _, p := range []string{"p1", "p2"} {
		a.Policies = append(a.Policies, managed{Arn: arnOf + "policy/" + p, PolicyVersionList: []version{{true, m.doc()}}})
	}
	return a
}

// TestReachReference: what users and roles of random accounts reach agrees
// with the plain reference, in two listings one after the other.
func TestReachReference(t *testing.T) {
	count := map[string]int{}
	limited := 0
	for seed := range uint64(120) {
		m := inventor{rand.New(rand.NewPCG(seed, 6))}
		g := graph.New()
		day := func(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }
		listings := []*account{m.account(), m.account()}
		for i, a := range listings {
			data, err := json.Marshal(a)
			if err != nil {
				t.Fatal(err)
			}
			inventorytest.Fold(t, g, Importer{}, data, day(1+i))
		}
		for i, a := range listings {
			v := g.At(prov.AsOf{Valid: prov.At(day(1 + i).Add(time.Hour)), Known: prov.AllKnown})
			for _, who := range []string{"user/u1", "user/u2", "role/r1"} {
				ref := map[string]string{"user": "sa", "role": "role"}[who[:4]] + ":aws/111111111111/" + who[5:]
				for _, action := range []string{"", "s3:GetObject", "s3:PutObject"} {
					for _, res := range allResources {
						got, ans := inventorytest.Reach(t, v, ref, "resource:"+res, action)
						want := a.outcome(arnOf+who, action, res)
						if got != want {
							data, _ := json.Marshal(a)
							t.Fatalf("seed %d, listing %d: %s to %s for %q: %s, want %s\n%s\n%s", seed, i, ref, res, action, got, want, data, steps(ans))
						}
						count[got]++
						if got == "none" && ans != nil && len(ans.Refused) > 0 {
							limited++
						}
					}
				}
			}
		}
	}
	t.Log(count, limited, "refused")
	for _, o := range []string{"yes", "unknown", "none"} {
		if count[o] < 400 {
			t.Errorf("only %d are %s; the accounts say too little", count[o], o)
		}
	}
	if limited < 100 {
		t.Errorf("only %d were refused", limited)
	}
}

func steps(a *query.Answer) string {
	if a == nil {
		return ""
	}
	b, _ := json.Marshal(a.Steps)
	return string(b)
}
