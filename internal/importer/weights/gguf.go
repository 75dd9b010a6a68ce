package weights

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// The types of GGUF values (GGUF specification, gguf_metadata_value_type).
const (
	ggufString = 8
	ggufArray  = 9
)

// ggufWidth is the size in bytes of the types that have one.
var ggufWidth = map[uint32]int64{0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

// The limits of a GGUF header beside MaxHeader.
const (
	maxKeys       = 1 << 16
	maxTensors    = 1 << 20
	maxKey        = 1<<16 - 1
	maxArrayDepth = 4
	maxElements   = 1000 // of an array of texts that is looked at
	maxAttributes = 300
)

// gguf is the header of a GGUF file, being read.
type gguf struct {
	f       *file
	order   binary.ByteOrder
	version uint32
	out     []byte // what is kept
	texts   map[string]string
	lists   map[string][]string
	keys    int
	paths   []string
}

// errHeader is a header that the format does not allow.
type errHeader struct{ reason, text string }

func (e *errHeader) Error() string { return e.text }

func badHeader(format string, args ...any) error {
	return &errHeader{BadHeader, fmt.Sprintf(format, args...)}
}

// gguf reads the header of a GGUF file of version 1 to 3.
func (f *file) gguf() error {
	g := &gguf{f: f, order: binary.LittleEndian, texts: map[string]string{}, lists: map[string][]string{}}
	infos, err := g.header()
	var bad *errHeader
	switch {
	case errors.As(err, &bad):
		f.refuse(bad.reason, "the header:", "%s", bad.text)
		return nil
	case err != nil:
		return f.endsEarly(err, "the header")
	}
	header := uint64(f.in.n)
	f.kept, f.mediaType, f.redacted = g.out, "application/vnd.gguf-header", g.paths
	if err := f.end(); err != nil {
		return err
	}
	g.layout(infos, header, uint64(f.in.n))
	if f.refusal == nil {
		g.describe()
	}
	return nil
}

// take reads n bytes of the header and keeps them.
func (g *gguf) take(n int64) ([]byte, error) {
	b, err := g.skip(n)
	g.out = append(g.out, b...)
	return b, err
}

func (g *gguf) skip(n int64) ([]byte, error) {
	if n < 0 || n > MaxHeader-g.f.in.n {
		return nil, &errHeader{rawjson.TooLarge, fmt.Sprintf("at byte %d a length of %d leads beyond %d bytes, the limit of a header; the file is damaged, or no GGUF file", g.f.in.n, n, MaxHeader)}
	}
	return g.f.in.take(n)
}

func (g *gguf) u32() (uint32, error) {
	b, err := g.take(4)
	if err != nil {
		return 0, err
	}
	return g.order.Uint32(b), nil
}

func (g *gguf) u64() (uint64, error) {
	b, err := g.take(8)
	if err != nil {
		return 0, err
	}
	return g.order.Uint64(b), nil
}

// length reads a count: 4 bytes in version 1, else 8.
func (g *gguf) length() (uint64, error) {
	if g.version == 1 {
		n, err := g.u32()
		return uint64(n), err
	}
	return g.u64()
}

// text reads a string and keeps it without secrets.
func (g *gguf) text(where string) (string, error) {
	start := len(g.out)
	n, err := g.length()
	if err != nil {
		return "", err
	}
	if n > MaxHeader {
		n = MaxHeader + 1 // too long in any case
	}
	b, err := g.skip(int64(n))
	if err != nil {
		return "", err
	}
	s := string(b)
	if strings.HasPrefix(where, "tokenizer.ggml.") { // pieces of words
		g.out = append(g.out, s...)
		return s, nil
	}
	if clean := rawjson.Secrets(s); clean != s {
		g.paths = append(g.paths, rawjson.Clip(rawjson.Secrets(where), 200))
		s, g.out = clean, g.out[:start]
		if g.version == 1 {
			g.out = appendUint32(g.out, g.order, uint32(len(s)))
		} else {
			g.out = appendUint64(g.out, g.order, uint64(len(s)))
		}
	}
	g.out = append(g.out, s...)
	return s, nil
}

func appendUint32(b []byte, o binary.ByteOrder, v uint32) []byte {
	var x [4]byte
	o.PutUint32(x[:], v)
	return append(b, x[:]...)
}

func appendUint64(b []byte, o binary.ByteOrder, v uint64) []byte {
	var x [8]byte
	o.PutUint64(x[:], v)
	return append(b, x[:]...)
}

// header reads up to the end of what is said of the tensors.
func (g *gguf) header() ([]ggufTensor, error) {
	b, err := g.take(8)
	if err != nil {
		return nil, err
	}
	if string(b[:4]) != "GGUF" {
		return nil, &errHeader{NotWeights, fmt.Sprintf("begins with %q; a GGUF file begins with \"GGUF\"", b[:4])}
	}
	if g.version = g.order.Uint32(b[4:]); g.version&0xffff == 0 {
		g.order = binary.BigEndian
		g.version = g.order.Uint32(b[4:])
	}
	if g.version < 1 || g.version > 3 {
		return nil, &errHeader{BadVersion, fmt.Sprintf("version %d of GGUF is not known; versions 1 to 3 are", g.version)}
	}
	tensors, err := g.length()
	if err != nil {
		return nil, err
	}
	keys, err := g.length()
	if err != nil {
		return nil, err
	}
	if tensors > maxTensors || keys > maxKeys {
		return nil, &errHeader{rawjson.TooLarge, fmt.Sprintf("says %d tensors and %d keys; the limits are %d and %d", tensors, keys, maxTensors, maxKeys)}
	}
	for range keys {
		if err := g.pair(); err != nil {
			return nil, err
		}
	}
	var out []ggufTensor
	for range tensors {
		t, err := g.tensor()
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

func (g *gguf) pair() error {
	at := g.f.in.n
	key, err := g.text("key")
	if err != nil {
		return err
	}
	if len(key) > maxKey || key == "" {
		return badHeader("at byte %d a key is %d bytes long; the format allows 1 to %d", at, len(key), maxKey)
	}
	typ, err := g.u32()
	if err != nil {
		return err
	}
	_, one := g.texts[key]
	_, many := g.lists[key]
	if one || many {
		return badHeader("key %s occurs twice; readers would not agree which one counts", rawjson.Clip(strconv.Quote(key), 200))
	}
	if typ == ggufArray {
		g.lists[key] = nil
		return g.array(key, 0)
	}
	s, err := g.scalar(key, typ)
	g.texts[key] = s
	return err
}

// scalar reads a value that is no array, as text.
func (g *gguf) scalar(key string, typ uint32) (string, error) {
	if typ == ggufString {
		s, err := g.text(key)
		return rawjson.Clip(s, maxText), err
	}
	w, ok := ggufWidth[typ]
	if !ok {
		return "", badHeader("key %s has a value of type %d, which is not known", rawjson.Clip(strconv.Quote(key), 200), typ)
	}
	b, err := g.take(w)
	if err != nil {
		return "", err
	}
	switch typ {
	case 0:
		return strconv.Itoa(int(b[0])), nil
	case 1:
		return strconv.Itoa(int(int8(b[0]))), nil
	case 2:
		return strconv.Itoa(int(g.order.Uint16(b))), nil
	case 3:
		return strconv.Itoa(int(int16(g.order.Uint16(b)))), nil
	case 4:
		return strconv.FormatUint(uint64(g.order.Uint32(b)), 10), nil
	case 5:
		return strconv.Itoa(int(int32(g.order.Uint32(b)))), nil
	case 6:
		return strconv.FormatFloat(float64(math.Float32frombits(g.order.Uint32(b))), 'g', -1, 32), nil
	case 7:
		return strconv.FormatBool(b[0] != 0), nil
	case 10:
		return strconv.FormatUint(g.order.Uint64(b), 10), nil
	case 11:
		return strconv.FormatInt(int64(g.order.Uint64(b)), 10), nil
	}
	return strconv.FormatFloat(math.Float64frombits(g.order.Uint64(b)), 'g', -1, 64), nil
}

// array passes over an array and remembers the texts of a short one.
func (g *gguf) array(key string, depth int) error {
	if depth == maxArrayDepth {
		return badHeader("key %s: arrays are nested more than %d deep", rawjson.Clip(strconv.Quote(key), 200), maxArrayDepth)
	}
	typ, err := g.u32()
	if err != nil {
		return err
	}
	n, err := g.length()
	if err != nil {
		return err
	}
	if w, ok := ggufWidth[typ]; ok {
		if n > MaxHeader {
			n = MaxHeader // leads beyond the limit in any case
		}
		_, err := g.take(int64(n) * w)
		return err
	}
	if typ != ggufString && typ != ggufArray {
		return badHeader("key %s is an array of type %d, which is not known", rawjson.Clip(strconv.Quote(key), 200), typ)
	}
	for range n { // each takes 4 bytes at least, so the limit of a header ends it
		if typ == ggufArray {
			if err := g.array(key, depth+1); err != nil {
				return err
			}
			continue
		}
		s, err := g.text(key)
		if err != nil {
			return err
		}
		if depth == 0 && len(g.lists[key]) < maxElements && strings.HasPrefix(key, "general.") {
			g.lists[key] = append(g.lists[key], rawjson.Clip(s, maxText))
		}
	}
	return nil
}

type ggufTensor struct {
	elements, offset uint64
	typ              uint32
}

func (g *gguf) tensor() (t ggufTensor, err error) {
	name, err := g.text("tensor")
	if err != nil {
		return t, err
	}
	n, err := g.u32()
	if err != nil {
		return t, err
	}
	if n > 8 {
		return t, badHeader("tensor %s has %d dimensions; 4 are usual and 8 the limit", rawjson.Clip(strconv.Quote(name), 200), n)
	}
	t.elements = 1
	for range n {
		d, err := g.length()
		if err != nil {
			return t, err
		}
		hi, lo := bits.Mul64(t.elements, d)
		if hi != 0 || lo > math.MaxInt64 {
			return t, badHeader("tensor %s has more elements than can be counted", rawjson.Clip(strconv.Quote(name), 200))
		}
		t.elements = lo
	}
	if t.typ, err = g.u32(); err != nil {
		return t, err
	}
	t.offset, err = g.u64()
	return t, err
}

// blocks gives the elements and bytes of a block of the common element types.
var blocks = map[uint32][2]uint64{0: {1, 4}, 1: {1, 2}, 2: {32, 18}, 3: {32, 20}, 6: {32, 22}, 7: {32, 24}, 8: {32, 34},
	10: {256, 84}, 11: {256, 110}, 12: {256, 144}, 13: {256, 176}, 14: {256, 210}, 20: {32, 18}, 23: {256, 136},
	24: {1, 1}, 25: {1, 2}, 26: {1, 4}, 27: {1, 8}, 28: {1, 8}, 30: {1, 2}}

// layout checks that the tensors lie within the file.
func (g *gguf) layout(tensors []ggufTensor, header, size uint64) {
	align := uint64(32)
	if v, err := strconv.ParseUint(g.texts["general.alignment"], 10, 32); err == nil && v > 0 {
		align = v
	}
	start := (header + align - 1) / align * align
	parameters := uint64(0)
	for i, t := range tensors {
		end := t.offset
		if b, ok := blocks[t.typ]; ok {
			hi, need := bits.Mul64((t.elements+b[0]-1)/b[0], b[1])
			if hi != 0 {
				need = math.MaxUint64
			}
			end += need
		}
		if end < t.offset || start+end < end || start+end > size {
			g.f.refuse(Truncated, fmt.Sprintf("tensor %d", i), "ends %d bytes after the header, and the file is %d bytes long; fetch it again", end, size)
			return
		}
		parameters += t.elements
	}
	g.f.attr("tensors", strconv.Itoa(len(tensors)))
	g.f.attr("parameters", strconv.FormatUint(parameters, 10))
}

// fileTypes names general.file_type (GGUF specification).
var fileTypes = map[string]string{"0": "F32", "1": "F16", "2": "Q4_0", "3": "Q4_1", "7": "Q8_0", "8": "Q5_0", "9": "Q5_1", "10": "Q2_K",
	"11": "Q3_K_S", "12": "Q3_K_M", "13": "Q3_K_L", "14": "Q4_K_S", "15": "Q4_K_M", "16": "Q5_K_S", "17": "Q5_K_M", "18": "Q6_K"}

// describe makes the statement of what the keys say.
func (g *gguf) describe() {
	f := g.f
	f.attr("format", "gguf")
	f.attr("formatVersion", strconv.Itoa(int(g.version)))
	if g.order == binary.BigEndian {
		f.attr("byteOrder", "big-endian")
	}
	f.attr("quantization", fileTypes[g.texts["general.file_type"]])
	arch := g.texts["general.architecture"]
	rest := 0
	for _, key := range slices.Sorted(maps.Keys(g.texts)) {
		v := g.texts[key]
		switch {
		case len(f.entity.Attributes) > maxAttributes:
			rest++
		case key == "general.description":
			f.entity.Description = strings.ToValidUTF8(v, "\uFFFD")
		case strings.HasPrefix(key, "general.") && len(key) < 80, strings.HasPrefix(key, "adapter."), strings.HasPrefix(key, "split."),
			strings.HasPrefix(key, "quantize.imatrix."), key == "tokenizer.ggml.model", arch != "" && key == arch+".context_length":
			f.attr(key, v)
		default:
			rest++
		}
	}
	for _, key := range []string{"general.tags", "general.languages", "general.datasets"} {
		f.attr(key, strings.Join(g.lists[key], ", "))
	}
	if n := rest + len(g.lists); n > 0 {
		f.note("kept in the evidence only: %d keys, of the architecture and the tokenizer among them", n)
	}
	f.entity.Licence = strings.ToValidUTF8(firstOf(g.texts["general.license"], g.texts["general.license.name"]), "\uFFFD")
	if f.entity.Licence == "other" {
		f.entity.Licence = firstOf(strings.ToValidUTF8(g.texts["general.license.name"], "\uFFFD"), "other")
	}
	g.sources()
}

// sources reads what the model was made of.
func (g *gguf) sources() {
	f := g.f
	base := "base_model"
	if g.texts["general.type"] == "adapter" {
		base = "adapter"
	}
	g.numbered(prov.Model, "general.base_model.", base)
	g.numbered(prov.Dataset, "general.dataset.", "trained-on")
	for _, s := range g.lists["general.datasets"] {
		f.source(prov.Dataset, s, "trained-on", "general.datasets")
	}
	for _, key := range []string{"general.source.repo_url", "general.source.huggingface.repository", "general.source.hugginface.repository", "general.source.url"} {
		if s := g.texts[key]; s != "" {
			f.source(prov.Model, s, "converted", key)
			break
		}
	}
	if s := g.texts["quantize.imatrix.dataset"]; s != "" {
		f.source(prov.Dataset, s, "calibrated-with", "quantize.imatrix.dataset")
	}
}

// numbered reads general.base_model.{n}. and general.dataset.{n}.: by the URL
// of the repository, else the URL of the homepage, else by name.
func (g *gguf) numbered(kind prov.Kind, prefix, how string) {
	count, err := strconv.Atoi(g.texts[prefix+"count"])
	if err != nil || count < 0 {
		count = 0
	}
	for i := range min(count, 500) {
		at := prefix + strconv.Itoa(i) + "."
		if url := firstOf(g.texts[at+"repo_url"], g.texts[at+"url"]); url != "" {
			g.f.source(kind, url, how, at+"repo_url")
			continue
		}
		name := rawjson.Clip(strings.ToValidUTF8(g.texts[at+"name"], "\uFFFD"), 400)
		if name == "" {
			continue
		}
		if org := g.texts[at+"organization"]; org != "" {
			name = rawjson.Clip(strings.ToValidUTF8(org, "\uFFFD"), 400) + "/" + name
		}
		r := prov.Ref{Kind: kind, Name: name, Version: "named-in:" + g.f.keptSum()[:16]}
		g.f.note("%s has no URL; the name counts within this file only", at+"name")
		g.f.add(statement.DerivedInput{Resource: statement.NewResource(r, nil), Transformation: how})
	}
}
