package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/stemma-lineage/stemma/internal/app"
	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

func eraseCommand() *cobra.Command {
	c := &cobra.Command{Use: "erase ENTRY… | --blob DIGEST", Short: "Erase the content of entries, or evidence, for good, on an order that you sign",
		Example: `  stemma log erase 12 --reason "request 2026-114" --basis "GDPR Art. 17(1)(b)" --dry-run
  stemma log erase 12 15 --evidence --reason "request 2026-114" --basis "GDPR Art. 17(1)(b)"
  stemma log erase --blob sha256:9b71… --reason "retention of 5 years is over" --basis "retention schedule 4.2" --yes`,
		Long: `The leaf of an entry stays, so every proof stands. What ties things to one another stays too, by a fixed rule; all free text goes, and the name of every person is replaced by a pseudonym whose salt is kept nowhere. The order itself stays in the log for ever: write no personal data into it.

It takes the role role:privacy, which somebody else has recorded of you, and is refused while a legal hold covers what it would erase. Backups, exports and bundles that exist already are not reached; docs/erasure.md says what to do about them`}
	signFlags(c)
	c.Flags().Lookup("dry-run").Usage = "show what would go and what would stay, and erase nothing"
	c.Flags().Lookup("at").Usage = "when it was ordered (default: now)"
	c.Flags().StringSlice("blob", nil, "a piece of evidence to erase, by its SHA-256")
	c.Flags().Bool("evidence", false, "erase the evidence of the entries too, where no other entry rests on it")
	c.Flags().StringSlice("hide", nil, "a name to replace by a pseudonym, beside those of people; of activities and entities only")
	c.Flags().String("reason", "", "why (required); no personal data")
	c.Flags().String("basis", "", "the legal basis (required)")
	c.Flags().String("request", "", "a reference of the request; no name")
	c.Flags().Bool("yes", false, "do not ask")
	c.RunE = runErase
	return c
}

func runErase(c *cobra.Command, args []string) error {
	want, err := wanted(c, args)
	if err != nil {
		return err
	}
	x, err := begin(c)
	if err != nil {
		return err
	}
	defer x.w.Close()
	p, err := x.w.PlanErasure(c.Context(), want)
	if err != nil {
		return err
	}
	out := c.OutOrStdout()
	if err := writePlan(out, p); err != nil {
		return err
	}
	dry, _ := c.Flags().GetBool("dry-run")
	if err := x.w.MayErase(c.Context(), x.key.Principal, p.Order); err != nil {
		if !dry {
			return err
		}
		fmt.Fprintf(out, "it would be refused: %v\n", err)
	}
	if dry {
		fmt.Fprintln(out, "nothing was erased (--dry-run)")
		return nil
	}
	if err := sure(c); err != nil {
		return err
	}
	a, err := x.w.Erase(c.Context(), x.key, p, x.signers...)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "erased, by the order in entry %d, signed by %s\n", a.Index, x.key.Principal)
	fmt.Fprintln(out, "backups, exports and bundles made before hold it still; docs/erasure.md says what to do about them")
	return nil
}

// sure asks on a terminal; elsewhere --yes must be said.
func sure(c *cobra.Command) error {
	if yes, _ := c.Flags().GetBool("yes"); yes {
		return nil
	}
	f, ok := c.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return usage("nothing was erased: it cannot be undone, so say --yes where nobody can be asked, or --dry-run to look first")
	}
	fmt.Fprint(c.ErrOrStderr(), "this cannot be undone. Erase it? Type erase: ")
	line, err := bufio.NewReader(f).ReadString('\n')
	if err != nil && err != io.EOF {
		return err
	}
	if strings.TrimSpace(line) != "erase" {
		return usage("nothing was erased")
	}
	return nil
}

func wanted(c *cobra.Command, args []string) (app.Wanted, error) {
	get := func(f string) string { s, _ := c.Flags().GetString(f); return strings.TrimSpace(s) }
	x := app.Wanted{Reason: get("reason"), Basis: get("basis"), Request: get("request")}
	x.Evidence, _ = c.Flags().GetBool("evidence")
	var err error
	if x.Entries, err = entryNumbers(args); err != nil {
		return x, err
	}
	if x.Blobs, err = digests(c, "blob"); err != nil {
		return x, err
	}
	hide, _ := c.Flags().GetStringSlice("hide")
	for _, s := range hide {
		r, err := prov.ParseRef(s)
		if err != nil {
			return x, usage("--hide: %v", err)
		}
		if r.IsDigest() {
			return x, usage("--hide: %s is content; its digest says nothing of anybody, and lineage hangs on it", s)
		}
		x.Hide = append(x.Hide, r)
	}
	at, err := when(c)
	x.At = at.Time
	switch {
	case err != nil:
		return x, err
	case len(x.Entries)+len(x.Blobs) == 0:
		return x, usage("name entries by their index, or evidence with --blob; stemma show REF tells the entries that speak of a thing")
	case x.Reason == "":
		return x, usage("--reason is missing; say why, without personal data")
	case x.Basis == "":
		return x, usage("--basis is missing; say on what legal ground, such as \"GDPR Art. 17(1)(b)\"")
	}
	return x, nil
}

func entryNumbers(args []string) (out []uint64, err error) {
	for _, a := range args {
		n, err := strconv.ParseUint(a, 10, 64)
		if err != nil || fmt.Sprint(n) != a {
			return nil, usage("%q is no index of an entry; write a number such as 12", a)
		}
		out = append(out, n)
	}
	return out, nil
}

func digests(c *cobra.Command, flag string) (out []string, err error) {
	list, _ := c.Flags().GetStringSlice(flag)
	for _, s := range list {
		r, err := prov.ParseRef("sha256:" + strings.TrimPrefix(s, "sha256:"))
		if err != nil {
			return nil, usage("--%s: %v", flag, err)
		}
		out = append(out, r.Name)
	}
	return out, nil
}

// writePlan shows what an order takes out, and what it leaves.
func writePlan(out io.Writer, p *app.ErasurePlan) error {
	for _, e := range p.Entries {
		typ := strings.TrimPrefix(e.Type, statement.Base)
		if typ == "" {
			typ = "a statement that nobody understands"
		}
		fmt.Fprintf(out, "entry %d: %s, recorded by %s\n", e.Entry, typ, e.RecordedBy)
		gone, err := dropped(e.Was, e.Kept)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "  goes   the signature, and %s\n", orNothing(gone))
		fmt.Fprintf(out, "  stays  %s\n", orNothing(compactLines(e.Kept)))
		for _, d := range e.Evidence {
			fmt.Fprintf(out, "  stays  its evidence sha256:%s; --evidence or --blob erases it too\n", d)
		}
	}
	for _, b := range p.Blobs {
		fmt.Fprintf(out, "evidence sha256:%s goes", b.Digest)
		if len(b.Cited) > 0 {
			fmt.Fprintf(out, "; entries that rest on it: %s", ranges(b.Cited, "sha256:"+b.Digest))
		}
		fmt.Fprintln(out)
	}
	for _, x := range p.Elsewhere {
		fmt.Fprintf(out, "note: %s is named by other entries too, which this does not touch: %s\n", x.Ref, ranges(x.Entries, x.Ref.String()))
	}
	return nil
}

// maxRanges is how many numbers or ranges of entries are listed.
const maxRanges = 20

// ranges lists entries, ascending; where there are very many it says how many
// more, and where to read them.
func ranges(es []uint64, of string) string {
	var out []string
	for i := 0; i < len(es); {
		k := i
		for k+1 < len(es) && es[k+1] == es[k]+1 {
			k++
		}
		if len(out) >= maxRanges {
			return fmt.Sprintf("%s and %d more (stemma show %s -o json)", strings.Join(out, ", "), len(es)-i, of)
		}
		if k-i >= 2 {
			out = append(out, fmt.Sprintf("%d to %d", es[i], es[k]))
		} else {
			for j := i; j <= k; j++ {
				out = append(out, fmt.Sprint(es[j]))
			}
		}
		i = k + 1
	}
	return strings.Join(out, ", ")
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

func compactLines(b []byte) string { return strings.ReplaceAll(string(b), "\n", " ") }

// dropped names the fields of a statement that are not, or not so, in what is
// kept of it. It names no value.
func dropped(was, kept []byte) (string, error) {
	if len(was) == 0 {
		return "all of it", nil
	}
	a, b := map[string]string{}, map[string]string{}
	var x, y any
	if err := json.Unmarshal(was, &x); err != nil {
		return "all of it", nil // it was never understood
	}
	if len(kept) > 0 {
		if err := json.Unmarshal(kept, &y); err != nil {
			return "", err
		}
	}
	leaves(a, "", x)
	leaves(b, "", y)
	var out []string
	for path, v := range a {
		if w, ok := b[path]; !ok {
			out = append(out, path)
		} else if v != w {
			out = append(out, path+" (replaced)")
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", "), nil
}

func leaves(into map[string]string, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			leaves(into, strings.TrimPrefix(path+"."+k, "."), x)
		}
	case []any:
		for i, x := range v {
			leaves(into, fmt.Sprintf("%s[%d]", path, i), x)
		}
	case nil:
	default:
		into[path] = fmt.Sprint(v)
	}
}

func holdCommand() *cobra.Command {
	c := &cobra.Command{Use: "hold set|lift|list", Short: "Legal holds: what may not be erased", Args: cobra.ArbitraryArgs,
		Example: `  stemma log hold set case-17 --ref dataset:transactions --reason "litigation Acme v. Bolt"
  stemma log hold set audit-2026 --all --reason "audit of 2026"
  stemma log hold list
  stemma log hold lift case-17 --reason "settled"`,
		Long: "A hold is set and lifted in the role role:legal. While it is in force, nothing that it covers is erased",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("stemma log hold has no %q; it has set, lift and list", args[0])
			}
			return c.Help()
		}}
	set := &cobra.Command{Use: "set NAME", Short: "Set a hold", Args: exactly("a name for the hold")}
	signFlags(set)
	set.Flags().StringSlice("ref", nil, "every entry that speaks of this thing; without a version, of any version")
	set.Flags().StringSlice("entry", nil, "this entry")
	set.Flags().StringSlice("blob", nil, "this evidence, by its SHA-256")
	set.Flags().Bool("all", false, "everything")
	set.Flags().String("reason", "", "why (required)")
	set.RunE = func(c *cobra.Command, args []string) error { return sayHold(c, statement.HoldSet, args[0]) }
	lift := &cobra.Command{Use: "lift NAME", Short: "Lift a hold", Args: exactly("the name of the hold")}
	signFlags(lift)
	lift.Flags().String("reason", "", "why (required)")
	lift.RunE = func(c *cobra.Command, args []string) error { return sayHold(c, statement.HoldLift, args[0]) }
	list := &cobra.Command{Use: "list", Short: "The holds in force", Args: exactly0}
	list.Flags().StringP("output", "o", "text", "text or json")
	list.RunE = listHolds
	c.AddCommand(set, lift, list)
	return c
}

func sayHold(c *cobra.Command, state, id string) error {
	h := &statement.Hold{State: state, ID: id, Role: app.RoleLegal}
	h.Reason, _ = c.Flags().GetString("reason")
	if h.Reason == "" {
		return usage("--reason is missing")
	}
	var err error
	if h.At, err = when(c); err != nil {
		return err
	}
	if state == statement.HoldSet {
		h.All, _ = c.Flags().GetBool("all")
		h.Refs, _ = c.Flags().GetStringSlice("ref")
		entries, _ := c.Flags().GetStringSlice("entry")
		if h.Entries, err = entryNumbers(entries); err != nil {
			return err
		}
		if h.Blobs, err = digests(c, "blob"); err != nil {
			return err
		}
	}
	x, err := begin(c)
	if err != nil {
		return err
	}
	defer x.w.Close()
	return x.say(c, x.heldThings(h), h)
}

// heldThings gives the subjects of a hold.
func (x *writing) heldThings(h *statement.Hold) []statement.Subject {
	var out []statement.Subject
	for _, s := range h.Refs {
		if r, err := prov.ParseRef(s); err == nil {
			out = append(out, statement.NewSubject(r, nil))
		}
	}
	if len(out) == 0 {
		out = append(out, statement.NewSubject(graph.LogRef(x.w.Log.Origin()), nil))
	}
	return out
}

func listHolds(c *cobra.Command, _ []string) error {
	format, _ := c.Flags().GetString("output")
	w, err := workspace(c)
	if err != nil {
		return err
	}
	defer w.Close()
	hs, err := w.Holds(c.Context())
	if err != nil {
		return err
	}
	out := c.OutOrStdout()
	switch format {
	case "json":
		if hs == nil {
			hs = []app.Hold{}
		}
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(map[string]any{"apiVersion": "stemma/v1", "holds": hs})
	case "text":
	default:
		return usage("-o %s: a list of holds is given as text or json", format)
	}
	if len(hs) == 0 {
		fmt.Fprintln(out, "no hold is in force")
	}
	for _, h := range hs {
		fmt.Fprintf(out, "%s  set by %s (entries %s): %s\n", h.ID, h.By, numbers(h.Set), h.Reason)
		switch {
		case h.All:
			fmt.Fprintln(out, "  everything")
		default:
			for _, r := range h.Refs {
				fmt.Fprintf(out, "  entries that speak of %s\n", r)
			}
			for _, e := range h.Entries {
				fmt.Fprintf(out, "  entry %d\n", e)
			}
			for _, b := range h.Blobs {
				fmt.Fprintf(out, "  evidence sha256:%s\n", b)
			}
		}
	}
	return nil
}
