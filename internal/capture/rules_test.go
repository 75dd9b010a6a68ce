package capture

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRules(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, IgnoreFile), []byte("# ours\n*.bak\n/raw/\n!raw/keep.csv\nlogs/**/*.txt\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := newSurroundings(dir, []string{"HOME=/home/ann", "XDG_CACHE_HOME=/scratch/ann/cache", "TMPDIR=/scratch/ann/tmp", "STEMMA_CONFIG=/keys", "CONDA_PREFIX=/envs/ml"})
	s.workspace = "/home/ann/fraud"
	for _, c := range []struct{ path, rule string }{
		{"/home/ann/fraud/data/train.csv", "workspace"},
		{"/home/ann/fraud/x.bak", "ignore-file"},
		{"/home/ann/fraud/a/b/x.bak", "ignore-file"},
		{"/home/ann/fraud/raw/keep.csv", "ignore-file"}, // the folder is left out
		{"/home/ann/fraud/sub/raw/a.csv", "workspace"},
		{"/home/ann/fraud/logs/a/b.txt", "ignore-file"},
		{"/home/ann/fraud/.stemma/log.db", "stemma"},
		{"/keys/keys/default.key", "stemma"},
		{"/home/ann/fraud/.git/HEAD", "version-control"},
		{"/home/ann/fraud/.gitignore", "workspace"},
		{"/home/ann/fraud/.venv/lib/python3.12/site-packages/numpy/__init__.py", "python"},
		{"/home/ann/fraud/.venv/pyvenv.cfg", "python"},
		{"/home/ann/fraud/src/__pycache__/a.cpython-312.pyc", "bytecode"},
		{"/home/ann/fraud/lib/python_utils.py", "workspace"},
		{"/home/ann/fraud/.env", "secret-file"},
		{"/home/ann/fraud/.env.example", "workspace"},
		{"/home/ann/fraud/certs/server.key", "secret-file"},
		{"/home/ann/.ssh/id_ed25519", "secret-file"},
		{"/home/ann/.ssh/known_hosts", "settings"},
		{"/home/ann/.aws/credentials", "secret-file"},
		{"/home/ann/.cache/huggingface/token", "secret-file"},
		{"/usr/lib/python3/dist-packages/certifi/cacert.pem", "python"},
		{"/etc/ssl/private/x.pem", "system"},
		{"/proc/1/status", "kernel"},
		{"/dev/shm/block", "scratch"},
		{"/run/secrets/db", "kernel"},
		{"/usr/lib/x86_64-linux-gnu/libc.so.6", "system"},
		{"/data/libfoo.so.1.2", "library"},
		{"/nix/store/abc-glibc/lib/libm.so", "system"},
		{"/opt/cuda/lib/libcudart.so", "system"},
		{"/opt/data/train.csv", "counts"},
		{"/mnt/lake/tx.parquet", "counts"},
		{"/home/ann/other/tx.csv", "counts"},
		{"/home/ann/.gitconfig", "settings"},
		{"/var/lib/x", "settings"},
		{"/scratch/ann/tmp/x", "scratch"},
		{"/scratch/ann/cache/pip/x", "cache"},
		{"/home/ann/.cache/torch/hub/checkpoints/resnet.pth", "weights-in-cache"},
		{"/home/ann/.keras/models/vgg.h5", "weights-in-cache"},
		{"/envs/ml/bin/x", "packages"},
		{"/home/ann/go/pkg/mod/x@v1/y.go", "packages"},
		{"/home/ann/.cache/huggingface/hub/models--a--b/snapshots/0123/config.json", "hub"},
		{"/home/ann/.cache/huggingface/hub/models--a--b/blobs/0123", "hub-own"},
		{"/mnt/hub/datasets--c/snapshots/77/data/x.parquet", "hub"},
		{"/home/ann/fraud/.pytest_cache/x", "tool-cache"},
		{"/home/ann/fraud/node_modules/a/b.js", "packages"},
	} {
		if got := s.place(c.path).rule().Name; got != c.rule {
			t.Errorf("%s: rule %s, want %s", c.path, got, c.rule)
		}
	}
}

// Every rule says why; names are unique, so that they can be looked up.
func TestRulesSayWhy(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Rules {
		if r.Name == "" || r.Why == "" || seen[r.Name] || Reasons[r.Name] != "" {
			t.Errorf("rule %q: no reason, or its name stands for another", r.Name)
		}
		seen[r.Name] = true
	}
}

// A workspace may itself lie where rules fold.
func TestWorkspaceAnywhere(t *testing.T) {
	for _, w := range []string{"/tmp/x", "/usr/src/x", "/home/ann/.cache/x", "/var/lib/jenkins/w", "/opt/lib/x/y"} {
		s := newSurroundings("/", []string{"HOME=/home/ann"})
		s.workspace = w
		if got := s.place(w + "/train.csv").rule(); got.Class != Input {
			t.Errorf("in %s: %s", w, got.Name)
		}
	}
}

// A workspace that is the home directory, or all, folds what it would fold
// elsewhere.
func TestWideWorkspace(t *testing.T) {
	for _, w := range []string{"/home/ann", "/", "/home"} {
		s := newSurroundings("/", []string{"HOME=/home/ann"})
		s.workspace = w
		for p, want := range map[string]string{"/home/ann/.bashrc": "settings", "/home/ann/.npm/x": "cache", "/home/ann/fraud/train.py": "workspace", "/home/ann/.cache/x.safetensors": "weights-in-cache"} {
			if got := s.place(p).rule().Name; got != want {
				t.Errorf("workspace %s: %s: rule %s, want %s", w, p, got, want)
			}
		}
	}
	s := newSurroundings("/", []string{"HOME=/root"})
	for p, want := range map[string]string{"/usr/lib/x": "system", "/app/train.py": "workspace", "/tmp/x": "scratch", "/data/x.csv": "workspace"} {
		if got := s.place(p).rule().Name; got != want {
			t.Errorf("workspace /: %s: rule %s, want %s", p, got, want)
		}
	}
}

func TestRecognise(t *testing.T) {
	var got []string
	for _, p := range []string{"data/train.csv.gz", "m/fraud.safetensors", "m/model.json", "out/model_config.json", "metrics.csv", "eval/results.json", "a.bin", "pytorch_model-00001-of-00002.bin",
		"adapter_model.bin", "x.h5", "weights.h5", "train.py", "Makefile", "conf/a.yaml", "prompts/system.md", "README.md", "img/1.JPG", "x.pkl", "a/model_card.md", "tokenizer.json", "x"} {
		k, role := recognise(p)
		got = append(got, p+": "+string(k)+" "+role)
	}
	want := strings.Split(`data/train.csv.gz: dataset dataset
m/fraud.safetensors: model model
m/model.json: model model
out/model_config.json: file config
metrics.csv: file metrics
eval/results.json: file metrics
a.bin: file 
pytorch_model-00001-of-00002.bin: model model
adapter_model.bin: model model
x.h5: dataset dataset
weights.h5: model model
train.py: file script
Makefile: file script
conf/a.yaml: file config
prompts/system.md: file prompt
README.md: file data
img/1.JPG: file data
x.pkl: model model
a/model_card.md: file data
tokenizer.json: file config
x: file `, "\n")
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

func TestRedact(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"train.py|--epochs|3", "train.py|--epochs|3"},
		{"x|--password|hunter2|--lr|0.1", "x|--password|[redacted]|--lr|0.1"},
		{"x|--db-password=hunter2", "x|--db-password=[redacted]"},
		{"x|--api-key|k|-v", "x|--api-key|[redacted]|-v"},
		{"x|--hf_token|abc", "x|--hf_token|[redacted]"},
		{"x|--tokenizer|bert", "x|--tokenizer|bert"},
		{"x|--max-tokens|512", "x|--max-tokens|512"},
		{"curl|-u|ann:pw|https://x", "curl|-u|[redacted]|https://x"},
		{"python|-u|a:b", "python|-u|a:b"},
		{"x|https://ann:pw@host/p", "x|https://[redacted]@host/p"},
		{"sh|-c|PASSWORD=x cmd --secret 'a b' --n 1", "sh|-c|PASSWORD=[redacted] cmd --secret [redacted] --n 1"},
		{"x|-H|Authorization: Bearer abcdefghijklmnop1234", "x|-H|Authorization: Bearer [redacted]"},
		{"x|ghp_0123456789abcdefghij", "x|[redacted]"},
		{"x|q7Zr2mXv9LtB4kWc8NsH1yGd6PfJ3aEu", "x|[redacted]"},
		{"x|--run=q7Zr2mXv9LtB4kWc8NsH1yGd6PfJ3aEu", "x|[redacted]"},
		{"x|9fa31c2b9fa31c2b9fa31c2b9fa31c2b9fa31c2b", "x|9fa31c2b9fa31c2b9fa31c2b9fa31c2b9fa31c2b"},
		{"x|/data/Models/LlamaThree70BInstructFineTuned2026", "x|/data/Models/LlamaThree70BInstructFineTuned2026"},
	} {
		if got := strings.Join(Redact(strings.Split(c.in, "|")), "|"); got != c.want {
			t.Errorf("%s\n gives %s\n want %s", c.in, got, c.want)
		}
	}
	if got := Redact(nil); len(got) != 0 {
		t.Errorf("nothing gives %q", got)
	}
}

func TestBareURL(t *testing.T) {
	for in, want := range map[string]string{
		"https://ann:pw@github.com/o/r.git?x=1": "https://github.com/o/r.git",
		"git@github.com:o/r.git":                "ssh://github.com/o/r.git",
		"ssh://git@host:22/o/r":                 "ssh://host:22/o/r",
		"/srv/git/r":                            "/srv/git/r",
		"../r":                                  "../r",
	} {
		if got := bareURL(in); got != want {
			t.Errorf("%s gives %s, want %s", in, got, want)
		}
	}
}

func TestHub(t *testing.T) {
	for p, want := range map[string]string{
		"/c/hub/models--org--name/snapshots/abc/config.json":     "model:huggingface.co/org/name@abc",
		"/c/hub/models--bert-base/snapshots/abc/a/b.safetensors": "model:huggingface.co/bert-base@abc",
		"/c/hub/datasets--o--d/snapshots/r1/data/x.parquet":      "dataset:huggingface.co/o/d@r1",
		"models--o--n/snapshots/r/x":                             "model:huggingface.co/o/n@r",
	} {
		if got := hubOf(p); got.file == "" || got.ref().String() != want {
			t.Errorf("%s gives %+v, want %s", p, got, want)
		}
	}
	for _, p := range []string{"/c/hub/models--o--n/blobs/x", "/x/my-models--x.csv", "/c/models--", "/data/train.csv"} {
		if got := hubOf(p); got.file != "" {
			t.Errorf("%s gives %+v", p, got)
		}
	}
}
