package weights

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/importertest"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// safetensors writes a file with the header and so many bytes of tensors.
func safetensors(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

const oneTensor = `"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}`

// ggufFile writes a GGUF file.
type ggufFile struct {
	order   binary.AppendByteOrder
	version uint32
	pairs   []byte
	n       uint64
	tensors []byte
	nt      uint64
	data    int
}

func newGGUF(version uint32, order binary.AppendByteOrder) *ggufFile {
	return &ggufFile{order: order, version: version}
}

func (g *ggufFile) length(b []byte, n uint64) []byte {
	if g.version == 1 {
		return g.order.AppendUint32(b, uint32(n))
	}
	return g.order.AppendUint64(b, n)
}

func (g *ggufFile) text(b []byte, s string) []byte { return append(g.length(b, uint64(len(s))), s...) }

func (g *ggufFile) put(key string, value any) *ggufFile {
	g.n++
	g.pairs = g.text(g.pairs, key)
	switch v := value.(type) {
	case string:
		g.pairs = g.text(g.order.AppendUint32(g.pairs, 8), v)
	case uint32:
		g.pairs = g.order.AppendUint32(g.order.AppendUint32(g.pairs, 4), v)
	case bool:
		g.pairs = append(g.order.AppendUint32(g.pairs, 7), 1)
	case []string:
		g.pairs = g.length(g.order.AppendUint32(g.order.AppendUint32(g.pairs, 9), 8), uint64(len(v)))
		for _, s := range v {
			g.pairs = g.text(g.pairs, s)
		}
	case []float32:
		g.pairs = g.length(g.order.AppendUint32(g.order.AppendUint32(g.pairs, 9), 6), uint64(len(v)))
		g.pairs = append(g.pairs, make([]byte, 4*len(v))...)
	}
	return g
}

func (g *ggufFile) tensor(name string, typ uint32, bytes int, dims ...uint64) *ggufFile {
	g.nt++
	g.tensors = g.order.AppendUint32(g.text(g.tensors, name), uint32(len(dims)))
	for _, d := range dims {
		g.tensors = g.length(g.tensors, d)
	}
	g.tensors = g.order.AppendUint64(g.order.AppendUint32(g.tensors, typ), uint64(g.data))
	g.data += bytes
	return g
}

func (g *ggufFile) bytes() []byte {
	b := g.order.AppendUint32([]byte("GGUF"), g.version)
	b = append(append(g.length(g.length(b, g.nt), g.n), g.pairs...), g.tensors...)
	for len(b)%32 != 0 {
		b = append(b, 0)
	}
	return append(b, make([]byte, g.data)...)
}

func quantized(version uint32, order binary.AppendByteOrder) []byte {
	return newGGUF(version, order).
		put("general.architecture", "llama").put("general.name", "Fraud 8B").put("general.type", "model").
		put("general.license", "llama3.1").put("general.quantized_by", "acme").put("general.file_type", uint32(15)).
		put("general.quantization_version", uint32(2)).put("general.base_model.count", uint32(2)).
		put("general.base_model.0.name", "Llama 3.1 8B").put("general.base_model.0.organization", "Meta Llama").
		put("general.base_model.0.repo_url", "https://huggingface.co/meta-llama/Llama-3.1-8B").
		put("general.base_model.1.name", "Other").put("general.base_model.1.organization", "Acme").
		put("general.dataset.count", uint32(1)).put("general.dataset.0.repo_url", "https://huggingface.co/datasets/acme/transactions").
		put("general.datasets", []string{"acme/chargebacks"}).put("general.tags", []string{"fraud", "text"}).
		put("general.source.repo_url", "https://huggingface.co/acme/fraud-8b").
		put("quantize.imatrix.dataset", "/training/calibration.txt").
		put("llama.context_length", uint32(8192)).put("llama.rope.scaling", true).
		put("tokenizer.ggml.model", "gpt2").put("tokenizer.ggml.tokens", []string{"a", "b"}).put("tokenizer.ggml.scores", []float32{1, 2}).
		put("tokenizer.chat_template", "{{ token='abcdefgh1234' }}").
		tensor("blk.0.w", 12, 144, 256).tensor("blk.0.b", 0, 32, 4, 2).bytes()
}

const kohya = `{"__metadata__":{"format":"pt","modelspec.title":"tx","modelspec.architecture":"stable-diffusion-v1/lora","modelspec.license":"CreativeML Open RAIL",
"modelspec.merged_from":"acme/a, acme/b","ss_network_module":"networks.lora","ss_sd_model_name":"v1-5.safetensors",
"ss_new_sd_model_hash":"6ce0161689b3853acaa03779ec93eafe75a02f4ced659bee03f50797806fa2fa","ss_vae_name":"None","ss_session_id":"123",
"ss_dataset_dirs":"{\"10_tx\": {\"n_repeats\": 10, \"img_count\": 20}}","ss_training_started_at":"1690000000.5","ss_other":"x"},` + oneTensor + `}   `

func inputs() []struct {
	name string
	data []byte
} {
	type in = struct {
		name string
		data []byte
	}
	zip := "PK\x03\x04\x00\x00\x08\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00archive/data.pkl"
	swapped := newGGUF(3, binary.LittleEndian).put("general.name", "x").bytes()
	copy(swapped, "GGML")
	return []in{
		{"plain/model.safetensors", safetensors(`{"__metadata__":{"format":"pt"},`+oneTensor+`}`, 24)},
		{"hub/models--acme--fraud/snapshots/beef/model-00001-of-00002.safetensors", safetensors(`{`+oneTensor+`}`, 24)},
		{"card/adapter_model.safetensors", safetensors(`{`+oneTensor+`}`, 24)},
		{"lora.safetensors", safetensors(kohya, 24)},
		{"secret.safetensors", safetensors(`{"__metadata__":{"hf_token":"hunter22222"},`+oneTensor+`}`, 24)},
		{"none.safetensors", safetensors(`{}`, 0)},
		{"newtype.safetensors", safetensors(`{"a":{"dtype":"F2","shape":[8],"data_offsets":[0,2]}}`, 2)},
		{"short.safetensors", safetensors(`{`+oneTensor+`}`, 20)},
		{"long.safetensors", safetensors(`{`+oneTensor+`}`, 25)},
		{"hole.safetensors", safetensors(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}`, 4)},
		{"overlap.safetensors", safetensors(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, 3)},
		{"shape.safetensors", safetensors(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,2]}}`, 2)},
		{"overflow.safetensors", safetensors(`{"a":{"dtype":"F32","shape":[9223372036854775807,9223372036854775807],"data_offsets":[0,2]}}`, 2)},
		{"negative.safetensors", safetensors(`{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,2]}}`, 2)},
		{"twice.safetensors", safetensors(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1)},
		{"cut.safetensors", safetensors(`{`+oneTensor+`}`, 24)[:40]},
		{"huge.safetensors", binary.LittleEndian.AppendUint64(nil, 1<<62)},
		{"html.safetensors", []byte("<!doctype html><html>no such file</html>")},
		{"pointer.safetensors", []byte(pointerHead + "oid sha256:6ce0161689b3853acaa03779ec93eafe75a02f4ced659bee03f50797806fa2fa\nsize 4265146304\n")},
		{"badpointer.safetensors", []byte(pointerHead + "oid md5:00\n")},
		{"fraud.Q4_K_M.gguf", quantized(3, binary.LittleEndian)},
		{"fraud-v2.gguf", newGGUF(2, binary.LittleEndian).put("general.name", "two").put("general.type", "adapter").put("general.base_model.count", uint32(1)).put("general.base_model.0.repo_url", "https://huggingface.co/a/b").bytes()},
		{"fraud-v1.gguf", newGGUF(1, binary.LittleEndian).put("general.name", "one").put("general.source.hugginface.repository", "acme/fraud").tensor("t", 1, 4, 2).bytes()},
		{"fraud-be.gguf", newGGUF(3, binary.BigEndian).put("general.name", "big").tensor("t", 0, 8, 2).bytes()},
		{"fraud-cut.gguf", quantized(3, binary.LittleEndian)[:700]},
		{"fraud-short.gguf", quantized(3, binary.LittleEndian)[:len(quantized(3, binary.LittleEndian))-8]},
		{"fraud-v9.gguf", newGGUF(9, binary.LittleEndian).bytes()},
		{"twice.gguf", newGGUF(3, binary.LittleEndian).put("a", "1").put("a", "2").bytes()},
		{"long.gguf", append([]byte("GGUF\x03\x00\x00\x00"), bytes.Repeat([]byte{0, 0, 0, 0, 0, 0, 0, 0x40}, 4)...)},
		{"longkey.gguf", append([]byte("GGUF\x03\x00\x00\x00"), append(make([]byte, 8), append([]byte{1, 0, 0, 0, 0, 0, 0, 0}, bytes.Repeat([]byte{0xff}, 16)...)...)...)},
		{"old.gguf", swapped},
		{"pytorch_model.bin", []byte(zip)},
		{"training_args.bin", []byte(zip)},
		{"legacy.pt", append(append([]byte(nil), torchLegacy...), 1, 2, 3)},
		{"sk.pkl", []byte("\x80\x04\x95\x10\x00")},
		{"sk.joblib", []byte("\x78\x9c\x00")},
		{"data.bin", []byte("just bytes")},
		{"a.zip", []byte("PK\x03\x04 nothing")},
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	card := filepath.Join(dir, "card", "README.md")
	if err := os.MkdirAll(filepath.Dir(card), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(card, []byte("---\nbase_model: acme/x\nmodel-index:\n- name: acme/fraud-lora\n---\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, in := range inputs() {
		p := filepath.Join(dir, filepath.FromSlash(in.name))
		fmt.Fprintf(&b, "%s: ", in.name)
		h := importer.NewHead(filepath.ToSlash(p), int64(len(in.data)), in.data)
		if !(Importer{}).Recognise(h) {
			b.WriteString("not recognised\n")
			continue
		}
		for _, it := range importertest.Read(t, Importer{}, p, in.data) {
			importertest.Show(&b, it)
		}
	}
	golden(t, "testdata/files.txt", b.String())
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -rewrite writes it anew):\n%s", path, diff)
	}
}

// TestSecrets shows that a secret in a header is in no evidence, and that what
// is kept of a GGUF file can be read as a header again.
func TestSecrets(t *testing.T) {
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		for _, version := range []uint32{2, 3} {
			it := importertest.Read(t, Importer{}, "x.gguf", quantized(version, order))[0]
			if bytes.Contains(it.Evidence, []byte("abcdefgh1234")) || !bytes.Contains(it.Evidence, []byte("[redacted]")) {
				t.Fatalf("the evidence holds the secret: %q", it.Evidence)
			}
			again := append(append([]byte(nil), it.Evidence...), make([]byte, 1024)...)
			if it := importertest.Read(t, Importer{}, "x.gguf", again)[0]; it.Refusal != nil {
				t.Fatalf("what is kept is refused: %v", it.Refusal)
			}
		}
	}
}

// TestLarge reads a file that is far larger than its header.
func TestLarge(t *testing.T) {
	const size = 64 << 20
	head := safetensors(fmt.Sprintf(`{"a":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}`, size, size), 0)
	n := 0
	for it, err := range (Importer{}).Read(importer.Source{Name: "big.safetensors", R: io.MultiReader(bytes.NewReader(head), io.LimitReader(zeros{}, size))}) {
		if err != nil || it.Refusal != nil {
			t.Fatal(err, it.Refusal)
		}
		if n++; it.Bytes != size+int64(len(head)) || len(it.Evidence) > 1000 {
			t.Fatalf("%d bytes read, %d kept", it.Bytes, len(it.Evidence))
		}
	}
	if n != 1 {
		t.Fatal(n, "Items")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, os.ErrPermission }

func TestReadError(t *testing.T) {
	for _, n := range []int{0, 4, 600, 1100} {
		data := safetensors(`{`+oneTensor+strings.Repeat(" ", 800)+`}`, 24)
		data = data[:min(n, len(data)-1)]
		failed := false
		for _, err := range (Importer{}).Read(importer.Source{Name: "x.safetensors", R: io.MultiReader(bytes.NewReader(data), failing{})}) {
			failed = err != nil
		}
		if !failed {
			t.Errorf("after %d bytes the error of the reader is lost", n)
		}
	}
}

func TestClaimed(t *testing.T) {
	if diff := cmp.Diff([]string(nil), importertest.Claimed(t, Importer{})); diff != "" {
		t.Errorf("files of other formats are recognised: %s", diff)
	}
}

func FuzzRead(f *testing.F) {
	for _, in := range inputs() {
		f.Add(filepath.Base(in.name), in.data)
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		if strings.ContainsAny(name, "/\\\x00") || len(name) > 100 {
			return
		}
		_ = Importer{}.Recognise(importer.NewHead(name, int64(len(data)), data))
		first := importertest.Read(t, Importer{}, name, data)
		if diff := cmp.Diff(first, importertest.Read(t, Importer{}, name, data)); diff != "" {
			t.Fatalf("reading twice differs:\n%s", diff)
		}
		if r := first[0].Refusal; r == nil && first[0].Bytes != int64(len(data)) {
			t.Fatalf("%d of %d bytes are accounted for", first[0].Bytes, len(data))
		}
	})
}

func BenchmarkRead(b *testing.B) {
	data := safetensors(`{"a":{"dtype":"U8","shape":[16777216],"data_offsets":[0,16777216]}}`, 16<<20)
	rand.New(rand.NewSource(1)).Read(data[len(data)-1<<20:])
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		for range (Importer{}).Read(importer.Source{Name: "x.safetensors", R: bytes.NewReader(data)}) {
		}
	}
}
