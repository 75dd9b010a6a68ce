package capture

import (
	"path"
	"strings"
	"unicode/utf8"

	"github.com/stemma-lineage/stemma/prov"
)

const (
	datasetKind = prov.Dataset
	modelKind   = prov.Model
)

// What a file is to an activity.
const (
	roleDataset = "dataset"
	roleModel   = "model"
	roleConfig  = "config"
	roleScript  = "script"
	roleSource  = "source"
	roleProgram = "program"
	rolePrompt  = "prompt"
	roleMetrics = "metrics"
	roleData    = "data"
)

var (
	datasetExt = words("csv tsv psv parquet arrow feather ipc orc avro jsonl ndjson tfrecord tfrecords npz npy hdf5 h5 lmdb mdb zarr mat sas7bdat dta sav xlsx xls sqlite sqlite3 db duckdb recordio libsvm svmlight arff webdataset")
	modelExt   = words("safetensors gguf ggml pt pth ckpt onnx pkl pickle joblib keras tflite pb pdparams pdmodel mlmodel caffemodel engine bst ubj llamafile cbm nemo mar torchscript")
	scriptExt  = words("py pyw ipynb r rmd jl sh bash zsh pl rb js mjs ts lua sql php nf smk mk cmake do")
	sourceExt  = words("scala java go c cc cpp cxx h hh hpp cu cuh rs m kt swift hs pyx proto s asm")
	configExt  = words("json json5 yaml yml toml ini cfg conf properties xml hcl tf libsonnet jsonnet gin args")
	mediaExt   = words("jpg jpeg png gif bmp tif tiff webp wav flac mp3 ogg mp4 avi mkv webm txt text md html pdf")
	packedExt  = words("gz zst bz2 xz lz4")

	metricsName = lazily(`(?i)(^|[_.-])(metrics?|scores?|evals?|evaluation|results?)([_.-]|$)`)
	modelName   = lazily(`(?i)(^|[_.-])(models?|weights|adapter|checkpoint|classifier|booster)([_.-]|\d|$)`)
	configName  = lazily(`(?i)(^|[_.-])(configs?|index|params|args|card|tokenizer|vocab|settings)([_.-]|$)`)
)

func words(s string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(s) {
		m["."+w] = true
	}
	return m
}

// edited tells whether a file of that role is one that people write by hand.
func edited(role string) bool {
	return role == roleScript || role == roleSource || role == roleConfig || role == rolePrompt
}

// recognise tells by the name alone what sort of thing a file is and what it
// is to an activity, so that a file is of one kind in all runs.
func recognise(p string) (prov.Kind, string) {
	base := strings.ToLower(path.Base(p))
	ext := path.Ext(base)
	if packedExt[ext] {
		base = strings.TrimSuffix(base, ext)
		ext = path.Ext(base)
	}
	stem := strings.TrimSuffix(base, ext)
	switch {
	case metricsName().MatchString(stem) && (configExt[ext] || datasetExt[ext] || ext == ".txt"):
		return prov.File, roleMetrics
	case modelExt[ext]:
		return modelKind, roleModel
	case (ext == ".bin" || ext == ".json" || ext == ".txt" || ext == ".h5" || ext == ".xml") && modelName().MatchString(stem) && !configName().MatchString(stem):
		return modelKind, roleModel
	case datasetExt[ext]:
		return datasetKind, roleDataset
	case ext == ".prompt" || strings.Contains("/"+strings.ToLower(path.Dir(p))+"/", "/prompts/") && (mediaExt[ext] || configExt[ext] || ext == ".j2" || ext == ".jinja"):
		return prov.File, rolePrompt
	case scriptExt[ext], base == "makefile", base == "gnumakefile", base == "dockerfile", base == "snakefile", base == "justfile":
		return prov.File, roleScript
	case sourceExt[ext]:
		return prov.File, roleSource
	case configExt[ext]:
		return prov.File, roleConfig
	case mediaExt[ext]:
		return prov.File, roleData
	}
	return prov.File, ""
}

// fileRef names a file by its path. What is no UTF-8 is written as %XX by
// Ref; a name that is too long for a Ref keeps its end.
func fileRef(p *place) (prov.Ref, string) {
	kind, role := recognise(p.path)
	name := strings.ToValidUTF8(p.name(), "�")
	if max := prov.MaxRef / 4; len(name) > max {
		name = name[len(name)-max:]
		for !utf8.RuneStart(name[0]) {
			name = name[1:]
		}
		name = "…" + name
	}
	return prov.Ref{Kind: kind, Name: name}, role
}

// hubPath is a path in the cache of the Hugging Face hub: a folder such as
// models--org--name, in it snapshots/<revision>/<file> (and blobs, refs).
type hubPath struct {
	kind     prov.Kind
	repo     string // huggingface.co/org/name
	revision string
	file     string
}

var hubFolder = lazily(`(?:^|/)(models|datasets|spaces)--([^/]+)(?:/snapshots/([0-9a-zA-Z._-]+)/(.+)|/|$)`)

func hubOf(p string) hubPath {
	if !strings.Contains(p, "s--") {
		return hubPath{}
	}
	m := hubFolder().FindStringSubmatch(p)
	if m == nil {
		return hubPath{}
	}
	h := hubPath{kind: modelKind, repo: "huggingface.co/" + strings.ReplaceAll(m[2], "--", "/"), revision: m[3], file: m[4]}
	switch m[1] {
	case "datasets":
		h.kind, h.repo = datasetKind, "huggingface.co/"+strings.ReplaceAll(m[2], "--", "/")
	case "spaces":
		h.kind, h.repo = prov.Code, "huggingface.co/spaces/"+strings.ReplaceAll(m[2], "--", "/")
	}
	return h
}

// ref names the repository at its revision.
func (h hubPath) ref() prov.Ref { return prov.Ref{Kind: h.kind, Name: h.repo, Version: h.revision} }
