// Package huggingface makes statements out of the files that describe a
// repository of the Hugging Face hub: the card (README.md with YAML front
// matter) of a model, dataset or Space, config.json, adapter_config.json
// and model_index.json of a model, and the branches that the cache of the hub
// has fetched.
//
// What maps to what, what is kept in the evidence only and what is refused is
// in docs/format-huggingface.md.
package huggingface

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// The classes of refusals beside those of rawjson.
const (
	BadYAML  = "bad-yaml"
	NotACard = "not-a-card"
	BadField = "bad-field"
	Aside    = "nothing-to-record" // a tokenizer, an index of shards
)

// Importer reads cards and configurations.
type Importer struct{}

// Name gives "huggingface".
func (Importer) Name() string { return "huggingface" }

// Version gives the version of the mapping.
func (Importer) Version() string { return "1" }

// Recognise tells whether the file is a card or a configuration of the hub,
// or one that lies beside them.
func (Importer) Recognise(h *importer.Head) bool {
	if _, branch := refOf(h.Path); branch != "" && h.Size <= 64 {
		return true
	}
	return isCard(h) || configKind(h) != "" || aside(h.Base(), h) != ""
}

func isCard(h *importer.Head) bool {
	base := strings.ToLower(h.Base())
	inCache := cacheFolder.MatchString(h.Path)
	return (strings.HasSuffix(base, ".md") || inCache) && cardHead(h.Bytes, inCache || base == "readme.md") || inCache && base == "readme.md"
}

// aside tells of files that belong to a model and hold nothing to record.
func aside(base string, h *importer.Head) string {
	switch {
	case strings.HasSuffix(base, ".index.json") && h.Has("weight_map"):
		return "the list of the files that the tensors of a model lie in; each of them says what it holds"
	case base == "generation_config.json" && h.Has("transformers_version"):
		return "how text is generated; it names no origin"
	case base == "tokenizer_config.json" && (h.Has("tokenizer_class") || h.Has("added_tokens_decoder")),
		base == "tokenizer.json" && h.Has("added_tokens", "pre_tokenizer"),
		base == "special_tokens_map.json" && (h.Has("bos_token") || h.Has("unk_token") || h.Has("pad_token") || h.Has("eos_token") || h.Has("mask_token")):
		return "a tokenizer; it names no origin"
	case (base == "preprocessor_config.json" || base == "processor_config.json") && (h.Has("image_processor_type") || h.Has("feature_extractor_type") || h.Has("processor_class")):
		return "how input is prepared; it names no origin"
	case base == "trainer_state.json" && h.Has("global_step", "log_history"):
		return "the course of a training; it names neither its data nor its result"
	}
	return ""
}

// Read yields the one Item of a file.
func (im Importer) Read(s importer.Source) iter.Seq2[importer.Item, error] {
	return func(yield func(importer.Item, error) bool) {
		raw, err := io.ReadAll(io.LimitReader(s.R, MaxCard+1))
		if err != nil {
			yield(importer.Item{}, fmt.Errorf("reading a Hugging Face file: %w", err))
			return
		}
		it := importer.Item{Place: "file", Bytes: int64(len(raw)), Original: sha256.Sum256(raw)}
		read(s, raw, &it)
		yield(it, nil)
	}
}

func read(s importer.Source, raw []byte, it *importer.Item) {
	path := s.Path
	if path == "" {
		path = s.Name
	}
	path = filepath.ToSlash(path)
	h := importer.NewHead(path, int64(len(raw)), raw[:min(len(raw), importer.HeadSize)])
	why := aside(h.Base(), h)
	series, branch := refOf(s.Path)
	switch {
	case branch != "":
		readBranch(series, branch, raw, it)
	case why != "":
		it.Refusal = &importer.Refusal{Reason: Aside, Detail: h.Base() + " is " + why}
	case len(raw) > MaxCard:
		it.Refusal = &importer.Refusal{Reason: rawjson.TooLarge, Detail: fmt.Sprintf("the file holds more than %d bytes; a card or configuration is much smaller", MaxCard)}
	case h.Members != nil && !h.Array:
		readConfig(s, h, raw, it)
	case len(bytes.TrimSpace(raw)) == 0:
		it.Refusal = &importer.Refusal{Reason: rawjson.Empty, Detail: "the file is empty"}
	case isCard(h) || strings.EqualFold(h.Ext(), ".md") || bytes.HasPrefix(raw, []byte("---")):
		readCardItem(s, raw, it)
	default:
		it.Refusal = &importer.Refusal{Reason: NotACard, Detail: "the file is neither Markdown with front matter nor a JSON configuration; give the README.md or config.json of a repository"}
	}
}

func readCardItem(s importer.Source, raw []byte, it *importer.Item) {
	c := readCard(raw)
	if c.refusal == nil && c.meta.Kind() == 0 {
		if Locate(s.Path).Repo.IsZero() {
			c.refuse(NotACard, "front matter", "is missing; a card begins with YAML between two lines of ---")
		} else {
			c.note("the card has no front matter; it says nothing that can be mapped")
		}
	}
	if c.refusal != nil {
		it.Refusal = c.refusal
		return
	}
	c.name(s.Path)
	p := c.predicate()
	finish(it, c.ref, p, c.kept, "text/markdown", evidenceName(s.Path), c.redacted, c.notes)
}

var commit = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)

// readBranch reads a file of refs in the cache: the commit that a branch or
// tag stood at when it was fetched.
func readBranch(series prov.Ref, branch string, raw []byte, it *importer.Item) {
	rev := strings.TrimSpace(string(raw))
	if !commit.MatchString(rev) {
		it.Refusal = &importer.Refusal{Reason: BadField, Detail: "the file holds no commit; a file in refs of the cache holds 40 hexadecimal digits"}
		return
	}
	p := &statement.Registry{Registry: Host, Name: series.String(), Alias: branch}
	finish(it, series.WithVersion(rev), p, raw, "text/plain", series.String()+" refs/"+branch, nil,
		[]string{"when the branch stood there is not said; it counts from when this was recorded"})
}

// evidenceName gives the part of a path that a statement rests on beside the
// bytes: where in the cache of the hub the file lies.
func evidenceName(path string) string {
	p := Locate(path)
	if p.Repo.IsZero() {
		return ""
	}
	return strings.TrimSuffix(p.Repo.String()+" "+p.File, " ")
}

// finish makes the Item's one statement.
func finish(it *importer.Item, r prov.Ref, p statement.Predicate, kept []byte, mediaType, name string, redacted, notes []string) {
	ev := importer.NewEvidence(Importer{}, mediaType, sha256.Sum256(kept), len(kept))
	ev.Name, ev.Redacted, ev.Notes = name, redacted, notes
	switch p := p.(type) {
	case *statement.Entity:
		p.Evidence = []statement.Evidence{ev}
	case *statement.Registry:
		p.Evidence = []statement.Evidence{ev}
	}
	d := importer.Draft{Subjects: []statement.Subject{statement.NewSubject(r, nil)}, Predicate: p}
	if _, err := statement.Format(d.Subjects, p); err != nil {
		it.Refusal = &importer.Refusal{Reason: BadField, Detail: rawjson.Clip("the file makes no valid statement: "+err.Error(), 1000)}
		return
	}
	it.Evidence, it.Statements, it.Notes = kept, []importer.Draft{d}, notes
}
