package dvc

import (
	"net/url"
	"path"
	"regexp"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

func words(s string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(s) {
		m["."+w] = true
	}
	return m
}

var (
	modelExt   = words("safetensors gguf ggml pt pth ckpt onnx pkl pickle joblib keras tflite pb pdparams mlmodel bst ubj cbm")
	datasetExt = words("csv tsv parquet arrow feather orc avro jsonl ndjson tfrecord npz npy hdf5 h5 zarr mat xlsx xls sqlite sqlite3 db duckdb libsvm arff")
	modelName  = regexp.MustCompile(`(^|[_.-])(models?|weights|adapter|checkpoint|classifier|booster)([_.-]|\d|$)`)
	configName = regexp.MustCompile(`(^|[_.-])(configs?|index|params|args|card|tokenizer|vocab|settings|metrics?|scores?)([_.-]|$)`)
	noExt      = regexp.MustCompile(`^(makefile|dockerfile|gnumakefile|snakefile|justfile|license|readme)$`)
	md5Text    = regexp.MustCompile(`^[0-9a-f]{32}(\.dir)?$`)
)

// kindOf tells by the name what sort of thing a path is, as the capture of a
// run does. A folder, or what looks like one because its name has no
// extension, is a dataset unless its name says that it is a model: dvc.yaml
// does not say which paths are folders.
func kindOf(p string, dir bool) prov.Kind {
	base := strings.ToLower(path.Base(p))
	ext := path.Ext(base)
	if ext == ".gz" || ext == ".zst" || ext == ".bz2" || ext == ".xz" {
		base = strings.TrimSuffix(base, ext)
		ext = path.Ext(base)
	}
	stem := strings.TrimSuffix(base, ext)
	dir = dir || ext == "" && !noExt.MatchString(base)
	named := modelName.MatchString(stem) && !configName.MatchString(stem)
	switch {
	case modelExt[ext], named && (dir || ext == ".bin" || ext == ".h5" || ext == ".json" || ext == ".txt" || ext == ".xml"):
		return prov.Model
	case datasetExt[ext], dir:
		return prov.Dataset
	}
	return prov.File
}

// clean gives a path as one text for one place, without the user and password
// of a URL.
func clean(wdir, p string) string {
	p = strings.Replace(p, "://"+rawjson.Redacted+"@", "://", 1)
	if strings.Contains(p, "://") {
		if u, err := url.Parse(p); err == nil && u.User != nil {
			u.User = nil
			return u.String()
		}
		return p
	}
	p = strings.ReplaceAll(p, `\`, "/")
	if wdir != "" && !path.IsAbs(p) && !strings.Contains(wdir, "://") {
		p = path.Join(strings.ReplaceAll(wdir, `\`, "/"), p)
	}
	return path.Clean(p)
}

// resource names a dependency or output: by its path, with the hash that DVC
// knows it by as the version. An MD5 does not identify content here, because
// collisions can be made; it tells one version from another.
func (u *unit) resource(n rawjson.Node, wdir string) (statement.Resource, bool) {
	p := n.Get("path").Text()
	if p == "" {
		return statement.Resource{}, false
	}
	version, digest := u.version(n)
	repo := n.Get("repo")
	if repo.Get("url").Text() != "" {
		wdir = "" // the path is one of that repository
	}
	r := prov.Ref{Kind: kindOf(p, strings.HasSuffix(version, ".dir") || n.Get("files").Given()), Name: clean(wdir, p), Version: version}
	if base := repo.Get("url").Text(); base != "" {
		r.Name = clean("", base) + "/" + strings.TrimPrefix(r.Name, "/")
		if version == "" {
			r.Version = firstOf(repo.Get("rev_lock").Text(), repo.Get("rev").Text())
		}
	}
	if strings.TrimSpace(r.Name) == "" || len(r.String()) > prov.MaxRef {
		u.note("a path that is empty or too long is left out: %s", rawjson.Clip(p, 100))
		return statement.Resource{}, false
	}
	return statement.NewResource(r, digest), true
}

// version gives the hash of a file as version and digest.
func (u *unit) version(n rawjson.Node) (string, statement.DigestSet) {
	if h := strings.ToLower(n.Get("md5").Text()); h != "" {
		if !md5Text.MatchString(h) {
			u.note("md5 %q is no MD5; it is taken as a name of the version", rawjson.Clip(h, 100))
			return "md5:" + rawjson.Clip(h, 200), nil
		}
		hex, dir := strings.CutSuffix(h, ".dir")
		alg := "md5"
		switch {
		case dir:
			alg = "dvcDirMd5" // of the list of the files in it, not of their bytes
		case n.Get("hash").Text() != "md5":
			alg = "md5-dos2unix" // DVC before 3.0: of texts with their line ends changed
		}
		return "md5:" + h, statement.DigestSet{alg: hex}
	}
	for _, alg := range []string{"sha256", "etag", "checksum"} {
		if h := n.Get(alg).Text(); h != "" {
			return alg + ":" + rawjson.Clip(strings.Trim(h, `"`), 200), nil
		}
	}
	if files := n.Get("files"); files.Given() {
		u.note("%s has no hash of its own; its version is that of the list of its files", rawjson.Clip(n.Get("path").Text(), 100))
		return "files:" + hash16(files.Raw()), nil
	}
	return "", nil
}

func subject(r statement.Resource) statement.Subject {
	t, err := r.Target()
	if err != nil {
		return statement.Subject{}
	}
	return statement.NewSubject(t.Ref, r.Digest)
}

func firstOf(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}
