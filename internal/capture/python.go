package capture

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Installed is a Python environment: the interpreter, and the distributions
// that are installed where the run looked for modules (PEP 376, PEP 627).
type Installed struct {
	Version  string // of the interpreter, as far as its library's folder says: 3.11
	Packages int
	SHA256   string // of Manifest
	Manifest []byte // a line each: name, version, SHA-256 of its RECORD
	Unknown  []string
}

var (
	pythonLib  = lazily(`^(.*/lib(?:64)?/(?:python|pypy)(\d+(?:\.\d+)?)[^/]*)(?:/|$)`)
	pythonSite = lazily(`^(.*/(?:site-packages|dist-packages))(?:/|$)`)
	pythonExe  = lazily(`^(python|pypy)[0-9.]*$`)
)

// maxDistributions and maxMetadata bound what is read of an environment.
const (
	maxDistributions = 20000
	maxMetadata      = 64 << 10
)

// pythonOf gives the Python environment that the run used, or nil.
func pythonOf(files []*File, d *digests) *Installed {
	sites := map[string]bool{}
	env := &Installed{}
	var exe []string
	used := false
	for _, f := range files {
		if f.Class == ProgramFile && pythonExe().MatchString(f.place.base) && f.SHA256 != "" {
			exe = append(exe, f.SHA256)
		}
		if f.Rule != "python" && f.Rule != "system" || f.Class == Absent {
			continue
		}
		if m := pythonLib().FindStringSubmatch(f.place.path); m != nil {
			used = used || f.Class == Environment
			if len(m[2]) > len(env.Version) {
				env.Version = m[2]
			}
			sites[m[1]+"/site-packages"] = true
			sites[m[1]+"/dist-packages"] = true
		}
		if m := pythonSite().FindStringSubmatch(f.place.path); m != nil {
			used = true
			sites[m[1]] = true
		}
	}
	if !used {
		return nil
	}
	var lines []string
	for site := range sites {
		lines = append(lines, env.site(site, d)...)
	}
	slices.Sort(lines)
	lines = slices.Compact(lines)
	env.Packages = len(lines)
	slices.Sort(exe)
	head := []string{"python " + env.Version}
	for _, e := range slices.Compact(exe) {
		head = append(head, "executable sha256:"+e)
	}
	env.Manifest = []byte(strings.Join(append(head, lines...), "\n") + "\n")
	sum := sha256.Sum256(env.Manifest)
	env.SHA256 = hex.EncodeToString(sum[:])
	return env
}

// site lists the distributions of one folder.
func (env *Installed) site(dir string, d *digests) []string {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil // it is one of the folders that could have been
	}
	var lines []string
	for _, e := range list {
		meta, proof := "", ""
		switch n := e.Name(); {
		case strings.HasSuffix(n, ".dist-info"):
			meta, proof = "METADATA", "RECORD"
		case strings.HasSuffix(n, ".egg-info") && e.IsDir():
			meta, proof = "PKG-INFO", "SOURCES.txt"
		case strings.HasSuffix(n, ".egg-info"):
		default:
			continue
		}
		if len(lines) >= maxDistributions {
			env.Unknown = append(env.Unknown, "more distributions in "+dir+" than are looked at")
			break
		}
		at := filepath.Join(dir, e.Name())
		name, version := nameVersion(filepath.Join(at, meta))
		sum := "none"
		if id, ok := identify(filepath.Join(at, proof)); ok && id.regular {
			if s, err := d.hash(filepath.Join(at, proof), id); err == nil {
				sum = "sha256:" + s
			}
		}
		if name == "" {
			name = strings.TrimSuffix(strings.TrimSuffix(e.Name(), ".dist-info"), ".egg-info")
		}
		lines = append(lines, name+" "+version+" "+sum)
	}
	return lines
}

// nameVersion reads the head of a distribution's metadata.
func nameVersion(path string) (name, version string) {
	f, err := os.Open(path)
	if err != nil {
		return "", ""
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(make([]byte, 4096), maxMetadata)
	for s.Scan() && s.Text() != "" && (name == "" || version == "") {
		if v, ok := strings.CutPrefix(s.Text(), "Name:"); ok {
			name = strings.TrimSpace(v)
		}
		if v, ok := strings.CutPrefix(s.Text(), "Version:"); ok {
			version = strings.TrimSpace(v)
		}
	}
	return name, version
}
