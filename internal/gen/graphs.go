package gen

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// FromGit reads the history of a git repository as PROV, two gzip files of
// tab-separated numbers: its things (number, type, first seen) and its
// relations (upstream, downstream, kind, author time, commit time). A commit
// is an activity, a file's version an entity, an author an identity.
//
// Author time is valid time, and the commits are in the order of commit time,
// which becomes the time of recording. "derived" becomes a derivation by no
// activity (see Entity), so that the relations that come out are those that
// went in; "invalidated" has no counterpart and is left out.
func FromGit(things, relations io.Reader) (iter.Seq[Said], error) {
	sorts := map[int]string{}
	err := rows(things, 3, func(f []string) error {
		n, err := strconv.Atoi(f[0])
		sorts[n] = f[1]
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the things: %w", err)
	}
	commits := map[int]*commit{}
	err = rows(relations, 5, func(f []string) error {
		from, err1 := strconv.Atoi(f[0])
		to, err2 := strconv.Atoi(f[1])
		valid, err3 := strconv.ParseInt(f[3], 10, 64)
		recorded, err4 := strconv.ParseInt(f[4], 10, 64)
		if err := cmp.Or(err1, err2, err3, err4); err != nil {
			return err
		}
		return gitRelation(commits, sorts, gitRow{from, to, f[2], time.Unix(valid, 0).UTC(), time.Unix(recorded, 0).UTC()})
	})
	if err != nil {
		return nil, fmt.Errorf("reading the relations: %w", err)
	}
	return said(commits), nil
}

type gitRow struct {
	from, to        int
	kind            string
	valid, recorded time.Time
}

// commit is an activity under way, with the derivations of its time.
type commit struct {
	n               int
	valid, recorded time.Time
	used, generated []int
	informed        []int
	authors         []int
	derived         [][2]int
}

func gitRelation(commits map[int]*commit, sorts map[int]string, r gitRow) error {
	at := r.to // the activity that tells it
	switch r.kind {
	case "generated":
		at = r.from
	case "derived":
		at = -r.to // derivations stand alone: its file's version tells it
	case "used", "informed", "assoc":
	case "invalidated":
		return nil
	default:
		return fmt.Errorf("kind %q is not known", r.kind)
	}
	if at >= 0 && sorts[at] != "activity" {
		return fmt.Errorf("%s from %d to %d: %d is no activity", r.kind, r.from, r.to, at)
	}
	c := commits[at]
	if c == nil {
		c = &commit{n: at, valid: r.valid, recorded: r.recorded}
		commits[at] = c
	}
	c.recorded = later(c.recorded, r.recorded)
	switch r.kind {
	case "generated":
		c.generated = append(c.generated, r.to)
	case "used":
		c.used = append(c.used, r.from)
	case "informed":
		c.informed = append(c.informed, r.from)
	case "assoc":
		c.authors = append(c.authors, r.from)
	default:
		c.derived = append(c.derived, [2]int{r.to, r.from})
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func said(commits map[int]*commit) iter.Seq[Said] {
	list := make([]*commit, 0, len(commits))
	for _, c := range commits {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *commit) int { return cmp.Or(a.recorded.Compare(b.recorded), cmp.Compare(a.n, b.n)) })
	return func(yield func(Said) bool) {
		for _, c := range list {
			if !yield(c.said()) {
				return
			}
		}
	}
}

// GitEntity, GitActivity and GitIdentity name the things of FromGit.
func GitEntity(n int) prov.Ref {
	return prov.Ref{Kind: prov.File, Name: numbered("blob", n), Version: "1"}
}

// GitActivity names a commit of FromGit.
func GitActivity(n int) prov.Ref {
	return prov.Ref{Kind: prov.Activity, Name: numbered("commit", n)}
}

// GitIdentity names an author of FromGit.
func GitIdentity(n int) prov.Ref {
	return prov.Ref{Kind: prov.Person, Name: numbered("author", n)}
}

func resource(r prov.Ref) statement.Resource { return statement.Resource{Ref: r.String()} }

func (c *commit) said() Said {
	s := Said{RecordedAt: c.recorded, RecordedBy: "workload:git"}
	at := statement.NewTime(c.valid)
	if len(c.derived) > 0 {
		to := GitEntity(c.derived[0][0])
		d := statement.Derivation{To: resource(to), Rule: statement.RuleStated}
		for _, x := range c.derived {
			d.From = append(d.From, statement.DerivedInput{Resource: resource(GitEntity(x[1]))})
		}
		s.Subjects = []statement.Subject{subject(to)}
		s.Predicate = &statement.Entity{State: "described", At: at, Derived: []statement.Derivation{d}}
		return s
	}
	a := &statement.Activity{Kind: "commit", ID: GitActivity(c.n).String(), StartedAt: at, EndedAt: at, State: "completed"}
	for _, n := range c.used {
		a.Used = append(a.Used, statement.Use{Resource: resource(GitEntity(n))})
	}
	for _, n := range c.informed {
		a.InformedBy = append(a.InformedBy, resource(GitActivity(n)))
	}
	for _, n := range c.authors {
		a.Identities = append(a.Identities, statement.Party{Ref: GitIdentity(n).String(), Role: "author"})
	}
	for _, n := range c.generated {
		s.Subjects = append(s.Subjects, subject(GitEntity(n)))
	}
	if len(s.Subjects) == 0 {
		s.Subjects = []statement.Subject{subject(GitActivity(c.n))}
	}
	s.Predicate = a
	return s
}

// FromCitations reads a citation graph, two gzip files of tab-separated
// numbers: citations (cited, citing) and papers (number, arXiv id, whose first
// four digits are year and month). A paper derives from what it cites. Papers
// cite one another now and then, so the lineage has cycles.
func FromCitations(citations, papers io.Reader) (iter.Seq[Said], error) {
	month := map[int]time.Time{}
	err := rows(papers, 2, func(f []string) error {
		n, err := strconv.Atoi(f[0])
		if err != nil {
			return err
		}
		t, err := arxivMonth(f[1])
		month[n] = t
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the papers: %w", err)
	}
	cites := map[int][]int{}
	err = rows(citations, 2, func(f []string) error {
		cited, err1 := strconv.Atoi(f[0])
		citing, err2 := strconv.Atoi(f[1])
		cites[citing] = append(cites[citing], cited)
		return cmp.Or(err1, err2)
	})
	if err != nil {
		return nil, fmt.Errorf("reading the citations: %w", err)
	}
	list := make([]int, 0, len(cites))
	for n := range cites {
		list = append(list, n)
	}
	slices.SortFunc(list, func(a, b int) int { return cmp.Or(month[a].Compare(month[b]), cmp.Compare(a, b)) })
	return func(yield func(Said) bool) {
		for _, n := range list {
			if !yield(paper(n, cites[n], month[n])) {
				return
			}
		}
	}, nil
}

// Paper names a thing of FromCitations.
func Paper(n int) prov.Ref {
	return prov.Ref{Kind: prov.Document, Name: numbered("paper", n), Version: "1"}
}

func paper(n int, cites []int, at time.Time) Said {
	d := statement.Derivation{To: resource(Paper(n)), Rule: statement.RuleStated}
	for _, c := range cites {
		d.From = append(d.From, statement.DerivedInput{Resource: resource(Paper(c)), Transformation: "cites"})
	}
	return Said{RecordedAt: at, RecordedBy: "workload:arxiv", Subjects: []statement.Subject{subject(Paper(n))},
		Predicate: &statement.Entity{State: "described", At: statement.NewTime(at), Derived: []statement.Derivation{d}}}
}

// arxivMonth reads the month of an id such as 9304045.
func arxivMonth(id string) (time.Time, error) {
	id = strings.Repeat("0", max(0, 7-len(id))) + id
	year, err1 := strconv.Atoi(id[:2])
	month, err2 := strconv.Atoi(id[2:4])
	if err := cmp.Or(err1, err2); err != nil || month < 1 || month > 12 {
		return time.Time{}, fmt.Errorf("%q is no arXiv id", id)
	}
	if year += 1900; year < 1990 {
		year += 100
	}
	return time.Date(year, time.Month(month), 1, 0, 0, 0, 0, time.UTC), nil
}

// rows reads a gzip file of tab-separated rows; a row that begins with '#' is
// a heading.
func rows(r io.Reader, fields int, row func([]string) error) error {
	z, err := gzip.NewReader(r)
	if err != nil {
		return err
	}
	defer z.Close()
	s := bufio.NewScanner(z)
	for n := 1; s.Scan(); n++ {
		if strings.HasPrefix(s.Text(), "#") {
			continue
		}
		f := strings.Split(s.Text(), "\t")
		if len(f) != fields {
			return fmt.Errorf("line %d has %d fields, must have %d", n, len(f), fields)
		}
		if err := row(f); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return s.Err()
}
