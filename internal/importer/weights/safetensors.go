package weights

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math/bits"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

func ext(name string) string { return strings.ToLower(path.Ext(name)) }

// looksLikeSafetensors tells whether the first bytes can be those of a
// safetensors file: the length of the header in 8 bytes, and a JSON object.
// A size of -1 is not known.
func looksLikeSafetensors(head []byte, size int64) bool {
	if len(head) < 10 || head[8] != '{' || head[9] != '"' && head[9] != '}' {
		return false
	}
	n := binary.LittleEndian.Uint64(head)
	return n >= 2 && n <= MaxHeader && (size < 0 || int64(n)+8 <= size)
}

// dtypeBits gives the size of an element.
var dtypeBits = map[string]uint64{"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
	"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "C64": 64,
	"F64": 64, "I64": 64, "U64": 64}

// safetensors reads the header of a safetensors file.
func (f *file) safetensors() error {
	b, err := f.in.take(8)
	if err != nil {
		return f.endsEarly(err, "the length of the header")
	}
	n := binary.LittleEndian.Uint64(b)
	if n > MaxHeader {
		f.refuse(rawjson.TooLarge, "the header", "says that it is %d bytes long, the limit is %d; the file is no safetensors file, or was cut off at its beginning", n, MaxHeader)
		return nil
	}
	header, err := f.in.take(int64(n))
	if err != nil {
		return f.endsEarly(err, "the header")
	}
	root, ok := f.header(header)
	if !ok {
		return nil
	}
	tensors, ok := f.tensors(root)
	if !ok {
		return nil
	}
	if err := f.end(); err != nil {
		return err
	}
	f.attr("format", "safetensors")
	f.layout(tensors, uint64(f.in.n)-8-n)
	f.metadata(root.Get("__metadata__"))
	return nil
}

func (f *file) endsEarly(err error, where string) error {
	if errors.Is(err, errEnd) {
		f.refuse(Truncated, where, "is cut off (%v); fetch the file again", err)
		return nil
	}
	return err
}

// header checks the JSON of the header and takes the secrets out of it.
func (f *file) header(raw []byte) (rawjson.Node, bool) {
	if len(raw) == 0 || raw[0] != '{' {
		f.refuse(BadHeader, "the header", "does not begin with '{'; a safetensors header is a JSON object")
		return rawjson.Node{}, false
	}
	values := 0
	var v rawjson.Value
	for x, err := range rawjson.Split(bytes.NewReader(raw), MaxHeader) {
		if err != nil {
			x.Fault = &rawjson.Fault{Reason: BadHeader, Detail: err.Error()}
		}
		if values++; values == 1 || x.Fault != nil {
			v = x
		}
	}
	if v.Fault != nil {
		f.refuse(v.Fault.Reason, "the header:", "%s", v.Fault.Detail)
		return rawjson.Node{}, false
	}
	if values > 1 {
		f.refuse(BadHeader, "the header", "holds %d JSON values; there must be one", values)
		return rawjson.Node{}, false
	}
	doc := rawjson.Parse(v.Bytes)
	if len(doc.Repeated) > 0 {
		f.refuse(BadHeader, doc.Repeated[0], "occurs twice in the header; readers would not agree which one counts")
		return rawjson.Node{}, false
	}
	f.kept, f.redacted = rawjson.Redact(doc, func([]byte) ([]string, bool) { return nil, false })
	f.mediaType = "application/json"
	return rawjson.Parse(f.kept).Root(), true
}

type tensor struct {
	name       string
	begin, end uint64
	elements   uint64
	dtype      string
}

// tensors reads what the header says of each tensor.
func (f *file) tensors(root rawjson.Node) ([]tensor, bool) {
	var out []tensor
	for m := range root.All() {
		name := m.Key()
		if name == "__metadata__" {
			continue
		}
		t := tensor{name: name, dtype: m.Get("dtype").Text(), elements: 1}
		var offsets []uint64
		good := m.Kind() == '{' && m.Get("shape").Kind() == '[' && t.dtype != ""
		for x := range m.Get("data_offsets").All() {
			v, err := strconv.ParseUint(x.Text(), 10, 63)
			good = good && err == nil && x.Kind() == '0'
			offsets = append(offsets, v)
		}
		for x := range m.Get("shape").All() {
			v, err := strconv.ParseUint(x.Text(), 10, 63)
			hi, lo := bits.Mul64(t.elements, v)
			good = good && err == nil && hi == 0
			t.elements = lo
		}
		if !good || len(offsets) != 2 {
			f.refuse(BadHeader, "tensor "+rawjson.Clip(name, 200), "needs dtype, shape and two data_offsets, all whole numbers")
			return nil, false
		}
		t.begin, t.end = offsets[0], offsets[1]
		out = append(out, t)
	}
	return out, true
}

// layout checks that the tensors fill the file without holes or overlaps, as
// the format demands, and counts them.
func (f *file) layout(tensors []tensor, size uint64) {
	slices.SortFunc(tensors, func(a, b tensor) int {
		if a.begin != b.begin {
			if a.begin < b.begin {
				return -1
			}
			return 1
		}
		if a.end != b.end && a.end < b.end {
			return -1
		}
		return strings.Compare(a.name, b.name)
	})
	at, elements, dtypes := uint64(0), uint64(0), map[string]bool{}
	for _, t := range tensors {
		place := "tensor " + rawjson.Clip(t.name, 200)
		if t.begin != at || t.end < t.begin {
			f.refuse(BadOffsets, place, "lies at %d to %d where %d must begin; tensors must follow one another without holes or overlaps", t.begin, t.end, at)
			return
		}
		if w, known := dtypeBits[t.dtype]; known {
			if hi, lo := bits.Mul64(t.elements, w); hi != 0 || lo%8 != 0 || lo/8 != t.end-t.begin {
				f.refuse(BadOffsets, place, "has %d elements of %s, and takes %d bytes; the shape does not fit", t.elements, t.dtype, t.end-t.begin)
				return
			}
		} else {
			f.note("the element type %s is not known; the sizes of its tensors were not checked", rawjson.Clip(t.dtype, 50))
		}
		at, elements = t.end, elements+t.elements
		dtypes[rawjson.Clip(t.dtype, 50)] = true
	}
	switch {
	case at > size:
		f.refuse(Truncated, "the file", "holds %d bytes of tensors, and the header says %d; fetch it again", size, at)
	case at < size:
		f.refuse(BadOffsets, "the file", "holds %d bytes after its last tensor; the format allows none", size-at)
	}
	f.attr("tensors", strconv.Itoa(len(tensors)))
	f.attr("parameters", strconv.FormatUint(elements, 10))
	var names []string
	for d := range dtypes {
		names = append(names, d)
	}
	slices.Sort(names)
	f.attr("dtypes", strings.Join(names, ", "))
}

// trainingNames are the names of __metadata__ that become attributes, beside
// those that begin with "modelspec.".
var trainingNames = strings.Fields("format ss_output_name ss_base_model_version ss_sd_model_name ss_sd_model_hash ss_new_sd_model_hash " +
	"ss_vae_name ss_new_vae_hash ss_session_id ss_training_started_at ss_training_finished_at ss_network_module ss_network_dim ss_network_alpha " +
	"ss_learning_rate ss_unet_lr ss_text_encoder_lr ss_optimizer ss_num_train_images ss_num_epochs ss_epoch ss_steps ss_max_train_steps ss_seed " +
	"ss_resolution ss_clip_skip ss_mixed_precision ss_sd_scripts_commit_hash ss_training_comment sshs_model_hash sshs_legacy_hash")

// metadata reads __metadata__: the names of the Model Metadata Standard
// (modelspec.) and those that sd-scripts writes (ss_).
func (f *file) metadata(m rawjson.Node) {
	rest := 0
	for x := range m.All() {
		key := x.Key()
		switch v := x.Text(); {
		case v == "" || v == "None":
		case strings.HasPrefix(key, "modelspec.") && len(key) < 60 && key != "modelspec.thumbnail":
			f.attr(key, v)
		case key == "format":
			f.attr("framework", v)
		case slices.Contains(trainingNames, key):
			f.attr(key, v)
		default:
			rest++
		}
	}
	if rest > 0 {
		f.note("kept in the evidence only: %d more members of __metadata__", rest)
	}
	text := func(key string) string {
		if v := m.Get(key).Text(); v != "None" {
			return strings.TrimSpace(v)
		}
		return ""
	}
	f.entity.Licence = rawjson.Clip(firstOf(text("modelspec.license"), text("license")), maxText)
	f.entity.Description = rawjson.Clip(text("modelspec.description"), maxText)
	how := "base_model"
	if text("ss_network_module") != "" {
		how = "adapter"
	}
	f.hashed(text("ss_sd_model_name"), text("ss_new_sd_model_hash"), how, "ss_sd_model_name")
	f.hashed(text("ss_vae_name"), text("ss_new_vae_hash"), "vae", "ss_vae_name")
	for _, s := range strings.Split(text("modelspec.merged_from"), ",") {
		f.source(prov.Model, s, "merged", "modelspec.merged_from")
	}
	for _, key := range []string{"base_model", "base_model_name_or_path"} {
		f.source(prov.Model, text(key), how, key)
	}
	f.folders(text("ss_dataset_dirs"), "trained-on")
	f.folders(text("ss_reg_dataset_dirs"), "regularised-with")
}

var hex64 = regexp.MustCompile(`^(?:0x)?([0-9a-fA-F]{64})$`)

// hashed adds a model by its name and, where it is told, its SHA-256.
func (f *file) hashed(name, digest, how, key string) {
	m := hex64.FindStringSubmatch(digest)
	if m == nil {
		f.source(prov.Model, name, how, key)
		return
	}
	sum := strings.ToLower(m[1])
	r := prov.Ref{Kind: prov.Model, Name: firstOf(rawjson.Clip(path.Base(strings.ReplaceAll(name, `\`, "/")), 200), "unnamed"), Version: "sha256:" + sum[:16]}
	f.add(statement.DerivedInput{Resource: statement.NewResource(r, statement.DigestSet{"sha256": sum}), Transformation: how})
}

// folders adds the folders of images that were trained on: a JSON object in a
// text, whose names are folders of the writer.
func (f *file) folders(text, how string) {
	if text == "" || len(text) > 1<<20 {
		return
	}
	var dirs map[string]struct {
		Count json.Number `json:"img_count"`
	}
	if json.Unmarshal([]byte(text), &dirs) != nil {
		f.note("kept in the evidence only: the folders that it was %s, which are no JSON", how)
		return
	}
	var names []string
	for name := range dirs {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names[:min(len(names), 500)] {
		if strings.TrimSpace(name) == "" || len(name) > maxText {
			continue
		}
		r := prov.Ref{Kind: prov.Dataset, Name: name, Version: "named-in:" + f.keptSum()[:16]}
		f.add(statement.DerivedInput{Resource: statement.NewResource(r, nil), Transformation: how})
	}
	f.note("the folders that it was %s are names of the writer's disk; they count within this file only (%d)", how, len(names))
}
