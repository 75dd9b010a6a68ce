package kubernetes

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
	"github.com/stemma-lineage/stemma/prov"
)

// The reference authorises as the RBAC authoriser of Kubernetes is described:
// some rule of some binding of the subject must match verb, group, resource and
// name.

type policyRule struct {
	Verbs         []string `json:"verbs"`
	APIGroups     []string `json:"apiGroups,omitempty"`
	Resources     []string `json:"resources,omitempty"`
	ResourceNames []string `json:"resourceNames,omitempty"`
	URLs          []string `json:"nonResourceURLs,omitempty"`
}

type subject struct {
	Kind      string `json:"kind"`
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
}

type meta struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
	UID       string `json:"uid"`
}

type rbac struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   meta              `json:"metadata"`
	Rules      []policyRule      `json:"rules,omitempty"`
	RoleRef    map[string]string `json:"roleRef,omitempty"`
	Subjects   []subject         `json:"subjects,omitempty"`
}

type attributes struct{ verb, ns, group, resource, sub, name string }

func in(list []string, x string) bool {
	return slices.Contains(list, "*") || slices.Contains(list, x)
}

func (r policyRule) allows(a attributes) bool {
	res := slices.Contains(r.Resources, "*") || a.sub == "" && slices.Contains(r.Resources, a.resource) ||
		a.sub != "" && (slices.Contains(r.Resources, a.resource+"/"+a.sub) || slices.Contains(r.Resources, "*/"+a.sub))
	return (a.verb == "" && len(r.Verbs) > 0 || in(r.Verbs, a.verb)) && in(r.APIGroups, a.group) && res && (len(r.ResourceNames) == 0 || slices.Contains(r.ResourceNames, a.name))
}

func (s subject) is(ns, sa, bindingNS string) bool {
	switch s.Kind {
	case "ServiceAccount":
		own := s.Namespace
		if own == "" {
			own = bindingNS
		}
		return own == ns && s.Name == sa
	case "User":
		return s.Name == "system:serviceaccount:"+ns+":"+sa
	}
	return s.Name == "system:serviceaccounts" || s.Name == "system:serviceaccounts:"+ns || s.Name == "system:authenticated"
}

func allowed(objs []rbac, ns, sa string, a attributes) bool {
	for _, b := range objs {
		if !strings.HasSuffix(b.Kind, "Binding") || b.Metadata.Namespace != "" && b.Metadata.Namespace != a.ns {
			continue
		}
		if !slices.ContainsFunc(b.Subjects, func(s subject) bool { return s.is(ns, sa, b.Metadata.Namespace) }) {
			continue
		}
		for _, r := range objs {
			if r.Kind != b.RoleRef["kind"] || r.Metadata.Name != b.RoleRef["name"] || r.Kind == "Role" && r.Metadata.Namespace != b.Metadata.Namespace {
				continue
			}
			if slices.ContainsFunc(r.Rules, func(p policyRule) bool { return p.allows(a) }) {
				return true
			}
		}
	}
	return false
}

type cluster struct{ *rand.Rand }

func (m cluster) pick(list ...string) string { return list[m.IntN(len(list))] }

func (m cluster) objects() []rbac {
	const group = "rbac.authorization.k8s.io/v1"
	var out []rbac
	rules := func() []policyRule {
		var rs []policyRule
		for range 1 + m.IntN(2) {
			r := policyRule{Verbs: []string{m.pick("get", "list", "*", "create")}, APIGroups: []string{m.pick("", "apps", "*")},
				Resources: []string{m.pick("secrets", "pods", "pods/log", "*", "*/log")}}
			if m.IntN(3) == 0 {
				r.ResourceNames = []string{m.pick("a", "b")}
			}
			rs = append(rs, r)
		}
		return rs
	}
	for _, n := range []string{"c1", "c2"} {
		out = append(out, rbac{group, "ClusterRole", meta{n, "", n}, rules(), nil, nil})
	}
	for _, ns := range []string{"x", "y"} {
		out = append(out, rbac{group, "Role", meta{"r", ns, "r" + ns}, rules(), nil, nil})
		out = append(out, rbac{"v1", "ServiceAccount", meta{"s", ns, "s" + ns}, nil, nil, nil})
	}
	who := func() []subject {
		switch m.IntN(5) {
		case 0:
			return []subject{{"Group", m.pick("system:serviceaccounts", "system:serviceaccounts:x", "system:authenticated", "system:masters"), ""}}
		case 1:
			return []subject{{"User", "system:serviceaccount:y:s", ""}}
		}
		return []subject{{"ServiceAccount", "s", m.pick("x", "y")}}
	}
	for i := range 2 + m.IntN(2) {
		if m.IntN(2) == 0 {
			out = append(out, rbac{group, "ClusterRoleBinding", meta{fmt.Sprint("cb", i), "", fmt.Sprint(i)}, nil, map[string]string{"kind": "ClusterRole", "name": m.pick("c1", "c2")}, who()})
			continue
		}
		b := rbac{group, "RoleBinding", meta{fmt.Sprint("b", i), m.pick("x", "y"), fmt.Sprint(i)}, nil, map[string]string{"kind": "ClusterRole", "name": m.pick("c1", "c2")}, who()}
		if m.IntN(2) == 0 {
			b.RoleRef = map[string]string{"kind": "Role", "name": "r"}
		}
		out = append(out, b)
	}
	return out
}

// TestReachReference: what service accounts of random clusters reach agrees
// with the plain reference, for objects, subresources and verbs.
func TestReachReference(t *testing.T) {
	count := map[string]int{}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for seed := range uint64(150) {
		objs := cluster{rand.New(rand.NewPCG(seed, 5))}.objects()
		data, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "List", "items": objs})
		if err != nil {
			t.Fatal(err)
		}
		g := graph.New()
		inventorytest.Fold(t, g, Importer{}, data, at)
		v := g.At(prov.AsOf{Valid: prov.At(at.Add(time.Hour)), Known: prov.AllKnown})
		for _, ns := range []string{"x", "y"} {
			for _, verb := range []string{"", "get", "create"} {
				for _, a := range []attributes{{verb, "x", "", "secrets", "", "a"}, {verb, "y", "", "pods", "", "c"}, {verb, "x", "apps", "pods", "", "b"},
					{verb, "x", "", "pods", "log", "a"}, {verb, "y", "", "pods", "exec", "b"}} {
					group := a.group
					if group == "" {
						group = "core"
					}
					name := fmt.Sprintf("resource:kubernetes/%s/%s/%s/%s", a.ns, group, a.resource, a.name)
					want := map[bool]string{true: "yes", false: "none"}
					ok := allowed(objs, ns, "s", a)
					if a.sub != "" {
						name += "/" + a.sub
					} else { // a right to a subresource is one to a part of the object
						for _, sub := range []string{"log", "exec", "other"} {
							b := a
							b.sub = sub
							ok = ok || allowed(objs, ns, "s", b)
						}
					}
					got, _ := inventorytest.Reach(t, v, "sa:"+ns+"/s", name, verb)
					if got != want[ok] {
						t.Fatalf("seed %d: sa:%s/s %s %s: %s, want %s\n%s", seed, ns, verb, name, got, want[ok], data)
					}
					count[got]++
				}
			}
		}
	}
	t.Log(count)
	if count["yes"] < 500 || count["none"] < 500 {
		t.Errorf("%v: the clusters say too little", count)
	}
}
