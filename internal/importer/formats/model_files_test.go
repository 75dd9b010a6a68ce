package formats

import (
	"testing"

	"github.com/stemma-lineage/stemma/internal/importer"
)

// TestModelFiles shows which importer is the first to claim a file of a model
// repository or a DVC project.
func TestModelFiles(t *testing.T) {
	for _, c := range []struct{ path, text, want string }{
		{"m/README.md", "---\nbase_model: a/b\n---\n# X\n", "huggingface"},
		{"m/config.json", `{"architectures":["BertModel"],"model_type":"bert","transformers_version":"4.30.0"}`, "huggingface"},
		{"m/adapter_config.json", `{"base_model_name_or_path":"a/b","peft_type":"LORA"}`, "huggingface"},
		{"m/model_index.json", `{"_class_name":"X","_diffusers_version":"0.21.0"}`, "huggingface"},
		{"m/tokenizer.json", `{"version":"1.0","added_tokens":[],"pre_tokenizer":null}`, "huggingface"},
		{"m/model.safetensors", "\x02\x00\x00\x00\x00\x00\x00\x00{}", "weights"},
		{"m/model.gguf", "GGUF\x03\x00\x00\x00", "weights"},
		{"m/model.pkl", "\x80\x04K\x01.", "weights"},
		{"m/model.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "weights"},
		{"p/dvc.lock", "schema: '2.0'\nstages: {}\n", "dvc"},
		{"p/dvc.yaml", "stages:\n  a:\n    cmd: x\n", "dvc"},
		{"p/data.csv.dvc", "outs:\n- path: data.csv\n", "dvc"},
		{"p/README.md", "# A project\n", ""},
		{"p/config.json", `{"a":1}`, ""},
	} {
		got := ""
		h := importer.NewHead(c.path, int64(len(c.text)), []byte(c.text))
		for _, im := range All(Options{}) {
			if im.Recognise(h) {
				got = im.Name()
				break
			}
		}
		if got != c.want {
			t.Errorf("%s is claimed by %q, not by %q", c.path, got, c.want)
		}
	}
}
