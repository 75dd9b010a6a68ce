package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stemma-lineage/stemma/internal/app"
	"github.com/stemma-lineage/stemma/internal/capture"
	"github.com/stemma-lineage/stemma/internal/capture/trace"
	"github.com/stemma-lineage/stemma/internal/durable"
	"github.com/stemma-lineage/stemma/internal/evlog"
	"github.com/stemma-lineage/stemma/internal/keys"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/internal/report"
	"github.com/stemma-lineage/stemma/internal/story"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

func reportText(a *query.Answer) ([]byte, error) { return report.Write(a, "text") }

func keyCommand() *cobra.Command {
	c := &cobra.Command{Use: "key", Short: "Signing keys, and whom this log trusts", Args: cobra.ArbitraryArgs,
		Example: "  stemma key new --as person:ann@acme.example\n  stemma key show\n  stemma key trust 'person:bob@acme.example ed25519 BASE64'\n  stemma key log",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("stemma key has no %q; stemma key --help lists what it has", args[0])
			}
			return c.Help()
		}}
	add := func(s *cobra.Command) { c.AddCommand(s) }
	mk := &cobra.Command{Use: "new [NAME]", Short: "Make a signing key; it never replaces one", Args: atMostOne}
	mk.Flags().String("as", "", "who signs with it (default: your git address)")
	mk.RunE = func(c *cobra.Command, args []string) error {
		principal, err := keys.DefaultPrincipal()
		if as, _ := c.Flags().GetString("as"); as != "" {
			principal, err = knownRef(as)
		}
		if err != nil {
			return err
		}
		k, err := keys.Generate(nameOr(args), principal)
		if err != nil {
			return err
		}
		return printKey(c.OutOrStdout(), k)
	}
	add(mk)
	add(&cobra.Command{Use: "show [NAME]", Short: "The public half, as a line for trust lists", Args: atMostOne,
		RunE: func(c *cobra.Command, args []string) error {
			k, err := keys.Load(nameOr(args))
			if err != nil {
				return err
			}
			return printKey(c.OutOrStdout(), k)
		}})
	add(&cobra.Command{Use: "list", Short: "The names of your keys", Args: exactly0, RunE: func(c *cobra.Command, _ []string) error {
		names, err := keys.List()
		for _, n := range names {
			fmt.Fprintln(c.OutOrStdout(), n)
		}
		return err
	}})
	trust := &cobra.Command{Use: "trust [LINE|-]", Short: "Trust a key in this log, or with no line print whom it trusts", Args: atMostOne,
		Long: "That the key is whose it says is recorded as a statement too, so that who could sign then can be asked.",
		RunE: trustKey}
	trust.Flags().String("key", "default", "the signing key's name, for the statement")
	add(trust)
	add(&cobra.Command{Use: "log", Short: "The public key of this log, for those who verify", Args: exactly0,
		RunE: func(c *cobra.Command, _ []string) error {
			w, err := workspace(c)
			if err != nil {
				return err
			}
			defer w.Close()
			fmt.Fprintln(c.OutOrStdout(), w.Log.Key())
			return nil
		}})
	return c
}

func nameOr(args []string) string {
	if len(args) > 0 {
		return args[0]
	}
	return "default"
}

func printKey(out io.Writer, k keys.Key) error {
	t, err := k.Trusted()
	if err == nil {
		_, err = fmt.Fprintln(out, t)
	}
	return err
}

func versionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "The version of this program", Args: exactly0, RunE: func(c *cobra.Command, _ []string) error {
		v := "unknown"
		if i, ok := debug.ReadBuildInfo(); ok {
			v = i.Main.Version
		}
		fmt.Fprintf(c.OutOrStdout(), "stemma %s, %s %s/%s, log format %d, answers %s\n", v, runtime.Version(), runtime.GOOS, runtime.GOARCH, evlog.FormatVersion, query.APIVersion)
		return nil
	}}
}

func doctorCommand() *cobra.Command {
	return &cobra.Command{Use: "doctor", Short: "Check key, log, trust list and disk", Args: exactly0, RunE: func(c *cobra.Command, _ []string) error {
		out, bad := c.OutOrStdout(), 0
		check := func(what string, err error, good string) {
			if err != nil {
				bad++
				fmt.Fprintf(out, "✗ %s: %v\n", what, err)
			} else {
				fmt.Fprintf(out, "✓ %s: %s\n", what, good)
			}
		}
		k, err := keys.Load("default")
		check("signing key", err, k.Principal.String())
		w, err := workspace(c)
		if err != nil {
			check("log", err, "")
			return fmt.Errorf("%d of the checks failed", bad)
		}
		defer w.Close()
		h, err := w.Log.Head(c.Context())
		check("log", err, fmt.Sprintf("%s, %d entries, continues its published checkpoint", w.Log.Origin(), h.Size))
		_, err = keys.LoadLogKey(w.Log.Key())
		check("log's signing key", err, "here")
		if err == nil {
			check("checkpoint beside the key", w.KeepCheckpoint(c.Context()), "kept, so that a folder that is put back is noticed")
		}
		p, err := w.Policy()
		switch cp, cerr := w.Cosigned(h, p); {
		case err != nil || cerr != nil:
			check("witnesses", cmp.Or(err, cerr), "")
		case p == nil:
			fmt.Fprintln(out, "- witnesses: none; stemma log witness add KEY URL lets others vouch that nothing is rewritten")
		case cp.Quorum:
			check("witnesses", nil, quorumState(cp, p))
		default:
			fmt.Fprintf(out, "- witnesses: %s\n", quorumState(cp, p))
		}
		if k.Name == "" {
			fmt.Fprintf(out, "- trust list: %d keys; whether it holds yours cannot be said without your key\n", len(w.Trust.Keys()))
		} else if t, terr := k.Trusted(); terr != nil {
			check("trust list", terr, "")
		} else {
			id := t.Public.KeyID()
			err = nil
			if _, ok := w.Trust.Find(id); !ok {
				err = fmt.Errorf("your key %s is not in it; what you sign is refused here. stemma key trust \"$(stemma key show)\" adds it", id)
			}
			check("trust list", err, fmt.Sprintf("%d keys", len(w.Trust.Keys())))
		}
		if durable.Writable(w.Dir) {
			err = durable.WriteFile(filepath.Join(w.Dir, "doctor"), []byte("x"), 0o600)
			_ = os.Remove(filepath.Join(w.Dir, "doctor"))
		} else {
			err = errors.New("it cannot be written by this user; reading works")
		}
		check("directory", err, w.Dir)
		g, _, err := w.Graph(c.Context())
		if err == nil {
			if ps := g.At(prov.Now).Problems(); len(ps) > 0 {
				err = fmt.Errorf("%d entries could not be used; the first is entry %d: %s", len(ps), ps[0].Entry, ps[0].Reason)
			}
		}
		check("entries", err, "all understood")
		if b, tried := trace.Select(c.Context(), ""); b != nil {
			fmt.Fprintf(out, "✓ capture: %s\n", b.Name())
		} else {
			fmt.Fprintln(out, "- capture: no way of following a command works here, so stemma run records nothing")
			for _, t := range tried {
				fmt.Fprintf(out, "    %s: %v\n", t.Name, t.Err)
			}
		}
		if waiting, err := capture.SpoolOf(w.Dir).List(); err == nil && len(waiting) > 0 {
			fmt.Fprintf(out, "- spool: %d runs wait; stemma sync records them\n", len(waiting))
		}
		if bad > 0 {
			return fmt.Errorf("%d of the checks failed", bad)
		}
		return nil
	}}
}

func demoCommand() *cobra.Command {
	c := &cobra.Command{Use: "demo", Short: "Record a reference history in a temporary folder, ask, prove", Args: exactly0,
		Example: "  stemma demo\n  stemma demo --keep ./demo"}
	c.Flags().String("keep", "", "keep the workspace and the bundle in this new folder")
	c.RunE = func(c *cobra.Command, _ []string) error {
		dir, _ := c.Flags().GetString("keep")
		if dir == "" {
			d, err := os.MkdirTemp("", "stemma-demo-")
			if err != nil {
				return err
			}
			defer os.RemoveAll(d)
			dir = d
		}
		return demo(c.Context(), dir, c.OutOrStdout())
	}
	return c
}

// demo tells the story, asks the questions of the people whom it concerns,
// makes a bundle, verifies it, and shows that a changed byte is refused.
func demo(ctx context.Context, dir string, out io.Writer) error {
	w, k, err := demoWorkspace(ctx, dir, out)
	if err != nil {
		return err
	}
	defer w.Close()
	for _, x := range []struct {
		who, asks string
		args      []string
	}{
		{"The ML team", "which dataset, feature set and prompt made this deployed model, and which reviews approved it?", []string{"why", story.Deployment1}},
		{"The risk team", "was the poisoned dataset ever used in a model that went live?", []string{"blast", story.Dataset2}},
		{"Change management", "what did the rollback restore, and who signed what, when?", []string{"history", story.Service}},
		{"Change management", "what changed between the two releases?", []string{"diff", story.Model1, story.Model2}},
		{"The auditor", "what was known before the notice came (log size 18)?", []string{"blast", story.Dataset2, "--known", "18", "--kind", "deployment", "--kind", "notice"}},
		{"Incident response", "this credential is stale: what uses it?", []string{"blast", "credential:vault/prod/scorer@4", "--depth", "1"}},
	} {
		fmt.Fprintf(out, "\n── %s: %s\n$ stemma %s\n", x.who, x.asks, join(x.args))
		if code := run(ctx, append(x.args, "--dir", dir), nil, out, out); code != exitOK {
			return fmt.Errorf("the demo's question %v ended with exit code %d", x.args, code)
		}
	}
	if err := demoBundle(ctx, dir, w, k, out); err != nil {
		return err
	}
	return demoProofs(ctx, dir, w, out)
}

func join(args []string) string {
	var b bytes.Buffer
	for i, a := range args {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(a)
	}
	return b.String()
}

func demoWorkspace(ctx context.Context, dir string, out io.Writer) (*app.Workspace, keys.Key, error) {
	k, signer, vkey, err := story.Keys()
	if err != nil {
		return nil, k, err
	}
	clock := &story.Clock{T: time.Date(2026, 3, 1, 7, 0, 0, 0, time.UTC)}
	w, err := app.Init(ctx, dir, app.Options{Origin: story.Origin, Key: k, Now: clock.Now, LogKey: signer, LogVKey: vkey})
	if err != nil {
		return nil, k, err
	}
	fmt.Fprintln(out, "── The story, as it was recorded")
	err = story.Tell(ctx, w, k, clock, func(i uint64, s story.Step) {
		fmt.Fprintf(out, "%s  entry %2d  %s\n", s.Recorded.Format("2006-01-02 15:04"), i, s.Tells)
	})
	if err != nil {
		return nil, k, err
	}
	at, err := w.Seal(ctx)
	fmt.Fprintf(out, "%s  entry %2d  the root of the index over all entries before\n", clock.T.Format("2006-01-02 15:04"), at)
	return w, k, err
}

func demoBundle(ctx context.Context, dir string, w *app.Workspace, _ keys.Key, out io.Writer) error {
	file := filepath.Join(dir, "poisoned.zip")
	fmt.Fprintf(out, "\n── The answer, as evidence for somebody who trusts neither us nor the operator\n$ stemma bundle blast %s -o poisoned.zip\n", story.Dataset2)
	if code := run(ctx, []string{"bundle", "blast", story.Dataset2, "-o", file, "--dir", dir}, nil, io.Discard, out); code != exitOK {
		return fmt.Errorf("making the bundle ended with exit code %d", code)
	}
	fmt.Fprintf(out, "$ stemma verify poisoned.zip --log-key '%s'\n", w.Log.Key())
	if code := run(ctx, []string{"verify", file, "--log-key", w.Log.Key()}, nil, out, out); code != exitOK {
		return fmt.Errorf("verifying the bundle ended with exit code %d", code)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	i := bytes.Index(data, []byte("compromised"))
	if i < 0 {
		return errors.New("the bundle does not speak of the notice")
	}
	data[i] ^= 1
	bad := filepath.Join(dir, "changed.zip")
	if err := os.WriteFile(bad, data, 0o644); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n── The same bundle with one byte changed\n$ stemma verify changed.zip --log-key '%s'\n", w.Log.Key())
	code := run(ctx, []string{"verify", bad, "--log-key", w.Log.Key()}, nil, out, out)
	fmt.Fprintf(out, "exit code %d\n", code)
	if code != exitVerify {
		return fmt.Errorf("a changed bundle ended with exit code %d, not %d", code, exitVerify)
	}
	return nil
}

func trustKey(c *cobra.Command, args []string) error {
	w, err := workspace(c)
	if err != nil {
		return err
	}
	defer w.Close()
	if len(args) == 0 {
		_, err = c.OutOrStdout().Write(statement.FormatTrust(w.Trust))
		return err
	}
	line := args[0]
	if line == "-" {
		b, err := io.ReadAll(io.LimitReader(c.InOrStdin(), statement.MaxTrust))
		if err != nil {
			return err
		}
		line = strings.TrimSpace(string(b))
	}
	k, err := statement.ParseTrustedKey(line)
	if err != nil {
		return usageError{err}
	}
	if err := w.AddTrust(k); err != nil {
		return err
	}
	name, _ := c.Flags().GetString("key")
	mine, err := loadKey(name)
	if err != nil {
		fmt.Fprintf(c.ErrOrStderr(), "note: the key is trusted, but no statement of it was recorded: %v\n", err)
		return nil
	}
	who, err := prov.ParseRef(k.Principal)
	if err != nil {
		return err
	}
	credential := prov.Ref{Kind: prov.Credential, Name: "key/" + k.Public.KeyID()}
	item := statement.IdentityItem{Ref: k.Principal, Credentials: []statement.CredentialItem{{Ref: credential.String(),
		IssuedAt: statement.NewTime(k.ValidFrom), ExpiresAt: statement.NewTime(k.ValidUntil)}}}
	x := &writing{w: w, key: mine}
	return x.say(c, []statement.Subject{statement.NewSubject(who, nil)},
		&statement.Identity{Mode: "event", Source: "trust-list", At: statement.NewTime(time.Now()), Items: []statement.IdentityItem{item}})
}
