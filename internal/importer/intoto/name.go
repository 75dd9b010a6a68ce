package intoto

import (
	"path"
	"regexp"
	"strings"

	"github.com/stemma-lineage/stemma/prov"
)

// Names of subjects and resources follow no one grammar. named reads, in this
// order: package URLs, git repositories, container images, all other URLs and
// plain names. The digest stays the identity; the Ref is a label on it.
func named(name string, d digests, mediaType string) prov.Ref {
	name = strings.TrimSpace(name)
	if p := strings.TrimPrefix(name, "purl+"); strings.HasPrefix(p, "pkg:") && len(p) > 4 {
		if r, err := prov.ParseRef(p); err == nil {
			return r
		}
		return prov.Ref{Kind: prov.Package, Name: p[4:]}
	}
	if repo, revision, ok := prov.Repository(name, d.commit != ""); ok {
		if d.commit != "" {
			revision = d.commit
		}
		return prov.Ref{Kind: prov.Code, Name: repo, Version: revision}
	}
	if d.commit != "" && d.content().IsZero() {
		return prov.Ref{Kind: prov.Code, Name: "git", Version: d.commit}
	}
	if repo, ok := image(name, d, mediaType); ok {
		return prov.Ref{Kind: prov.Image, Name: repo}
	}
	if name == "" {
		return prov.Ref{}
	}
	return prov.Ref{Kind: kindOf(name), Name: bare(name)}
}

// kindOf tells the kind of a file by its name, where the name says it.
func kindOf(name string) prov.Kind {
	if strings.HasPrefix(name, "model:") || strings.HasPrefix(name, "hf://models/") {
		return prov.Model
	}
	if strings.HasPrefix(name, "https://huggingface.co/datasets/") || strings.HasPrefix(name, "hf://datasets/") {
		return prov.Dataset
	}
	switch strings.ToLower(path.Ext(strings.TrimRight(name, "/"))) {
	case ".safetensors", ".gguf", ".onnx", ".tflite", ".keras":
		return prov.Model
	case ".parquet", ".arrow", ".tfrecord", ".csv", ".jsonl":
		return prov.Dataset
	}
	return prov.File
}

// bare gives a URL without the user and password in it.
func bare(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return s
	}
	host, tail := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		host, tail = rest[:i], rest[i:]
	}
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		host = host[i+1:]
	}
	return scheme + "://" + host + tail
}

var (
	imageHost = regexp.MustCompile(`^(?:localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}|[A-Za-z0-9.-]+:[0-9]+|[0-9]+(?:\.[0-9]+){3})(?::[0-9]+)?$`)
	imagePath = regexp.MustCompile(`^[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?$`)
	imageExt  = regexp.MustCompile(`\.(?:tgz|gz|zip|xz|zst|bz2|tar|json|jsonl|txt|whl|deb|rpm|apk|exe|jar|md|yaml|yml|pem|sig|so|py|go|js|sh)$`)
)

// image reads the name of a container image: registry host and path, which
// only a thing with a SHA-256 can have.
func image(name string, d digests, mediaType string) (repo string, ok bool) {
	for _, scheme := range []string{"docker://", "oci://", "docker-pullable://", "container://"} {
		if rest, found := strings.CutPrefix(name, scheme); found {
			return untagged(rest), rest != ""
		}
	}
	if before, digest, found := strings.Cut(name, "@sha256:"); found && len(digest) == 64 && !strings.Contains(before, "://") && before != "" {
		return untagged(before), true
	}
	oci := strings.Contains(mediaType, "oci.image") || strings.Contains(mediaType, "docker.distribution")
	host, rest, found := strings.Cut(name, "/")
	if d.set["sha256"] == "" || !found {
		return "", false
	}
	last := rest[strings.LastIndexByte(rest, '/')+1:]
	if !imagePath.MatchString(rest) || imageExt.MatchString(last) || !imageHost.MatchString(host) && !oci {
		return "", false
	}
	if prov.Forge(host) {
		return "", false
	}
	return untagged(name), true
}

// untagged gives the repository of an image without tag and digest.
func untagged(s string) string {
	s, _, _ = strings.Cut(s, "@")
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, '/') {
		s = s[:i]
	}
	return s
}
