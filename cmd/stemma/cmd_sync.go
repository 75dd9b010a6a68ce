package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stemma-lineage/stemma/internal/app"
	"github.com/stemma-lineage/stemma/internal/capture"
	"github.com/stemma-lineage/stemma/internal/evlog"
	"github.com/stemma-lineage/stemma/internal/keys"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

func syncCommand() *cobra.Command {
	c := &cobra.Command{Use: "sync", Short: "Bring runs into the log that could not be recorded when they ended", Args: exactly0,
		Example: "  stemma sync",
		Long:    "What stands in .stemma/spool was signed when it was captured and says when that was; the log adds when it was recorded. Doing it twice records nothing twice"}
	c.Flags().String("key", "default", "the signing key's name, for runs that could not be signed")
	c.RunE = func(c *cobra.Command, _ []string) error {
		x, err := begin(c)
		if errors.Is(err, keys.ErrNotFound) || errors.Is(err, keys.ErrExposed) {
			c.PrintErrf("stemma: %v; only what is signed already is recorded\n", err)
			x, err = nil, nil
		}
		if err != nil {
			return err
		}
		s := syncing{out: c.OutOrStdout(), problem: func(format string, args ...any) { c.PrintErrf("stemma: "+format+"\n", args...) }}
		if x != nil {
			s.w, s.key = x.w, x.key
		} else if s.w, err = workspace(c); err != nil {
			return err
		}
		defer s.w.Close()
		return s.all(c.Context())
	}
	return c
}

// syncing brings a workspace's spools into its log.
type syncing struct {
	w       *app.Workspace
	key     keys.Key // zero: there is none
	out     io.Writer
	problem func(format string, args ...any)
}

func (s syncing) all(ctx context.Context) error {
	dirs := []string{s.w.Dir}
	if other, err := capture.Fallback(s.w.Dir); err == nil {
		dirs = append(dirs, other)
	}
	done, left := 0, 0
	for _, dir := range dirs {
		list, err := capture.SpoolOf(dir).List()
		if err != nil {
			return err
		}
		if len(list) > 0 && dir != s.w.Dir {
			if err := s.moveBlobs(dir); err != nil {
				return err
			}
		}
		for _, x := range list {
			if err := s.one(ctx, x); err != nil {
				left++
				s.problem("%s stays in the spool: %v", x.ID, err)
				continue
			}
			done++
		}
		for _, b := range capture.SpoolOf(dir).Lost() {
			if err := s.lost(ctx, b); err != nil {
				left++
				s.problem("%s stays marked as begun: %v", b.ID, err)
				continue
			}
			done++
		}
	}
	switch {
	case left > 0:
		return fmt.Errorf("%d of %d runs could not be recorded", left, left+done)
	case done == 0:
		fmt.Fprintln(s.out, "nothing is spooled")
	}
	return nil
}

func (s syncing) one(ctx context.Context, x capture.Spooled) error {
	lines := x.Lines
	if !x.Signed {
		if s.key.Name == "" {
			return errors.New("it is not signed, and there is no key to sign it with; stemma key new default makes one")
		}
		if !x.Own {
			return fmt.Errorf("it is not signed, and another user may have written %s; whoever owns it can sync it", x.Path)
		}
		lines = nil
		for _, l := range x.Lines {
			st, err := statement.Parse(l)
			if err != nil {
				return err
			}
			if t := st.PredicateType; t != statement.ActivityType && t != statement.EntityType {
				return fmt.Errorf("it is not signed and says %s, which no capture does", t)
			}
			signer, err := s.key.Signer()
			if err != nil {
				return err
			}
			env, err := statement.Sign(ctx, l, signer)
			if err != nil {
				return err
			}
			lines = append(lines, env)
		}
	}
	out, err := s.w.Record(ctx, s.by(), lines...)
	if err != nil {
		return err
	}
	s.say(x.ID, out)
	return x.Done()
}

// by says who records: whoever holds the key here, else whoever is logged in.
func (s syncing) by() prov.Ref {
	if s.key.Name != "" {
		return s.key.Principal
	}
	if p, err := keys.DefaultPrincipal(); err == nil {
		return p
	}
	return prov.Ref{Kind: prov.Person, Name: "unknown"}
}

func (s syncing) say(id string, out []evlog.Appended) {
	var names []string
	for _, a := range out {
		names = append(names, entryText(a))
	}
	fmt.Fprintf(s.out, "%s: %s\n", id, strings.Join(names, ", "))
}

func (s syncing) lost(ctx context.Context, b capture.Begun) error {
	if s.key.Name == "" {
		return errors.New("there is no key to sign with; stemma key new default makes one")
	}
	d := b.Draft()
	a, err := s.w.Say(ctx, s.key, d.Subjects, d.Predicate)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%s: its recorder was ended before it could record it; %s says only that it began\n", b.ID, entryText(a))
	return b.Done()
}

// moveBlobs brings evidence from the spool in the cache directory.
func (s syncing) moveBlobs(dir string) error {
	from := filepath.Join(dir, "blobs", "sha256")
	names, err := filepath.Glob(filepath.Join(from, "??", "*"))
	if err != nil {
		return err
	}
	for _, n := range names {
		f, err := os.Open(n)
		if err != nil {
			return err
		}
		digest, _, err := s.w.Blobs.Put(f)
		f.Close()
		if err != nil {
			return err
		}
		if want := filepath.Base(filepath.Dir(n)) + filepath.Base(n); digest == want {
			_ = os.Remove(n)
		}
	}
	return nil
}
