package huggingface

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/internal/importer/rawyaml"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// MaxCard is the largest card that is read, in bytes.
const MaxCard = 8 << 20

// The limits of what one card says: names in a list, and the length of a text
// that becomes an attribute.
const (
	maxList = 1000
	maxText = 1000
)

// card is a README.md with its front matter, being read.
type card struct {
	kept     []byte
	sum      string // SHA-256 of kept
	redacted []string
	meta     rawjson.Node
	body     []byte // of kept
	kind     prov.Kind
	ref      prov.Ref // what it describes
	notes    []string
	refusal  *importer.Refusal
	seen     map[string]bool // the names that were understood
}

// The names in front matter that only the hub gives a meaning to, by what they
// tell of the repository.
var (
	modelNames = words("base_model base_model_relation base_models model-index model_name library_name pipeline_tag co2_eq_emissions " +
		"widget inference new_version datasets metrics language_bcp47 instance_prompt")
	datasetNames = words("source_datasets annotations_creators language_creators dataset_info configs task_categories task_ids " +
		"size_categories multilinguality pretty_name paperswithcode_id train-eval-index viewer")
	spaceNames = words("sdk sdk_version app_file app_port colorFrom colorTo hf_oauth hardware suggested_hardware python_version")
	otherNames = words("license license_name license_link license_details license_link_name language languages licenses tags thumbnail arxiv " +
		"extra_gated_prompt extra_gated_fields extra_gated_heading extra_gated_description extra_gated_button_content extra_gated_eu_disallowed " +
		"title emoji pinned models short_description model_creator model_link model_type quantized_by prompt_template gated library train inference_provider")
)

// vague are names of the hub that others use as well.
var vague = words("datasets viewer hardware metrics inference widget configs python_version")

func words(s string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(s) {
		m[w] = true
	}
	return m
}

var topName = regexp.MustCompile(`(?m)^["']?([A-Za-z][A-Za-z0-9_-]*)["']?[ \t]*:`)

// frontMatter splits a text into the YAML between its first two lines of
// "---" and what follows.
func frontMatter(raw []byte) (yaml, body []byte, ok bool) {
	b := bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	b = bytes.TrimLeft(b, "\r\n")
	first, rest, found := bytes.Cut(b, []byte("\n"))
	if !found || string(bytes.TrimRight(first, " \t\r")) != "---" {
		return nil, raw, false
	}
	for at := 0; at < len(rest); {
		end := bytes.IndexByte(rest[at:], '\n')
		line, next := rest[at:], len(rest)
		if end >= 0 {
			line, next = rest[at:at+end], at+end+1
		}
		if string(bytes.TrimRight(line, " \t\r")) == "---" {
			return rest[:at], rest[next:], true
		}
		at = next
	}
	return nil, raw, false
}

// cardHead tells whether a text begins with front matter of the hub: it has a
// name that only the hub gives a meaning to, or, in a README, a licence or
// language and none but names of the hub. The end of long front matter may lie
// beyond the head.
func cardHead(head []byte, readme bool) bool {
	yaml, _, ok := frontMatter(head)
	if !ok {
		if yaml = bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")); len(head) < importer.HeadSize || !bytes.HasPrefix(yaml, []byte("---\n")) {
			return false
		}
	}
	foreign, own, plain := 0, false, false
	for _, m := range topName.FindAllSubmatch(yaml, 400) {
		k := string(m[1])
		hub := modelNames[k] || datasetNames[k] || spaceNames[k]
		own = own || hub && !vague[k]
		plain = plain || k == "license" || k == "licenses" || k == "language"
		if !hub && !otherNames[k] || k == "title" {
			foreign++
		}
	}
	return own || readme && plain && foreign == 0
}

// readCard takes the secrets out of a card and reads its front matter.
func readCard(raw []byte) *card {
	c := &card{kept: raw, seen: map[string]bool{}}
	yaml, body, ok := frontMatter(raw)
	if ok {
		f, err := rawyaml.Read(yaml)
		if err != nil {
			c.refuse(BadYAML, "front matter", "%v; the lines between the first two lines of --- are YAML", err)
			return c
		}
		if k := f.Root.Kind(); k != 0 && k != '{' && k != 'n' {
			c.refuse(BadYAML, "front matter", "is no mapping; write lines such as license: apache-2.0")
			return c
		}
		clean := rawjson.Secrets(string(body))
		if len(f.Redacted) > 0 || clean != string(body) {
			c.redacted = f.Redacted
			if clean != string(body) {
				c.redacted = append(c.redacted, "body")
			}
			c.kept = []byte("---\n" + strings.TrimRight(string(f.Kept), "\n") + "\n---\n" + clean)
		}
		c.meta, c.body = f.Root, []byte(clean)
		for _, p := range f.Repeated {
			c.note("%s occurs more than once; the last one counts", p)
		}
	} else if clean := rawjson.Secrets(string(raw)); clean != string(raw) {
		c.kept, c.body, c.redacted = []byte(clean), []byte(clean), []string{"body"}
	} else {
		c.body = raw
	}
	sum := sha256.Sum256(c.kept)
	c.sum = hex.EncodeToString(sum[:])
	c.kind = c.kindOf()
	return c
}

func (c *card) refuse(reason, place, format string, args ...any) {
	if c.refusal == nil {
		c.refusal = &importer.Refusal{Reason: reason, Detail: place + ": " + rawjson.Clip(fmt.Sprintf(format, args...), 1000)}
	}
}

func (c *card) note(format string, args ...any) {
	if s := rawjson.Clip(fmt.Sprintf(format, args...), 500); len(c.notes) < 50 && !slices.Contains(c.notes, s) {
		c.notes = append(c.notes, s)
	}
}

// kindOf tells whether the card is of a model, a dataset or a Space (code).
// What names neither is a model's: a dataset without any of its own names is
// told by its heading only.
func (c *card) kindOf() prov.Kind {
	model, dataset := 0, 0
	for m := range c.meta.All() {
		switch k := m.Key(); {
		case k == "sdk":
			return prov.Code
		case modelNames[k] && k != "datasets":
			model++
		case datasetNames[k]:
			dataset++
		}
	}
	title := strings.ToLower(c.heading())
	if dataset > model || model == 0 && (strings.HasPrefix(title, "dataset card") || strings.HasPrefix(title, "data card")) {
		return prov.Dataset
	}
	return prov.Model
}

var (
	heading     = regexp.MustCompile(`(?m)^#[ \t]+(.+?)[ \t#\r]*$`)
	cardFor     = regexp.MustCompile(`(?i)^(model|dataset|data) card (for|of)\s*:?\s*`)
	placeholder = regexp.MustCompile(`(?i)^(model id|dataset name|model card|dataset card|model|dataset|introduction|overview|readme|table of contents|\[.*\])$`)
	markup      = regexp.MustCompile("[*_`\"]+|<[^>]*>|\\]\\([^)]*\\)|\\[")
)

func (c *card) heading() string {
	m := heading.FindSubmatch(c.body[:min(len(c.body), 1<<16)])
	if m == nil {
		return ""
	}
	return strings.TrimSpace(string(m[1]))
}

// name finds out what the card describes: by its place in the cache of the
// hub, by model-index or model_name, by its heading, else by its digest.
func (c *card) name(path string) {
	if p := Locate(path); !p.Repo.IsZero() {
		c.ref, c.kind = p.Repo, p.Repo.Kind
		if p.Repo.Version == "" {
			c.note("the revision is not known: nothing in snapshots names this blob")
		}
		return
	}
	for _, key := range []string{"model-index", "model_name", "pretty_name"} {
		n := c.meta.Get(key)
		if key == "model_name" && c.meta.Get("quantized_by").Given() {
			continue // the name of the model that was quantized
		}
		if key == "model-index" {
			first := rawjson.Node{}
			for x := range n.All() {
				first = x
				break
			}
			n = first.Get("name")
		}
		if s := clip(n.Text()); s != "" {
			c.ref = c.named(s)
			c.note("the name %q is that of %s; a card does not say in which repository it lies", s, key)
			return
		}
	}
	s := c.heading()
	s = strings.TrimSpace(markup.ReplaceAllString(cardFor.ReplaceAllString(s, ""), ""))
	if s != "" && len(s) <= 200 && !placeholder.MatchString(s) {
		c.ref = c.named(s)
		if c.ref.Version == "" {
			c.ref = Private(c.ref, c.sum)
		}
		c.note("the name %q is that of the first heading, and may be any text", s)
		return
	}
	c.ref = Private(prov.Ref{Kind: c.kind, Name: "unnamed"}, c.sum)
	c.note("the card names nothing; what it describes is named after its own digest")
}

// named gives the Ref of a name that the card gives its own repository.
func (c *card) named(s string) prov.Ref {
	if strings.Contains(s, "/") || repoURL.MatchString(s) {
		r, _ := Named(c.kind, s, "", c.sum)
		return r
	}
	return prov.Ref{Kind: c.kind, Name: s}
}

func clip(s string) string {
	if s = strings.TrimSpace(s); len(s) > maxText {
		return rawjson.Clip(s, maxText)
	}
	return s
}

// texts gives the texts of a list, or the one text that stands for a list.
func (c *card) texts(key string) []string {
	n := c.meta.Get(key)
	c.seen[key] = n.Kind() != '{' // by subset, as old cards of datasets have it: not understood
	if s := n.Text(); s != "" {
		return []string{s}
	}
	var out []string
	rest := 0
	for x := range n.All() {
		s := x.Text()
		if s == "" && x.Kind() == '{' { // dataset or model with more than a name
			s = x.Get("name").Text()
		}
		if s == "" {
			continue
		}
		if len(out) == maxList {
			rest++
			continue
		}
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	if rest > 0 {
		c.note("kept in the evidence only: %d more of %s", rest, key)
	}
	return out
}

// predicate gives what the card says of its repository.
func (c *card) predicate() *statement.Entity {
	p := &statement.Entity{State: "described", Attributes: map[string]string{}}
	c.licence(p)
	for _, key := range []string{"library_name", "pipeline_tag", "tags", "language", "languages", "model_type", "model_creator", "quantized_by", "metrics", "new_version",
		"pretty_name", "annotations_creators", "language_creators", "task_categories", "task_ids", "size_categories", "multilinguality", "paperswithcode_id",
		"source_datasets", "sdk", "sdk_version", "app_file", "base_model_relation", "arxiv", "gated"} {
		if v := clip(strings.Join(c.texts(key), ", ")); v != "" {
			p.Attributes[key] = v
		}
	}
	c.emissions(p)
	c.configs(p)
	switch c.kind {
	case prov.Model:
		c.modelFrom(p)
	case prov.Dataset:
		c.datasetFrom(p)
	default:
		for _, key := range []string{"models", "datasets"} {
			if v := clip(strings.Join(c.texts(key), ", ")); v != "" {
				p.Attributes[key] = v
			}
		}
	}
	for _, k := range []string{"model-index", "model_name"} {
		c.seen[k] = true
	}
	c.results()
	var rest []string
	for m := range c.meta.All() {
		if k := m.Key(); !c.seen[k] && m.Given() {
			rest = append(rest, k)
		}
	}
	if len(rest) > 0 {
		slices.Sort(rest)
		c.note("kept in the evidence only: %s", strings.Join(rest, ", "))
	}
	return p
}

// licence reads license; "other" is told by license_name and license_link.
func (c *card) licence(p *statement.Entity) {
	all := append(c.texts("license"), c.texts("licenses")...)
	name, link := strings.Join(c.texts("license_name"), ", "), strings.Join(c.texts("license_link"), ", ")
	p.Licence = clip(strings.Join(all, ", "))
	if name != "" && (p.Licence == "other" || p.Licence == "") {
		p.Licence = clip(name)
	}
	if link != "" {
		p.Attributes["license_link"] = clip(link)
	}
}

func (c *card) emissions(p *statement.Entity) {
	c.seen["co2_eq_emissions"] = true
	n := c.meta.Get("co2_eq_emissions")
	if v := n.Text(); v != "" {
		p.Attributes["co2_eq_emissions"] = clip(v)
	}
	for x := range n.All() {
		if v := x.Text(); v != "" && n.Kind() == '{' {
			key := "co2_eq_emissions"
			if k := x.Key(); k != "emissions" {
				key += "." + k
			}
			p.Attributes[clip(key)] = clip(v)
		}
	}
}

// configs names the subsets of a dataset.
func (c *card) configs(p *statement.Entity) {
	c.seen["configs"], c.seen["dataset_info"] = true, true
	var names []string
	add := func(n rawjson.Node) {
		if s := n.Get("config_name").Text(); s != "" && !slices.Contains(names, s) && len(names) < maxList {
			names = append(names, s)
		}
	}
	for _, key := range []string{"configs", "dataset_info"} {
		n := c.meta.Get(key)
		if n.Given() {
			c.note("kept in the evidence only: %s, save the names of its configs", key)
		}
		add(n)
		if n.Kind() == '[' {
			for x := range n.All() {
				add(x)
			}
		}
	}
	if len(names) > 0 {
		p.Attributes["configs"] = clip(strings.Join(names, ", "))
	}
}

func (c *card) results() {
	n := 0
	for x := range c.meta.Get("model-index").All() {
		for range x.Get("results").All() {
			n++
		}
	}
	if n > 0 {
		c.note("kept in the evidence only: %d results of model-index", n)
	}
}

// derive adds a derivation of what the card describes, stated by it.
func (c *card) derive(p *statement.Entity, from []statement.DerivedInput) {
	var out []statement.DerivedInput
	self := c.ref.String()
	for _, f := range from {
		if f.Ref == self || f.Ref == c.ref.Series().String() {
			c.note("%s names itself as its source; that is left out", f.Ref)
			continue
		}
		if !slices.ContainsFunc(out, func(o statement.DerivedInput) bool { return o.Ref == f.Ref && o.Transformation == f.Transformation }) {
			out = append(out, f)
		}
	}
	if len(out) > 0 {
		p.Derived = append(p.Derived, statement.Derivation{To: resource(c.ref), From: out, Rule: statement.RuleStated})
	}
}

var baseTag = regexp.MustCompile(`^base_model:(?:(adapter|finetune|merge|quantized):)?(.+)$`)

// modelFrom reads the base models and the datasets of a model. Tags of the
// form base_model:adapter:org/name, which libraries write, say how too.
func (c *card) modelFrom(p *statement.Entity) {
	relation := clip(strings.Join(c.texts("base_model_relation"), ", "))
	tagged := map[string]string{}
	var ids []string
	for _, key := range []string{"base_model", "base_models"} {
		ids = append(ids, c.texts(key)...)
	}
	for _, t := range c.texts("tags") {
		if m := baseTag.FindStringSubmatch(t); m != nil {
			tagged[m[2]] = firstOf(m[1], tagged[m[2]])
			ids = append(ids, m[2])
		}
	}
	var from []statement.DerivedInput
	for _, s := range ids {
		from = c.source(from, prov.Model, s, "base_model", firstOf(relation, tagged[s], "base_model"))
	}
	for _, s := range c.texts("datasets") {
		from = c.source(from, prov.Dataset, s, "datasets", "trained-on")
	}
	c.derive(p, from)
}

// datasetFrom reads what a dataset was made of: "original", "extended",
// "extended|squad", or the id of a dataset.
func (c *card) datasetFrom(p *statement.Entity) {
	var from []statement.DerivedInput
	for _, s := range c.texts("source_datasets") {
		word, id, extended := strings.Cut(s, "|")
		switch {
		case !extended && (word == "original" || word == "extended" || word == "unknown"):
		case extended && (id == "other" || strings.HasPrefix(id, "other-")):
			from = append(from, statement.DerivedInput{Resource: resource(Private(prov.Ref{Kind: prov.Dataset, Name: clip(id)}, c.sum)), Transformation: word})
		case extended:
			from = c.source(from, prov.Dataset, id, "source_datasets", word)
		default:
			from = c.source(from, prov.Dataset, s, "source_datasets", "source")
		}
	}
	for _, s := range c.texts("datasets") {
		from = c.source(from, prov.Dataset, s, "datasets", "source")
	}
	c.derive(p, from)
}

func (c *card) source(from []statement.DerivedInput, kind prov.Kind, text, key, how string) []statement.DerivedInput {
	r, hub := Named(kind, text, "", c.sum)
	if r.IsZero() {
		c.note("kept in the evidence only: an entry of %s that is no name", key)
		return from
	}
	if !hub && strings.HasPrefix(r.Version, "named-in:") {
		c.note("%q in %s is no id of the hub and no URL; the name counts within this card only", clip(text), key)
	}
	return append(from, statement.DerivedInput{Resource: resource(r), Transformation: how})
}

func firstOf(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}
