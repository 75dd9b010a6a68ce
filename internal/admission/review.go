package admission

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The API of AdmissionReview that is served (Kubernetes API reference,
// admission.k8s.io/v1).
const (
	apiVersion = "admission.k8s.io/v1"
	reviewKind = "AdmissionReview"
)

// AnnotationRef names the models, prompts and other things that a workload
// brings beside its images: Stemma Refs, several with commas. It stands on the
// Pod template, or on the object that holds it.
const AnnotationRef = "stemma.dev/ref"

type review struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Request    *request  `json:"request,omitempty"`
	Response   *response `json:"response,omitempty"`
}

type groupVersionKind struct {
	Group   string `json:"group"`
	Version string `json:"version"`
	Kind    string `json:"kind"`
}

type request struct {
	UID         string           `json:"uid"`
	Kind        groupVersionKind `json:"kind"`
	SubResource string           `json:"subResource,omitempty"`
	Name        string           `json:"name,omitempty"`
	Namespace   string           `json:"namespace,omitempty"`
	Operation   string           `json:"operation"`
	Object      jsontext.Value   `json:"object,omitempty"`
	OldObject   jsontext.Value   `json:"oldObject,omitempty"`
	DryRun      bool             `json:"dryRun,omitempty"`
}

type response struct {
	UID      string   `json:"uid"`
	Allowed  bool     `json:"allowed"`
	Status   *status  `json:"status,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

// status is the part of metav1.Status that kubectl shows.
type status struct {
	Code    int    `json:"code"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

func parseReview(body []byte) (*request, error) {
	var r review
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, fmt.Errorf("the body is no AdmissionReview: %w", err)
	}
	switch {
	case r.APIVersion != apiVersion || r.Kind != reviewKind:
		return nil, fmt.Errorf("the body is %s %s; this webhook takes %s %s: name v1 in admissionReviewVersions", cmp.Or(r.APIVersion, "(no apiVersion)"), cmp.Or(r.Kind, "(no kind)"), apiVersion, reviewKind)
	case r.Request == nil:
		return nil, errors.New("the AdmissionReview has no request")
	case r.Request.UID == "":
		return nil, errors.New("the request has no uid")
	}
	return r.Request, nil
}

// What is read of a Pod and of what makes Pods (core/v1, apps/v1, batch/v1).
type (
	metadata struct {
		Name        string            `json:"name"`
		Annotations map[string]string `json:"annotations"`
	}
	container struct {
		Name  string `json:"name"`
		Image string `json:"image"`
	}
	volume struct {
		Name  string `json:"name"`
		Image *struct {
			Reference string `json:"reference"`
		} `json:"image"`
	}
	podSpec struct {
		Containers          []container `json:"containers"`
		InitContainers      []container `json:"initContainers"`
		EphemeralContainers []container `json:"ephemeralContainers"`
		Volumes             []volume    `json:"volumes"`
		ServiceAccountName  string      `json:"serviceAccountName"`
		ServiceAccount      string      `json:"serviceAccount"` // the old name of the same field
	}
	template struct {
		Metadata metadata `json:"metadata"`
		Spec     podSpec  `json:"spec"`
	}
	jobSpec struct {
		Template template `json:"template"`
	}
)

// errNotPods says that an object is of a kind of which the webhook does not
// know where the Pods are.
var errNotPods = errors.New("not a kind that makes Pods")

// templateOf gives the Pod that an object is, or that it makes, with the
// object's own annotations beside those of the Pod.
func templateOf(k groupVersionKind, object []byte) (template, []metadata, error) {
	var err error
	switch k.Group + "/" + k.Kind {
	case "/Pod":
		var t template
		err = json.Unmarshal(object, &t)
		return t, []metadata{t.Metadata}, err
	case "apps/Deployment", "apps/StatefulSet", "apps/DaemonSet", "apps/ReplicaSet", "batch/Job", "/ReplicationController":
		var o struct {
			Metadata metadata `json:"metadata"`
			Spec     jobSpec  `json:"spec"`
		}
		err = json.Unmarshal(object, &o)
		return o.Spec.Template, []metadata{o.Spec.Template.Metadata, o.Metadata}, err
	case "batch/CronJob":
		var o struct {
			Metadata metadata `json:"metadata"`
			Spec     struct {
				JobTemplate struct {
					Metadata metadata `json:"metadata"`
					Spec     jobSpec  `json:"spec"`
				} `json:"jobTemplate"`
			} `json:"spec"`
		}
		err = json.Unmarshal(object, &o)
		j := o.Spec.JobTemplate
		return j.Spec.Template, []metadata{j.Spec.Template.Metadata, j.Metadata, o.Metadata}, err
	}
	return template{}, nil, fmt.Errorf("%s is %w", strings.TrimPrefix(k.Group+"/"+k.Kind, "/"), errNotPods)
}

// asked is one thing that a workload brings.
type asked struct {
	ref   string // to resolve; empty when it cannot be told
	where string // container scorer, image ghcr.io/acme/scorer@sha256:…
	why   string // why ref is empty
}

// workload is what is asked of policies.
type workload struct {
	things []asked
	runsAs string // sa:NAMESPACE/NAME
}

// maxThings is how many images and names one workload may bring.
const maxThings = 100

func workloadOf(k groupVersionKind, namespace string, object []byte) (workload, error) {
	t, metas, err := templateOf(k, object)
	if err != nil {
		return workload{}, err
	}
	var w workload
	account := cmp.Or(t.Spec.ServiceAccountName, t.Spec.ServiceAccount, "default")
	w.runsAs = "sa:" + namespace + "/" + account
	for _, part := range []struct {
		what string
		list []container
	}{{"container", t.Spec.Containers}, {"init container", t.Spec.InitContainers}, {"ephemeral container", t.Spec.EphemeralContainers}} {
		for _, c := range part.list {
			w.things = append(w.things, imageOf(part.what+" "+c.Name, c.Image))
		}
	}
	for _, v := range t.Spec.Volumes {
		if v.Image != nil {
			w.things = append(w.things, imageOf("volume "+v.Name, v.Image.Reference))
		}
	}
	for _, m := range metas {
		for _, ref := range strings.Split(m.Annotations[AnnotationRef], ",") {
			if ref = strings.TrimSpace(ref); ref != "" {
				w.things = append(w.things, asked{ref: ref, where: "annotation " + AnnotationRef})
			}
		}
	}
	w.things = uniq(w.things)
	switch n := len(w.things); {
	case n == 0:
		return w, errors.New("it names no image")
	case n > maxThings:
		return w, fmt.Errorf("it names %d images and things, the limit is %d", n, maxThings)
	}
	return w, nil
}

// uniq keeps the first of those that ask the same.
func uniq(in []asked) []asked {
	seen := map[string]bool{}
	return slices.DeleteFunc(in, func(a asked) bool {
		key := cmp.Or(a.ref, a.where)
		if seen[key] {
			return true
		}
		seen[key] = true
		return false
	})
}

// imageOf gives the digest by which an image is named (OCI distribution
// specification 1.1, section on references: NAME[:TAG]@DIGEST). What is named
// by a tag alone may be anything by the time that it runs.
func imageOf(what, image string) asked {
	a := asked{where: what + ", image " + image}
	_, digest, ok := strings.Cut(image, "@")
	switch hex, sha256 := strings.CutPrefix(digest, "sha256:"); {
	case !ok:
		a.why = "the image is named by a tag, which can come to mean something else; name it by digest: IMAGE@sha256:… (crane digest, or docker buildx imagetools inspect, tells it)"
	case !sha256 || len(hex) != 64 || strings.Trim(hex, "0123456789abcdef") != "":
		a.why = "the digest of the image is not sha256 in 64 lower-case hexadecimal digits; name it as IMAGE@sha256:…"
	default:
		a.ref = digest
	}
	return a
}

// same tells whether an update leaves what is asked as it was: the images, the
// names and the account. Then there is nothing new to decide, and what clears
// finalizers or labels away is not held up.
func same(a, b workload) bool {
	return a.runsAs == b.runsAs && slices.Equal(a.things, b.things)
}
