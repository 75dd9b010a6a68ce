package witness_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"

	"github.com/stemma-lineage/stemma/witness"
)

func TestParsePolicy(t *testing.T) {
	a, b := newCosigner(t, "witness.example/a"), newCosigner(t, "b")
	l := newLog(t, "example.org/log")
	renamed := *a
	renamed.name = "witness.example/renamed"
	lines := func(s ...string) string {
		return strings.NewReplacer("KA", a.key(), "KB", b.key(), "KR", renamed.key(), "KL", l.key).Replace(strings.Join(s, "\n"))
	}
	for name, text := range map[string]string{
		"none":                  lines("quorum none"),
		"one":                   lines("witness a KA", "quorum a"),
		"addresses":             lines("log KL https://log.example", "witness a KA https://a.example/x", "quorum a"),
		"group":                 lines("# two", "", " \twitness a  KA", "witness b KB", "group g 2 a b", "quorum g", ""),
		"nested":                lines("witness a KA", "witness b KB", "group g any a", "group h all g b", "quorum h"),
		"odd names":             lines("witness α/ß KA", "quorum α/ß"),
		"late lines":            lines("witness a KA", "quorum a", "witness b KB", "log KL"),
		"not a comment, a name": lines("witness a#1 KA", "quorum a#1"),
	} {
		if name == "not a comment, a name" {
			continue // allowed by C2SP; refused here, since readers cut lines at '#'
		}
		p, err := witness.ParsePolicy([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if again, err := witness.ParsePolicy([]byte(p.String())); err != nil || again.String() != p.String() {
			t.Errorf("%s: written anew it reads as another: %v", name, err)
		}
	}
	for name, c := range map[string]struct{ text, want string }{
		"empty":              {"", "no line quorum"},
		"no quorum":          {lines("witness a KA"), "no line quorum"},
		"two quorums":        {lines("witness a KA", "quorum a", "quorum a"), "line 3: there is a quorum"},
		"unknown quorum":     {lines("quorum a", "witness a KA"), "line 1"},
		"unknown word":       {lines("witnes a KA", "quorum none"), "line 1"},
		"log key as witness": {lines("witness a KL", "quorum a"), "the key of a log"},
		"witness key as log": {lines("log KA", "quorum none"), "line 1"},
		"same name":          {lines("witness a KA", "witness a KB", "quorum a"), "taken"},
		"same key":           {lines("witness a KA", "witness b KA", "quorum a"), "already"},
		"same key, renamed":  {lines("witness a KA", "witness b KR", "quorum a"), "already"},
		"same log":           {lines("log KL", "log KL", "quorum none"), "already"},
		"named none":         {lines("witness none KA", "quorum none"), "no name"},
		"group named none":   {lines("witness a KA", "group none any a", "quorum none"), "taken"},
		"none as member":     {lines("witness a KA", "group g any none", "quorum g"), "member"},
		"member twice":       {lines("witness a KA", "group g any a a", "quorum g"), "already"},
		"member of two":      {lines("witness a KA", "group g any a", "group h any a", "quorum g"), "already"},
		"itself":             {lines("witness a KA", "group g any g", "quorum g"), "member"},
		"zero of":            {lines("witness a KA", "group g 0 a", "quorum g"), "from 1 to 1"},
		"too many of":        {lines("witness a KA", "group g 2 a", "quorum g"), "from 1 to 1"},
		"written 01":         {lines("witness a KA", "group g 01 a", "quorum g"), "from 1 to 1"},
		"empty group":        {lines("group g any", "quorum g"), "line 1"},
		"ftp":                {lines("witness a KA ftp://x", "quorum a"), "http or https"},
		"password":           {lines("witness a KA https://u:secret@x", "quorum a"), "user or password"},
		"carriage returns":   {lines("witness a KA\r", "quorum a\r"), "control character"},
		"too much":           {lines("witness a KA https://x more", "quorum a"), "line 1"},
	} {
		_, err := witness.ParsePolicy([]byte(c.text))
		if !errors.Is(err, witness.ErrPolicy) || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if strings.Contains(fmt.Sprint(err), "secret") {
			t.Errorf("%s: the error repeats a secret: %v", name, err)
		}
	}
}

// TestQuorumIsTorchwoods builds random policies, and wants the quorum to be
// met exactly where another implementation says so.
func TestQuorumIsTorchwoods(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	l := newLog(t, "example.org/log")
	var all []*cosigner
	for i := range 6 {
		all = append(all, newCosigner(t, fmt.Sprintf("witness.example/%d", i)))
	}
	for range 200 {
		text, free := "log "+l.key+"\n", []string{}
		for i, w := range all {
			text += fmt.Sprintf("witness w%d %s\n", i, w.key())
			free = append(free, fmt.Sprintf("w%d", i))
		}
		for g := range r.IntN(4) {
			r.Shuffle(len(free), func(i, j int) { free[i], free[j] = free[j], free[i] })
			n := 1 + r.IntN(min(3, len(free)))
			text += fmt.Sprintf("group g%d %d %s\n", g, 1+r.IntN(n), strings.Join(free[:n], " "))
			free = append(free[n:], fmt.Sprintf("g%d", g))
		}
		quorum := free[r.IntN(len(free))]
		if r.IntN(10) == 0 {
			quorum = witness.NoQuorum
		}
		text += "quorum " + quorum + "\n"
		p := policy(t, text)
		other, err := torchwood.ParsePolicy([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		sigs, has := []note.Signature{{Name: l.v.Name(), Hash: l.v.KeyHash()}}, map[string]bool{}
		for i, w := range all {
			if r.IntN(2) == 0 {
				has[fmt.Sprintf("w%d", i)] = true
				sigs = append(sigs, note.Signature{Name: w.Name(), Hash: w.KeyHash()})
			}
		}
		if got, want := p.Met(func(n string) bool { return has[n] }), other.Check("example.org/log", sigs) == nil; got != want {
			t.Errorf("%s\nwith %v: met %v, want %v", text, has, got, want)
		}
	}
}

func FuzzParsePolicy(f *testing.F) {
	a := newCosigner(f, "a")
	f.Add("witness a " + a.key() + "\ngroup g any a\nquorum g\n")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := witness.ParsePolicy([]byte(text))
		if err != nil {
			return
		}
		again, err := witness.ParsePolicy([]byte(p.String()))
		if err != nil || again.String() != p.String() {
			t.Errorf("%q is written anew as %q: %v", text, p, err)
		}
	})
}
