package huggingface

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// configKind tells which configuration a file is: "config", "adapter" or
// "pipeline"; "" for none.
func configKind(h *importer.Head) string {
	if h.Array {
		return ""
	}
	switch {
	case h.Has("peft_type") && h.Has("base_model_name_or_path"):
		return "adapter"
	case h.Has("_diffusers_version") && h.Has("_class_name"):
		return "pipeline"
	case h.Has("architectures", "model_type"), h.Has("model_type", "transformers_version"), h.Has("_name_or_path", "model_type"), h.Has("architectures", "transformers_version"):
		return "config"
	}
	return ""
}

// configAttributes are the names of a configuration that become attributes.
var configAttributes = map[string][]string{
	"config":   {"architectures", "model_type", "torch_dtype", "dtype", "transformers_version", "finetuning_task", "problem_type", "vocab_size", "hidden_size", "num_hidden_layers"},
	"adapter":  {"peft_type", "task_type", "r", "lora_alpha", "lora_dropout", "target_modules", "modules_to_save", "peft_version", "revision"},
	"pipeline": {"_class_name", "_diffusers_version"},
}

func readConfig(s importer.Source, h *importer.Head, raw []byte, it *importer.Item) {
	var v rawjson.Value
	for x, err := range rawjson.Split(bytes.NewReader(raw), MaxCard) {
		if v = x; err != nil {
			v.Fault = &rawjson.Fault{Reason: rawjson.Malformed, Detail: err.Error()}
		}
		break
	}
	if v.Fault != nil {
		it.Refusal = &importer.Refusal{Reason: v.Fault.Reason, Detail: v.Fault.Detail}
		return
	}
	kind := configKind(h)
	if kind == "" {
		it.Refusal = &importer.Refusal{Reason: NotACard, Detail: "the JSON object has neither model_type with architectures or transformers_version, nor peft_type, nor _class_name; it is no configuration of a model"}
		return
	}
	doc := rawjson.Parse(v.Bytes)
	kept, redacted := rawjson.Redact(doc, func([]byte) ([]string, bool) { return nil, false })
	doc = rawjson.Parse(kept)
	sum := sha256.Sum256(kept)
	c := &config{kind: kind, root: doc.Root(), sum: hex.EncodeToString(sum[:])}
	for _, p := range doc.Repeated {
		c.note("%s occurs more than once; the last one counts", p)
	}
	c.subject(s.Path)
	finish(it, c.ref, c.predicate(), kept, "application/json", c.from, redacted, c.notes)
}

type config struct {
	kind  string
	root  rawjson.Node
	sum   string
	ref   prov.Ref // the model
	from  string   // what beside the bytes tells which model it is
	notes []string
}

func (c *config) note(format string, args ...any) {
	if s := rawjson.Clip(fmt.Sprintf(format, args...), 500); len(c.notes) < 50 {
		c.notes = append(c.notes, s)
	}
}

// subject finds out which model the configuration is of.
func (c *config) subject(path string) {
	r, how := RepoOf(path)
	switch {
	case how == "cache":
		c.ref, c.from = r, evidenceName(path)
	case how == "card" && r.Kind == prov.Model:
		c.ref, c.from = r, "beside the card of "+r.String()
		c.note("the model is the one that the README.md beside it names")
	default:
		c.ref = Private(prov.Ref{Kind: prov.Model, Name: "unnamed"}, c.sum)
		c.note("a configuration does not name its model; it is named after the digest of this file")
	}
}

func (c *config) predicate() *statement.Entity {
	p := &statement.Entity{State: "described", Attributes: map[string]string{}}
	for _, key := range configAttributes[c.kind] {
		if v := clip(c.text(key)); v != "" {
			p.Attributes[strings.TrimPrefix(key, "_")] = v
		}
	}
	key, revision, how := "_name_or_path", "", "initialised-from"
	if c.kind == "adapter" {
		key, revision, how = "base_model_name_or_path", c.root.Get("revision").Text(), "adapter"
	}
	if r := c.base(key, revision); !r.IsZero() {
		p.Derived = []statement.Derivation{{To: resource(c.ref), Rule: statement.RuleStated,
			From: []statement.DerivedInput{{Resource: resource(r), Transformation: how}}}}
	}
	c.note("kept in the evidence only: all but %s, %s", key, strings.Join(configAttributes[c.kind], ", "))
	return p
}

// text gives a text, number or truth value, or the texts of a list.
func (c *config) text(key string) string {
	n := c.root.Get(key)
	switch n.Kind() {
	case 't', 'f':
		return string(n.Raw())
	case '[':
		var all []string
		for x := range n.All() {
			if s := x.Text(); s != "" && len(all) < 100 {
				all = append(all, s)
			}
		}
		slices.Sort(all) // target_modules is a set, written in any order
		return strings.Join(all, ", ")
	}
	return n.Text()
}

// base gives the model that this one was made of. A name without an owner may
// be an old one of the hub, such as gpt2, or a folder of the writer.
func (c *config) base(key, revision string) prov.Ref {
	text := strings.TrimSpace(c.root.Get(key).Text())
	if strings.Trim(text, "./") == "" {
		return prov.Ref{}
	}
	r, hub := Named(prov.Model, text, revision, c.sum)
	if !r.IsZero() && r.Series() == c.ref.Series() {
		return prov.Ref{} // it was loaded from where it was published
	}
	switch {
	case r.IsZero():
		c.note("kept in the evidence only: %s, which is no name", key)
	case hub && !strings.Contains(strings.TrimPrefix(r.Name, Host+"/"), "/") && c.kind != "adapter":
		r = Private(r, c.sum)
		c.note("%q in %s has no owner: it may be a model of the hub or a folder of the writer", clip(text), key)
	case !hub && strings.HasPrefix(r.Version, "named-in:"):
		c.note("%q in %s is a place of the writer; the name counts within this file only", clip(text), key)
	}
	return r
}
