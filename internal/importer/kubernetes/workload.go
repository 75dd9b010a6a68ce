package kubernetes

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/inventory"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// run is what a controller has running: the pods of one template.
type run struct {
	ns, name, version string
	fromPod           bool
	images            []statement.Subject
	p                 statement.Deployment
}

// controller tells what a pod belongs to. The name of a replica set is that of
// its deployment with the hash of the pod template.
func (r *reading) controller(o object) (name, version string, owned bool) {
	hash := o.meta.Get("labels").Get("pod-template-hash").Text()
	for x := range o.meta.Get("ownerReferences").All() {
		if truth(x.Get("controller")) != "true" {
			continue
		}
		name = x.Get("name").Text()
		switch kind := x.Get("kind").Text(); {
		case kind == "ReplicaSet" && hash != "":
			name = strings.TrimSuffix(name, "-"+hash)
		case kind == "Job":
			hash = name
		}
		if hash == "" {
			hash = o.meta.Get("labels").Get("controller-revision-hash").Text()
		}
		return name, hash, name != ""
	}
	return o.name, o.meta.Get("uid").Text(), false
}

// workload takes a pod, or a controller of pods.
func (r *reading) workload(o object) {
	spec := o.Get("spec")
	name, version, owned := r.controller(o)
	switch {
	case o.kind == "Pod":
		if p := o.Get("status").Get("phase").Text(); p == "Succeeded" || p == "Failed" {
			r.s.Kept("pods that have ended")
			return
		}
	case owned:
		r.s.Kept("controllers that another controls")
		return
	case o.kind == "CronJob":
		spec = spec.Get("jobTemplate").Get("spec").Get("template").Get("spec")
	case o.kind == "InferenceService":
		spec = spec.Get("predictor")
	default:
		spec = spec.Get("template").Get("spec")
	}
	if spec.Kind() != '{' {
		r.s.Note("%s %s/%s has no pod template", o.kind, o.ns, o.name)
		return
	}
	if version == "" {
		if version = o.meta.Get("uid").Text(); version == "" {
			sum := sha256.Sum256(spec.Raw())
			version = "spec-" + hex.EncodeToString(sum[:8])
		}
	}
	x := &run{ns: o.ns, name: name, version: version, fromPod: o.kind == "Pod"}
	x.p = statement.Deployment{Action: "deploy", At: r.time(o, "creationTimestamp", o.meta.Get("creationTimestamp")),
		ID:          prov.Ref{Kind: prov.Deployment, Name: inventory.Name(prov.Deployment, r.in("kubernetes", o.ns, name)...).Name, Version: version}.String(),
		Environment: inventory.Text(prov.Environment, r.in("", o.ns)...), Service: inventory.Text(prov.Service, r.in("", o.ns, name)...)}
	r.containers(o, spec, x)
	r.identityOf(o, spec, x)
	if len(x.images) == 0 {
		r.s.Note("%s %s/%s names no image; it is left out", o.kind, o.ns, o.name)
		return
	}
	if r.declared {
		r.asked(o, x)
		return
	}
	r.merge(x)
}

// asked says what a manifest asks for. Nothing went live by it.
func (r *reading) asked(o object, x *run) {
	it := r.listing(o).Item(inventory.Text(prov.Workload, r.in("kubernetes", o.ns, x.name)...))
	it.RunsAs = x.p.RunsAs
	for _, s := range x.p.Secrets {
		inventory.Add(&it.Secrets, s.Ref)
	}
	for i, im := range x.images {
		if i < 50 {
			inventory.Set(&it.Attributes, "image."+im.Name, or(im.Digest["sha256"], "by name only"))
		}
	}
}

// merge joins the pods of one template: they went live with the first of them.
func (r *reading) merge(x *run) {
	key := x.ns + "\x00" + x.name + "\x00" + x.version
	was, ok := r.runs[key]
	if !ok {
		r.runs[key], r.order = x, append(r.order, key)
		return
	}
	if was.p.At.IsZero() || !x.p.At.IsZero() && x.p.At.Before(was.p.At.Time) {
		was.p.At = x.p.At
	}
	for _, im := range x.images {
		if !slices.ContainsFunc(was.images, func(s statement.Subject) bool {
			return s.Name == im.Name && s.Digest["sha256"] == im.Digest["sha256"]
		}) {
			was.images = append(was.images, im)
		}
	}
}

// deploy says what runs. A controller whose pods are listed is told by them:
// they know the digests.
func (r *reading) deploy() {
	pods := map[string]bool{}
	for _, x := range r.runs {
		if x.fromPod {
			pods[x.ns+"\x00"+x.name] = true
		}
	}
	for _, k := range r.order {
		if x := r.runs[k]; x.fromPod || !pods[x.ns+"\x00"+x.name] {
			p := x.p
			r.s.SayAll(x.images, &p)
		}
	}
}

// containers takes the images of a pod and the secrets that it reads.
func (r *reading) containers(o object, spec rawjson.Node, x *run) {
	digests := map[string]string{}
	for _, list := range []string{"containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"} {
		for c := range o.Get("status").Get(list).All() {
			digests[c.Get("name").Text()] = imageDigest(c.Get("imageID").Text())
		}
	}
	take := func(c rawjson.Node) {
		if image := c.Get("image").Text(); image != "" {
			x.images = append(x.images, imageSubject(image, digests[c.Get("name").Text()]))
		}
		for e := range c.Get("env").All() {
			r.reads(x, c, e.Get("valueFrom").Get("secretKeyRef").Get("name"))
		}
		for e := range c.Get("envFrom").All() {
			r.reads(x, c, e.Get("secretRef").Get("name"))
		}
	}
	for _, list := range []string{"containers", "initContainers", "ephemeralContainers"} {
		for c := range spec.Get(list).All() {
			take(c)
		}
	}
	if m := spec.Get("model"); m.Given() { // KServe
		take(m)
		if uri := m.Get("storageUri").Text(); uri != "" {
			x.images = append(x.images, statement.NewSubject(inventory.Name(prov.Model, uri), nil))
		}
	}
	for v := range spec.Get("volumes").All() {
		r.reads(x, v, v.Get("secret").Get("secretName"))
		for src := range v.Get("projected").Get("sources").All() {
			r.reads(x, v, src.Get("secret").Get("name"))
		}
	}
	for s := range spec.Get("imagePullSecrets").All() {
		r.reads(x, s, s.Get("name"))
	}
}

func (r *reading) reads(x *run, _ rawjson.Node, name rawjson.Node) {
	if t := name.Text(); t != "" {
		ref := r.secretRef(x.ns, t)
		if !slices.ContainsFunc(x.p.Secrets, func(s statement.Resource) bool { return s.Ref == ref }) {
			x.p.Secrets = append(x.p.Secrets, statement.Resource{Ref: ref})
		}
	}
}

// identityOf takes the service account of a pod and its projected tokens.
func (r *reading) identityOf(o object, spec rawjson.Node, x *run) {
	sa := spec.Get("serviceAccountName").Text()
	if sa == "" {
		sa = spec.Get("serviceAccount").Text()
	}
	if sa == "" {
		sa = "default" // ServiceAccount admission controller
	}
	ref := r.saRef(o.ns, sa)
	x.p.RunsAs = []string{ref}
	for v := range spec.Get("volumes").All() {
		for src := range v.Get("projected").Get("sources").All() {
			t := src.Get("serviceAccountToken")
			if t.Kind() != '{' {
				continue
			}
			aud := t.Get("audience").Text()
			c := statement.CredentialItem{Ref: inventory.Text(prov.Credential, r.in("kubernetes", o.ns, sa, "projected", or(aud, "api-server"))...), Kind: "projected-token"}
			inventory.Set(&c.Attributes, "audience", aud)
			life := t.Get("expirationSeconds").Text()
			if n, err := strconv.ParseInt(life, 10, 64); err == nil && n > 0 {
				inventory.Set(&c.Attributes, "lifetimeSeconds", life)
			}
			it := r.listing(o).Item(ref)
			if !slices.ContainsFunc(it.Credentials, func(have statement.CredentialItem) bool { return have.Ref == c.Ref }) {
				it.Credentials = append(it.Credentials, c)
			}
			if !slices.ContainsFunc(x.p.Credentials, func(have statement.Resource) bool { return have.Ref == c.Ref }) {
				x.p.Credentials = append(x.p.Credentials, statement.Resource{Ref: c.Ref})
			}
		}
	}
}

func or(text, otherwise string) string {
	if text != "" {
		return text
	}
	return otherwise
}

// imageDigest reads the manifest's digest out of an imageID, such as
// docker-pullable://repository@sha256:…; without a repository it is that of the
// configuration, which is another thing.
func imageDigest(id string) string {
	_, hex, ok := strings.Cut(id, "@sha256:")
	if !ok || len(hex) != 64 || strings.Trim(hex, "0123456789abcdef") != "" {
		return ""
	}
	return hex
}

// imageSubject names an image by repository and tag, with its digest where it
// is known.
func imageSubject(image, digest string) statement.Subject {
	repo := image
	if d := imageDigest(image); d != "" {
		digest = d
	}
	repo, _, _ = strings.Cut(repo, "@")
	tag := ""
	if i := strings.LastIndexByte(repo, ':'); i > strings.LastIndexByte(repo, '/') {
		repo, tag = repo[:i], repo[i+1:]
	}
	var d statement.DigestSet
	if digest != "" {
		d = statement.DigestSet{"sha256": digest}
	}
	ref := inventory.Name(prov.Image, repo)
	ref.Version = tag
	return statement.NewSubject(ref, d)
}
