package gen

import (
	"bytes"
	"compress/gzip"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
)

// open opens real graphs of the fixtures, or skips the test.
func open(t testing.TB, names ...string) []*os.File {
	t.Helper()
	dir := os.Getenv("STEMMA_FIXTURES")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "fixtures")
	}
	var out []*os.File
	for _, n := range names {
		f, err := os.Open(filepath.Join(dir, "graphs", n))
		if err != nil && os.Getenv("STEMMA_TEST_REQUIRE") == "all" {
			t.Fatalf("the fixtures are missing: %v; set STEMMA_FIXTURES", err)
		}
		if err != nil {
			t.Skipf("the fixtures are missing: %v; set STEMMA_FIXTURES", err)
		}
		t.Cleanup(func() { f.Close() })
		out = append(out, f)
	}
	return out
}

func foldSaid(t testing.TB, said iter.Seq[Said]) *graph.Graph {
	t.Helper()
	g := graph.New()
	for c := range Contents(said) {
		if err := g.Fold(g.Size(), c); err != nil {
			t.Fatal(err)
		}
	}
	if p := g.At(prov.Now).Problems(); len(p) > 0 {
		t.Errorf("%d problems; the first is entry %d: %s", len(p), p[0].Entry, p[0].Reason)
	}
	return g
}

func tally(g *graph.Graph) map[prov.RelationType]int {
	out := map[prov.RelationType]int{}
	v := g.At(prov.Now)
	for id := graph.ID(1); int(id) < v.Len(); id++ {
		for r := range v.Out(id) {
			out[r.Type()]++
		}
	}
	return out
}

// TestFromGit loads the history of git; the counts of SOURCES.txt come out.
func TestFromGit(t *testing.T) {
	f := open(t, "git-prov-git-nodes.tsv.gz", "git-prov-git-edges.tsv.gz")
	said, err := FromGit(f[0], f[1])
	if err != nil {
		t.Fatal(err)
	}
	g := foldSaid(t, said)
	got := tally(g)
	for typ, want := range map[prov.RelationType]int{prov.Used: 127905, prov.GeneratedBy: 133741,
		prov.DerivedFrom: 126359, prov.InformedBy: 103233, prov.AssociatedWith: 81966} {
		if got[typ] != want {
			t.Errorf("%d relations %s, must be %d", got[typ], typ, want)
		}
	}
}

// TestFromCitations loads a graph with cycles; a walk ends all the same.
func TestFromCitations(t *testing.T) {
	f := open(t, "arxiv-hep-th-citations.tsv.gz", "arxiv-hep-th-ids.tsv.gz")
	said, err := FromCitations(f[0], f[1])
	if err != nil {
		t.Fatal(err)
	}
	g := foldSaid(t, said)
	if n := tally(g)[prov.DerivedFrom]; n != 352807 {
		t.Errorf("%d citations, must be 352807", n)
	}
	v := g.At(prov.Now)
	if n := query.Reach(v, []graph.ID{v.Lookup(Paper(1))}, query.Up); n < 1000 {
		t.Errorf("paper 1 reaches only %d papers", n)
	}
}

func TestBadRows(t *testing.T) {
	for _, bad := range []string{"1\t2", "a\t2\tused\t1\t1", "1\t2\tmoved\t1\t1", "1\t2\tused\t1\t1"} {
		var things, relations bytes.Buffer
		pack(&things, "1\tentity\t1\n2\tentity\t1\n")
		pack(&relations, bad+"\n")
		if _, err := FromGit(&things, &relations); err == nil || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := FromCitations(strings.NewReader("no gzip"), strings.NewReader("")); err == nil {
		t.Error("read what is no gzip file")
	}
}

func pack(b *bytes.Buffer, text string) {
	z := gzip.NewWriter(b)
	z.Write([]byte(text))
	z.Close()
}
