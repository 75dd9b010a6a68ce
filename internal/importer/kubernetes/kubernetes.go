// Package kubernetes makes statements out of Kubernetes objects: what
// `kubectl get … -o json` and `-o yaml` write, single objects, lists and
// manifests of several documents.
//
// What maps to what, what is kept in the evidence only and what is refused is
// in docs/format-kubernetes.md.
package kubernetes

import (
	"bufio"
	"bytes"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/inventory"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// The classes of refusals beside those of rawjson and inventory.
const (
	NoObject  = "not-a-kubernetes-object"
	OtherKind = "other-kind"
	BadYAML   = "malformed-yaml"
)

// Options of reading.
type Options struct {
	inventory.Options
	// Cluster names the cluster, which the objects do not; names of things
	// begin with it.
	Cluster string
}

// Importer reads Kubernetes objects.
type Importer struct{ Options Options }

// Name gives "kubernetes".
func (Importer) Name() string { return "kubernetes" }

// Version gives the version of the mapping.
func (Importer) Version() string { return "2" }

var (
	apiVersion = regexp.MustCompile(`^(v[0-9]+((alpha|beta)[0-9]+)?|[a-z0-9.-]+/v[0-9]+((alpha|beta)[0-9]+)?)$`)
	yamlHead   = regexp.MustCompile(`(?m)^apiVersion:\s*["']?(v[0-9]\w*|[a-z0-9.-]+/v[0-9]\w*)["']?\s*(#.*)?\r?$`)
	yamlKind   = regexp.MustCompile(`(?m)^kind:\s*["']?[A-Z]`)
)

// Recognise tells whether the file begins with a Kubernetes object.
func (Importer) Recognise(h *importer.Head) bool {
	if h.Members != nil {
		return apiVersion.MatchString(h.Members["apiVersion"]) && !strings.HasPrefix(h.Members["apiVersion"], "stemma") &&
			(h.Members["items"] == "[" || h.Has("kind") && (h.Has("metadata") || h.Has("spec")))
	}
	return (h.Ext() == ".yaml" || h.Ext() == ".yml") && yamlHead.Match(h.Bytes) && yamlKind.Match(h.Bytes)
}

// Rules say what in an object is a secret: all data of secrets and config
// maps, environment values, and what commands are given.
var Rules = rawjson.Rules{
	Wholly: func(key []byte) ([]string, bool) {
		return nil, slices.Contains([]string{"data", "stringData", "binaryData", "args", "command", "httpHeaders", "managedFields"}, string(key))
	},
	Dropped: func(key []byte) bool {
		return slices.Contains([]string{"value", "data", "stringData", "args", "command", "client-key-data", "client-certificate-data",
			"kubectl.kubernetes.io/last-applied-configuration"}, string(key))
	},
}

// Read yields an Item for each list, object or document of the source.
func (im Importer) Read(s importer.Source) iter.Seq2[importer.Item, error] {
	return func(yield func(importer.Item, error) bool) {
		b := bufio.NewReaderSize(s.R, 4096)
		head, _ := b.Peek(4096)
		s.R = b
		items := inventory.Read(im, s, im.Options.Options, Rules, im.say)
		if t := bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), " \t\r\n\x1e"); len(t) > 0 && t[0] != '{' && t[0] != '[' {
			items = im.yaml(s)
		}
		for it, err := range items {
			if !yield(it, err) {
				return
			}
		}
	}
}

// say makes statements of one list or object.
func (im Importer) say(n rawjson.Node, s *inventory.Statements) {
	r := &reading{s: s, o: im.Options, roles: map[string][]statement.GrantItem{}, runs: map[string]*run{}}
	kind := n.Get("kind").Text()
	items := n.Get("items")
	switch {
	case items.Kind() == '[':
		r.list = true
		element := strings.TrimSuffix(kind, "List")
		count := 0
		for it := range items.All() {
			count++
			r.object(it, element)
		}
		if count == 0 {
			s.Refuse(inventory.NothingToRecord, "the list is empty, and does not say of what; nothing is closed by it")
		}
		if n.Get("metadata").Get("continue").Text() != "" {
			s.Note("the list is one page of several, so it closes nothing")
			r.o.Event = true
		}
	case kind == "" || n.Get("apiVersion").Text() == "":
		s.Refuse(NoObject, "it has no apiVersion and kind; give what kubectl get -o json writes")
		return
	default:
		r.object(n, kind)
	}
	r.finish()
	if len(r.other) > 0 && r.known == 0 {
		s.Refuse(OtherKind, "it holds objects of kind %s, which tell of no identity, credential or grant", strings.Join(r.other, ", "))
	}
}

// reading is the state of one unit.
type reading struct {
	s    *inventory.Statements
	o    Options
	list bool
	// declared: no API server has written into any of the objects, so they
	// are a manifest, which asks for things, and no listing of what there is.
	declared bool
	known    int
	other    []string
	objs     []object
	roles    map[string][]statement.GrantItem // of cluster roles in the unit
	runs     map[string]*run
	order    []string
}

// object is one object with its head.
type object struct {
	rawjson.Node
	kind, name, ns string
	meta           rawjson.Node
}

func (r *reading) object(n rawjson.Node, kind string) {
	if k := n.Get("kind").Text(); k != "" {
		kind = k
	}
	o := object{Node: n, kind: kind, meta: n.Get("metadata")}
	o.name, o.ns = o.meta.Get("name").Text(), o.meta.Get("namespace").Text()
	if strings.HasSuffix(kind, "List") && n.Get("items").Kind() == '[' {
		r.s.Kept("a list within the list")
		return
	}
	if !slices.Contains(kinds, kind) {
		if r.s.Kept("objects of kind " + kind); !slices.Contains(r.other, kind) && len(r.other) < 10 {
			r.other = append(r.other, rawjson.Clip(kind, 60))
		}
		return
	}
	if o.name == "" {
		if o.name = o.meta.Get("generateName").Text(); o.name == "" {
			r.s.Note("an object of kind %s has no name; it is left out", kind)
			return
		}
	}
	if o.ns == "" && !clusterWide(kind) {
		o.ns = "default"
		r.s.Note("objects without a namespace are taken to be in default, as kubectl does without another context")
	}
	r.known++
	r.objs = append(r.objs, o)
}

var kinds = []string{"ServiceAccount", "Secret", "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding", "Pod", "Deployment", "StatefulSet",
	"DaemonSet", "ReplicaSet", "ReplicationController", "Job", "CronJob", "InferenceService"}

func clusterWide(kind string) bool { return strings.HasPrefix(kind, "Cluster") }

// finish says what the objects say, roles first: bindings repeat them.
func (r *reading) finish() {
	r.declared = !slices.ContainsFunc(r.objs, object.observed)
	for _, o := range r.objs {
		if o.kind == "ClusterRole" || o.kind == "Role" {
			r.role(o)
		}
	}
	for _, o := range r.objs {
		switch o.kind {
		case "ServiceAccount":
			r.account(o)
		case "Secret":
			r.secret(o)
		case "RoleBinding", "ClusterRoleBinding":
			r.binding(o)
		case "Role", "ClusterRole":
		default:
			r.workload(o)
		}
	}
	r.deploy()
}

// listing gives the statement that an object belongs to. A list is a snapshot
// of each kind in each namespace that it shows; what it shows nothing of, it
// may not have been asked for.
func (r *reading) listing(o object) *inventory.Listing {
	source := r.source(o.ns, o.kind)
	switch {
	case r.declared:
		return r.s.Event(source).Grade(statement.GradeDeclared)
	case !r.list:
		return r.s.Event(source)
	}
	return r.s.Snapshot(r.o.Options, source)
}

// observed tells whether an API server has written into the object.
func (o object) observed() bool {
	return o.meta.Get("uid").Text() != "" || o.meta.Get("creationTimestamp").Text() != "" || o.meta.Get("resourceVersion").Text() != ""
}

func (r *reading) source(ns, kind string) string {
	if ns == "" {
		ns = "*"
	}
	return strings.Join(r.in("kubernetes", ns, kind), "/")
}

// in puts the cluster before the parts of a name, after the first.
func (r *reading) in(first string, rest ...string) []string {
	var parts []string
	if first != "" {
		parts = append(parts, first)
	}
	if r.o.Cluster != "" {
		parts = append(parts, r.o.Cluster)
	}
	return append(parts, rest...)
}

func (r *reading) saRef(ns, name string) string {
	return inventory.Text(prov.ServiceAccount, r.in("", ns, name)...)
}
func (r *reading) secretRef(ns, name string) string {
	return inventory.Text(prov.Secret, r.in("", ns, name)...)
}

func (r *reading) roleRef(ns, kind, name string) string {
	kind = strings.ToLower(kind)
	if ns == "" {
		return inventory.Text(prov.Role, r.in("kubernetes", kind, name)...)
	}
	return inventory.Text(prov.Role, r.in("kubernetes", ns, kind, name)...)
}

// subject names what a binding binds. A user that is no service account may be
// a person or a machine: Kubernetes does not know.
func (r *reading) subject(n rawjson.Node, ns string) string {
	name := n.Get("name").Text()
	if name == "" {
		return ""
	}
	switch n.Get("kind").Text() {
	case "ServiceAccount":
		if own := n.Get("namespace").Text(); own != "" {
			ns = own
		}
		return r.saRef(ns, name)
	case "Group":
		return inventory.Text(prov.Team, r.in("kubernetes", "group", name)...)
	case "User":
		if rest, ok := strings.CutPrefix(name, "system:serviceaccount:"); ok {
			if ns, sa, ok := strings.Cut(rest, ":"); ok && sa != "" {
				return r.saRef(ns, sa)
			}
		}
		return inventory.Text(prov.Workload, r.in("kubernetes", "user", name)...)
	}
	return ""
}

func (r *reading) time(o object, where string, n rawjson.Node) statement.Time {
	return r.s.Time(fmt.Sprintf("%s %s/%s: %s", o.kind, o.ns, o.name, where), n.Text())
}
