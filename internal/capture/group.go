package capture

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"path"
	"slices"
	"strings"
)

// groupSize is how many things in one folder are told as the folder.
const groupSize = 64

// maxItems is how many inputs, or outputs, a statement lists at most.
const maxItems = 4000

// maxMembers is how many files of a folder are told one by one beside it; of
// larger folders they are in the manifest only, which is evidence.
const maxMembers = 2000

// item is one input or output: a file, or a folder of many.
type item struct {
	file    *File
	dir     string // of a folder: its name
	members []*File
	sum     string // of a folder: SHA-256 of its manifest
}

// manifest gives the text whose SHA-256 is the digest of a folder: a line for
// each file in the order of their names, as sha256sum writes and checks them
// (in a name, '\' and line breaks are escaped, and the line begins with '\').
// It holds the files that the run read or wrote there, no others.
func (it *item) manifest(digest func(*File) string) []byte {
	var b strings.Builder
	for _, m := range it.members {
		name := strings.TrimPrefix(m.Path, it.dir+"/")
		if strings.ContainsAny(name, "\\\n\r") {
			b.WriteByte('\\')
			name = strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`).Replace(name)
		}
		b.WriteString(digest(m) + "  " + name + "\n")
	}
	return []byte(b.String())
}

// group puts files that lie in one folder together where there are many. Files
// of unknown content stay alone: a folder's digest says what was read.
func group(files []*File, digest func(*File) string) []item {
	var items []item
	for size := groupSize; ; size /= 4 {
		if items = groupBy(files, digest, size); len(items) <= maxItems || size <= 1 {
			break
		}
	}
	for i := range items {
		if items[i].file == nil {
			sum := sha256.Sum256(items[i].manifest(digest))
			items[i].sum = hex.EncodeToString(sum[:])
		}
	}
	return items
}

// groupBy goes from the deepest folder up. A folder in which more than size
// things remain becomes one thing. The workspace itself, the home directory
// and the root never do.
func groupBy(files []*File, digest func(*File) string, size int) []item {
	in := map[string][]item{}
	var dirs []string
	add := func(dir string, it item) {
		if _, ok := in[dir]; !ok {
			for d := dir; ; d = path.Dir(d) { // every folder above is looked at too
				if _, ok := in[d]; ok {
					break
				}
				in[d] = nil
				dirs = append(dirs, d)
				if d == "." || d == "/" {
					break
				}
			}
		}
		in[dir] = append(in[dir], it)
	}
	var alone []item
	for _, f := range files {
		if digest(f) == "" {
			alone = append(alone, item{file: f})
			continue
		}
		add(path.Dir(f.Path), item{file: f})
	}
	top := func(d string) bool { return d == "." || d == "/" || d == "~" }
	depth := func(d string) int {
		if top(d) {
			return -1
		}
		return strings.Count(d, "/")
	}
	slices.SortFunc(dirs, func(a, b string) int { return cmp.Or(depth(b)-depth(a), cmp.Compare(a, b)) })
	for _, d := range dirs {
		its := in[d]
		if len(its) > size && !top(d) {
			g := item{dir: d}
			for _, it := range its {
				if it.file != nil {
					g.members = append(g.members, it.file)
				}
				g.members = append(g.members, it.members...)
			}
			slices.SortFunc(g.members, func(a, b *File) int { return cmp.Compare(a.Path, b.Path) })
			its = []item{g}
		}
		if top(d) {
			alone = append(alone, its...)
		} else {
			in[path.Dir(d)] = append(in[path.Dir(d)], its...)
		}
		in[d] = nil
	}
	slices.SortFunc(alone, func(a, b item) int { return cmp.Compare(a.name(), b.name()) })
	return alone
}

func (it *item) name() string {
	if it.file != nil {
		return it.file.Path
	}
	return it.dir
}

func pathExt(p string) string { return strings.ToLower(path.Ext(p)) }
