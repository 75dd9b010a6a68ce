package huggingface

import (
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// Host begins the name of every repository of the Hugging Face hub.
const Host = "huggingface.co"

// Place is where a file lies in the cache of the hub: a folder such as
// models--org--name, and in it snapshots/<revision>/<file> or blobs/<digest>.
type Place struct {
	Repo prov.Ref // of the repository at its revision; zero: not in the cache
	File string   // in the repository, with slashes; "" for a blob that nothing names
}

var cacheFolder = regexp.MustCompile(`(?:^|/)(models|datasets|spaces)--([^/]+)/(snapshots|blobs)/([^/]+)(?:/(.+))?$`)

// maxLinks is how many files of a repository are looked through for the name
// of a blob.
const maxLinks = 20_000

// Locate tells where in the cache a path lies. For a blob it looks through the
// links beside it, whose targets are blobs.
func Locate(path string) Place {
	m := cacheFolder.FindStringSubmatch(filepath.ToSlash(path))
	if m == nil || m[3] == "snapshots" && m[5] == "" {
		return Place{}
	}
	kind, name := prov.Model, Host+"/"+strings.Replace(m[2], "--", "/", 1)
	switch m[1] {
	case "datasets":
		kind = prov.Dataset
	case "spaces":
		kind, name = prov.Code, Host+"/spaces/"+strings.Replace(m[2], "--", "/", 1)
	}
	p := Place{Repo: prov.Ref{Kind: kind, Name: name}}
	if m[3] == "snapshots" {
		p.Repo.Version, p.File = m[4], m[5]
		return p
	}
	if m[5] == "" {
		p.Repo.Version, p.File = linkTo(filepath.Join(filepath.Dir(filepath.Dir(path)), "snapshots"), m[4])
	}
	return p
}

// linkTo finds the first link below dir whose target is the blob, in the order
// of their names.
func linkTo(dir, blob string) (revision, file string) {
	n := 0
	_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if n++; err != nil || n > maxLinks {
			return fs.SkipAll
		}
		if d.Type()&fs.ModeSymlink == 0 {
			return nil
		}
		if to, err := os.Readlink(p); err != nil || filepath.Base(to) != blob {
			return nil
		}
		if rel, err := filepath.Rel(dir, p); err == nil {
			revision, file, _ = strings.Cut(filepath.ToSlash(rel), "/")
		}
		return fs.SkipAll
	})
	return revision, file
}

var (
	repoID   = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}(/[A-Za-z0-9_.-]{1,96})?$`)
	repoURL  = regexp.MustCompile(`^(?:https?://(?:www\.)?(?:huggingface\.co|hf\.co)/|hf://|huggingface\.co/|hf\.co/)`)
	repoTail = regexp.MustCompile(`^(?:tree|blob|resolve|raw|commit)/([^/]+)`)
	weights  = regexp.MustCompile(`(?i)\.(safetensors|gguf|ggml|pt|pth|bin|ckpt|pkl|onnx)$`)
)

// Named gives the Ref of a model or dataset that a text names: an id of the
// hub such as "org/name", its URL, another URL, or what only the writer can
// resolve, such as a path of its disk. Hub tells whether it is one of the hub.
//
// A name of the last sort means nothing elsewhere. It gets the version
// "named-in:<by>", so that two writers that say "./output" do not name one
// thing; by is the digest of what names it, in hexadecimal.
func Named(kind prov.Kind, text, revision, by string) (r prov.Ref, hub bool) {
	text = strings.Replace(strings.TrimSpace(text), "://"+rawjson.Redacted+"@", "://", 1)
	if text == "" || len(text) > 1000 {
		return prov.Ref{}, false
	}
	id := text
	at := repoURL.FindString(text)
	if at != "" {
		id, _, _ = strings.Cut(text[len(at):], "?")
		id, _, _ = strings.Cut(id, "#")
		if rest, ok := strings.CutPrefix(id, "datasets/"); ok {
			kind, id = prov.Dataset, rest
		}
		id, revision = splitURL(strings.TrimRight(id, "/"), revision)
	} else if i := strings.LastIndexByte(id, '@'); i > 0 && revision == "" && repoID.MatchString(id[:i]) {
		id, revision = id[:i], id[i+1:]
	}
	if revision == "main" { // a branch, which moves
		revision = ""
	}
	if repoID.MatchString(id) && (at != "" || !weights.MatchString(id)) && !strings.Contains(id, "..") {
		return prov.Ref{Kind: kind, Name: Host + "/" + id, Version: revision}, true
	}
	if u, err := url.Parse(text); err == nil && u.Host != "" && u.Scheme != "" && u.Scheme != "file" {
		u.User = nil
		return prov.Ref{Kind: kind, Name: u.String(), Version: revision}, false
	}
	return Private(prov.Ref{Kind: kind, Name: text}, by), false
}

// splitURL takes what follows the id in a URL's path: org/name/tree/revision.
func splitURL(id, revision string) (string, string) {
	parts := strings.SplitN(id, "/", 3)
	switch {
	case len(parts) == 3:
		if m := repoTail.FindStringSubmatch(parts[2]); m != nil {
			return parts[0] + "/" + parts[1], m[1]
		}
	case len(parts) == 2:
		if n, rev, ok := strings.Cut(parts[1], "@"); ok {
			return parts[0] + "/" + n, rev
		}
	}
	return id, revision
}

// Private marks a name as that of one writer.
func Private(r prov.Ref, by string) prov.Ref {
	r.Version = "named-in:" + by[:min(len(by), 16)]
	return r
}

// beside gives the file of that name beside path, at most limit bytes of it.
func beside(path, name string, limit int64) ([]byte, bool) {
	if path == "" {
		return nil, false
	}
	p := filepath.Join(filepath.Dir(path), name)
	st, err := os.Stat(p)
	if err != nil || !st.Mode().IsRegular() || st.Size() > limit {
		return nil, false
	}
	b, err := os.ReadFile(p)
	return b, err == nil
}

// RepoOf gives the repository that a file belongs to: by its place in the
// cache, else as the card beside it names itself. How says which.
func RepoOf(path string) (r prov.Ref, how string) {
	if p := Locate(path); !p.Repo.IsZero() {
		return p.Repo, "cache"
	}
	raw, ok := beside(path, "README.md", MaxCard)
	if !ok || !cardHead(raw, true) {
		return prov.Ref{}, ""
	}
	c := readCard(raw)
	if c.refusal != nil {
		return prov.Ref{}, ""
	}
	c.name("")
	if c.kind == prov.Code {
		return prov.Ref{}, ""
	}
	return c.ref, "card"
}

var cacheRef = regexp.MustCompile(`(?:^|/)((?:models|datasets|spaces)--[^/]+)/refs/([^\n]+)$`)

// refOf tells of a file in the refs of a repository which branch or tag it is
// of.
func refOf(path string) (series prov.Ref, branch string) {
	m := cacheRef.FindStringSubmatch(filepath.ToSlash(path))
	if m == nil {
		return prov.Ref{}, ""
	}
	return Locate(m[1] + "/snapshots/-/-").Repo.Series(), m[2]
}

func resource(r prov.Ref) statement.Resource { return statement.NewResource(r, nil) }
