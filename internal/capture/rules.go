package capture

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/git-pkgs/gitignore"
)

// Class is what a path comes to in the end.
type Class string

// The classes. Inputs and outputs are in the statement; all others are folded
// and listed in the evidence with the rule that decided.
const (
	Input       Class = "input"
	Output      Class = "output"
	Both        Class = "input and output"
	ProgramFile Class = "program"     // of the system or an environment
	Environment Class = "environment" // libraries, told as one thing
	Cache       Class = "cache"
	Temporary   Class = "temporary"
	Device      Class = "device"
	Outside     Class = "outside" // settings of the user or the machine
	Secret      Class = "secret"  // told by name, neither read nor hashed
	Ignored     Class = "ignored"
	Absent      Class = "absent" // looked for, not found
	Removed     Class = "removed"
	Folder      Class = "folder"
)

// Rule decides by a path alone what class it is of. Those that give Input say
// that a path counts for what was done to it: read, written, or both.
type Rule struct {
	Name  string
	Class Class
	Why   string
	match func(p *place) bool
}

// Rules are asked in order; the first that matches decides. Counts is the
// last one and matches all.
var Rules = []Rule{
	{"kernel", Device, "of the kernel or a device: no content that lasts",
		func(p *place) bool { return kernel(p.path) || within(p.path, "/run") }},
	{"stemma", Ignored, "Stemma itself and its own files",
		func(p *place) bool { return p.part(".stemma") || p.in(p.home.stemma...) }},
	{"ignore-file", Ignored, "named in .stemmaignore",
		func(p *place) bool { return p.rel != "" && p.home.ignored(p.rel) != "" }},
	{"secret-file", Secret, "its name says that it holds secrets: a digest of it could be guessed from, so it is neither read nor hashed, and recorded as a credential by name",
		func(p *place) bool { return secretFile(p.path) }},
	{"hub", Input, "a snapshot in a Hugging Face cache: recorded as the repository at its revision",
		func(p *place) bool { return p.hub.file != "" }},
	{"hub-own", Cache, "how a Hugging Face cache keeps itself",
		func(p *place) bool { return p.hub.repo != "" || p.part("huggingface") && p.part(".locks") }},
	{"version-control", Cache, "version control's own files; the revision is recorded instead",
		func(p *place) bool { return p.part(".git") || p.part(".hg") || p.part(".svn") || p.part(".jj") }},
	{"bytecode", Cache, "compiled from a source that is recorded itself",
		func(p *place) bool { return p.part("__pycache__") || p.ext == ".pyc" || p.ext == ".pyo" }},
	{"python", Environment, "of a Python installation: recorded as one environment, with the digest of each distribution",
		func(p *place) bool {
			return pythonPath().MatchString(p.path) || p.base == "pyvenv.cfg" || p.part(".pyenv")
		}},
	{"packages", Environment, "installed by a package manager",
		func(p *place) bool {
			return p.part("node_modules") || p.part("conda-meta") || p.under("~/.julia/packages", "~/.julia/artifacts", "~/R", "~/.cargo/registry", "~/.rustup", "~/.gem", "~/.m2/repository", "~/go/pkg/mod") || p.in(p.home.modules...)
		}},
	{"tool-cache", Cache, "what a tool of the workspace keeps for itself",
		func(p *place) bool {
			return slices.ContainsFunc([]string{".mypy_cache", ".pytest_cache", ".ruff_cache", ".ipynb_checkpoints", ".tox", ".nox", ".cache", ".gradle", ".DS_Store"}, p.part) && p.rel != "" && !p.weights()
		}},
	{"workspace", Input, "in the workspace",
		func(p *place) bool {
			return p.rel != "" && !(p.home.wide() && (p.hidden() || p.cached() || systemPath(p.path) || p.in(p.home.temps...)))
		}},
	{"weights-in-cache", Input, "weights or data out of a cache are an input all the same",
		func(p *place) bool { return p.weights() && (p.cached() || p.hidden()) }},
	{"cache", Cache, "in a cache directory", func(p *place) bool { return p.cached() }},
	{"system", Environment, "of the operating system",
		func(p *place) bool { return systemPath(p.path) }},
	{"library", Environment, "a shared library outside of the workspace",
		func(p *place) bool { return sharedLibrary().MatchString(p.base) }},
	{"scratch", Temporary, "in a folder for temporary files",
		func(p *place) bool { return p.in(p.home.temps...) }},
	{"settings", Outside, "settings of the user or the machine",
		func(p *place) bool { return p.hidden() || within(p.path, "/var") }},
	{"counts", Input, "a file like any other", func(*place) bool { return true }},
}

var (
	pythonPath    = lazily(`/(site-packages|dist-packages)(/|$)|/lib(64)?/(python|pypy)\d[^/]*(/|\.zip|$)`)
	sharedLibrary = lazily(`\.(so(\.[0-9.]+)?|dylib|dll)$`)
	secretNames   = lazily(`(?i)^(\.env(\..+)?|\.netrc|_netrc|\.pgpass|\.pypirc|\.npmrc|\.git-credentials|\.htpasswd|id_(rsa|dsa|ecdsa|ed25519)(_sk)?|.*\.(pem|key|p12|pfx|jks|keystore|kdbx)|credentials(\.json|\.db)?|application_default_credentials\.json|service[_-]?account.*\.json|client_secret.*\.json|kaggle\.json|secrets?\.(ya?ml|json|toml|env))$`)
	secretPlaces  = lazily(`/(\.aws/credentials|\.docker/config\.json|\.kube/config|huggingface/(token|stored_tokens)|\.config/gh/hosts\.yml|\.ssh/[^/]*|secrets/kubernetes\.io/.*|run/secrets/.*)$`)
	notSecret     = lazily(`(?i)(\.(example|sample|template|dist)|\.pub|/known_hosts|/\.ssh/config|authorized_keys|/cacert\.pem|cert\.pem|/certs/.*\.pem|ca-certificates.*)$`)
)

func secretFile(p string) bool {
	return (secretNames().MatchString(path.Base(p)) || secretPlaces().MatchString(p)) && !notSecret().MatchString(p) && !within(p, "/etc/ssl") && !within(p, "/usr")
}

// within tells whether path is dir or lies below it.
func within(path, dir string) bool {
	return dir != "" && (path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/"))
}

var systemDirs = []string{"/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin", "/etc", "/boot", "/nix/store", "/gnu/store", "/snap", "/opt/conda", "/opt/homebrew", "/System", "/Library", "/Applications", "/private/etc", "/private/var/db"}

func systemPath(p string) bool {
	for _, d := range systemDirs {
		if within(p, d) {
			return true
		}
	}
	rest, ok := strings.CutPrefix(p, "/opt/")
	return ok && (strings.Contains(rest, "/lib/") || strings.Contains(rest, "/bin/") || strings.Contains(rest, "/share/"))
}

// surroundings are the folders that rules speak of.
type surroundings struct {
	workspace string // absolute, links resolved
	user      string // the home directory
	caches    []string
	temps     []string
	modules   []string
	stemma    []string
	self      string // the program that runs now
	ignore    *gitignore.Matcher
}

// wide tells whether the workspace holds the home directory, or everything:
// then hidden, system and temporary files in it are what they are elsewhere.
func (s *surroundings) wide() bool {
	return s.workspace == "/" || s.user != "" && within(s.user, s.workspace)
}

// newSurroundings reads the environment that the command is given.
func newSurroundings(workspace string, env []string) *surroundings {
	get := func(name string) string {
		for i := len(env) - 1; i >= 0; i-- {
			if v, ok := strings.CutPrefix(env[i], name+"="); ok {
				return v
			}
		}
		return ""
	}
	s := &surroundings{workspace: real(workspace)}
	if s.user = get("HOME"); s.user != "" {
		s.user = real(s.user)
	}
	add := func(list *[]string, dirs ...string) {
		for _, d := range dirs {
			if d = strings.TrimSpace(d); filepath.IsAbs(d) {
				*list = append(*list, filepath.Clean(d))
				if r := real(d); r != filepath.Clean(d) {
					*list = append(*list, r)
				}
			}
		}
	}
	home := func(p string) string {
		if s.user == "" || s.user == "/" {
			return ""
		}
		return filepath.Join(s.user, p)
	}
	add(&s.caches, home(".cache"), get("XDG_CACHE_HOME"), get("PIP_CACHE_DIR"), get("GOCACHE"), get("CCACHE_DIR"), home(".npm"), home(".ccache"),
		get("TORCH_HOME"), get("HF_HOME"), get("TRITON_CACHE_DIR"), get("NUMBA_CACHE_DIR"), get("MPLCONFIGDIR"), home("Library/Caches"), "/var/cache")
	add(&s.temps, get("TMPDIR"), os.TempDir(), "/tmp", "/var/tmp", "/dev/shm")
	add(&s.modules, get("GOMODCACHE"), get("CONDA_PREFIX"), get("VIRTUAL_ENV"), get("GOROOT"))
	add(&s.stemma, get("STEMMA_CONFIG"), home(".config/stemma"))
	if self, err := os.Executable(); err == nil {
		s.self = real(self)
		add(&s.stemma, self)
	}
	if b, err := os.ReadFile(filepath.Join(workspace, IgnoreFile)); err == nil && len(b) <= 1<<20 {
		s.ignore = &gitignore.Matcher{}
		s.ignore.AddPatterns(b, "")
	}
	return s
}

// IgnoreFile is the file of the workspace that names what is not recorded, in
// the syntax of gitignore.
const IgnoreFile = ".stemmaignore"

// ignored gives the line of the ignore file that leaves the path out, or "".
// A file in a folder that is left out cannot be taken in again, as in git.
func (s *surroundings) ignored(rel string) string {
	if s.ignore == nil {
		return ""
	}
	for i := 0; i < len(rel); i++ {
		if rel[i] == '/' {
			if m := s.ignore.MatchDetail(rel[:i+1]); m.Ignored {
				return m.Pattern
			}
		}
	}
	if m := s.ignore.MatchDetail(rel); m.Ignored {
		return m.Pattern
	}
	return ""
}

func real(p string) string {
	if r, err := filepath.EvalSymlinks(p); err == nil {
		return r
	}
	return filepath.Clean(p)
}

// place is a path as rules see it.
type place struct {
	path, base, ext string
	rel             string // below the workspace, with '/', else ""
	hub             hubPath
	home            *surroundings
}

func (s *surroundings) place(p string) *place {
	x := &place{path: filepath.ToSlash(p), home: s, hub: hubOf(filepath.ToSlash(p))}
	x.base = path.Base(x.path)
	x.ext = strings.ToLower(path.Ext(x.base))
	if within(p, s.workspace) && p != s.workspace {
		x.rel = strings.TrimPrefix(strings.TrimPrefix(x.path, filepath.ToSlash(s.workspace)), "/")
	}
	return x
}

// part tells whether one of the path's parts has the name: below the
// workspace if it lies there.
func (p *place) part(name string) bool {
	s := p.path
	if p.rel != "" {
		s = p.rel
	}
	for part := range strings.SplitSeq(s, "/") {
		if part == name {
			return true
		}
	}
	return false
}

func (p *place) in(dirs ...string) bool {
	return slices.ContainsFunc(dirs, func(d string) bool {
		return within(p.path, d) && !within(p.home.workspace, d) || p.rel == "" && within(p.path, d)
	})
}

// under is in for folders of the home directory, written with ~.
func (p *place) under(dirs ...string) bool {
	return p.home.user != "" && slices.ContainsFunc(dirs, func(d string) bool { return p.in(p.home.user + strings.TrimPrefix(d, "~")) })
}

func (p *place) cached() bool { return p.in(p.home.caches...) }

// hidden tells whether it lies in a hidden folder of the home directory, or
// is a hidden file there.
func (p *place) hidden() bool {
	if p.home.user == "" || p.home.user == "/" || !within(p.path, p.home.user) {
		return false
	}
	return strings.HasPrefix(strings.TrimPrefix(p.path, p.home.user), "/.")
}

func (p *place) weights() bool {
	k, _ := recognise(p.path)
	return k == modelKind || k == datasetKind
}

func (p *place) rule() *Rule {
	for i := range Rules {
		if Rules[i].match(p) {
			return &Rules[i]
		}
	}
	return &Rules[len(Rules)-1]
}

// name gives the path as people write it: from the workspace, from the home
// directory with ~, or absolute.
func (p *place) name() string {
	switch {
	case p.rel != "":
		return p.rel
	case p.home.user != "" && p.home.user != "/" && within(p.path, p.home.user):
		return "~" + strings.TrimPrefix(p.path, p.home.user)
	}
	return p.path
}
