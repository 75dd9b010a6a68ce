package capture

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// summaryRows is how many inputs, or outputs, a summary names.
const summaryRows = 8

// Summary tells a person in a few lines what a run came to.
func (r *Result) Summary(w io.Writer) {
	fmt.Fprintf(w, "● %s  %s in %s (capture +%s", r.ID, r.kind, seconds(r.Took), seconds(r.After))
	if r.HashBytes > 0 {
		fmt.Fprintf(w, ", of it %s hashing %s", seconds(r.Hashing), bytesOf(r.HashBytes))
	}
	fmt.Fprintf(w, "; %s, %s calls watched)\n", cmp.Or(r.Outcome.Backend, "no back-end"), count(r.Outcome.Calls))
	rows(w, "inputs", r.inputs, asInput)
	if v := r.Revision; v != nil && v.Commit != "" {
		fmt.Fprintf(w, "  %-8s git %.7s%s%s\n", "code", v.Commit, prefixed(" on ", v.Branch), r.uncommitted())
	}
	if p := r.Python; p != nil {
		fmt.Fprintf(w, "  %-8s python %s, %d packages → sha256:%.12s…\n", "env", p.Version, p.Packages, p.SHA256)
	}
	rows(w, "outputs", r.outputs, asOutput)
	r.doubts(w)
	if n := r.folded(); n > 0 {
		fmt.Fprintf(w, "  %-60s stemma show %s --skipped\n", fmt.Sprintf("%d files folded (libraries, caches, temporary files, …)", n), r.ID)
	}
}

func (r *Result) uncommitted() string {
	var names []string
	for _, f := range r.Dirty {
		names = append(names, f.Path)
	}
	switch n := len(names); {
	case r.Revision.Unknown != "":
		return "  (? " + r.Revision.Unknown + ")"
	case n == 1:
		return "  (1 uncommitted file: " + names[0] + ")"
	case n > 1:
		return fmt.Sprintf("  (%d uncommitted files: %s)", n, listOf(names))
	}
	return ""
}

func rows(w io.Writer, title string, items []item, digest func(*File) string) {
	items = slices.Clone(items)
	rank := func(it item) int { // what one looks for first
		if it.file == nil {
			return 0
		}
		return slices.Index([]string{roleModel, roleDataset, roleMetrics, rolePrompt, roleConfig, roleScript, roleSource, roleProgram, roleData, ""}, it.file.Role) + 1
	}
	slices.SortStableFunc(items, func(a, b item) int { return rank(a) - rank(b) })
	for i, it := range items {
		if i == summaryRows && len(items) > summaryRows+1 {
			fmt.Fprintf(w, "  %-8s … and %d more\n", "", len(items)-i)
			return
		}
		if i > 0 {
			title = ""
		}
		if it.file == nil {
			size := int64(0)
			for _, m := range it.members {
				size += m.Size
			}
			fmt.Fprintf(w, "  %-8s %s  sha256:%.12s…  %s in %s files\n", title, plainText(it.dir+"/"), it.sum, bytesOf(size), count(len(it.members)))
			continue
		}
		f := it.file
		if sum := digest(f); sum != "" {
			fmt.Fprintf(w, "  %-8s %s  sha256:%.12s…  %s\n", title, plainText(shown(f)), sum, bytesOf(f.Size))
		} else {
			fmt.Fprintf(w, "  %-8s %s  ? %s\n", title, plainText(shown(f)), plainText(f.Note))
		}
	}
}

func shown(f *File) string {
	if h := f.place.hub; h.file != "" {
		return strings.TrimPrefix(h.repo, "huggingface.co/") + "@" + fmt.Sprintf("%.7s", h.revision) + " " + h.file
	}
	return f.Path
}

// doubts tells what is not known.
func (r *Result) doubts(w io.Writer) {
	if hosts := r.remote(); len(hosts) > 0 {
		names := make([]string, 0, 3)
		for _, e := range hosts[:min(3, len(hosts))] {
			names = append(names, e.Addr)
		}
		fmt.Fprintf(w, "  ? %-58s stemma show %s --network\n", fmt.Sprintf("%d network endpoints, what came from them is not recorded: %s", len(hosts), plainText(strings.Join(names, ", "))), r.ID)
	}
	for i, b := range r.Outcome.Blind {
		if i == 5 {
			fmt.Fprintf(w, "  ? … and %d more blind spots\n", len(r.Outcome.Blind)-i)
			break
		}
		fmt.Fprintf(w, "  ? %s: %s\n", b.Class, plainText(b.Detail))
	}
	if r.Overflow > 0 {
		fmt.Fprintf(w, "  ? %d events could not be kept\n", r.Overflow)
	}
	if r.Failed != "" {
		fmt.Fprintf(w, "  ? the recorder failed in the middle (%s); what was seen before is recorded\n", plainText(r.Failed))
	}
}

func (r *Result) folded() int {
	n := 0
	for _, f := range r.Files {
		switch f.Class {
		case Input, Output, Both, Absent, Folder:
		default:
			n++
		}
	}
	return n
}

// Classes counts the files by class, in the order of the classes' names.
func (r *Result) Classes() []string {
	m := map[Class]int{}
	for _, f := range r.Files {
		m[f.Class]++
	}
	var out []string
	for _, c := range slices.Sorted(maps.Keys(m)) {
		out = append(out, fmt.Sprintf("%s %d", c, m[c]))
	}
	return out
}

// plainText keeps names from moving the cursor.
func plainText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '�'
		}
		return r
	}, s)
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

func count(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func bytesOf(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n), 0
	for v >= 1000 && unit < 5 {
		v, unit = v/1000, unit+1
	}
	return fmt.Sprintf("%.1f %cB", v, " kMGTP"[unit])
}
