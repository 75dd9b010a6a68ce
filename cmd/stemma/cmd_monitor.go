package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/stemma-lineage/stemma/internal/keys"
	"github.com/stemma-lineage/stemma/internal/monitor"
	"github.com/stemma-lineage/stemma/witness"
)

func logMonitorCommand() *cobra.Command {
	c := &cobra.Command{Use: "monitor URL|DIR", Short: "Follow another log by its tiles, and tell when it has two histories", Args: exactly("the address or folder of an exported log"),
		Example: "  stemma log monitor https://log.example/ --log-key 'acme.example/log+1a2b3c4d+…'\n  stemma log monitor /mnt/export --log-key log.pub --once",
		Long:    "It reads C2SP tlog-tiles: the checkpoint must continue the last one that it saw, and every entry must hash to it. It ends with exit code 12 and a file of evidence when that does not hold."}
	c.Flags().String("log-key", "", "the log's public key, or a file that holds it (required)")
	c.Flags().String("state", "", "the file of the last checkpoint (default: in your configuration directory)")
	c.Flags().String("policy", "", "a witness policy (C2SP tlog-policy): each checkpoint must meet its quorum")
	c.Flags().Bool("once", false, "look once and end")
	c.Flags().Duration("every", time.Minute, "how long to wait between looks")
	c.RunE = func(c *cobra.Command, args []string) error {
		if _, err := logKey(c); err != nil {
			return err
		}
		key, _ := c.Flags().GetString("log-key")
		m := &monitor.Monitor{Source: monitor.OpenSource(args[0]), Key: keyOrFile(key)}
		var err error
		if m.State, _ = c.Flags().GetString("state"); m.State == "" {
			if m.State, err = keys.MonitorPath(m.Key); err != nil {
				return err
			}
		}
		if name, _ := c.Flags().GetString("policy"); name != "" {
			text, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			if m.Policy, err = witness.ParsePolicy(text); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		every, _ := c.Flags().GetDuration("every")
		if every < time.Second {
			return usage("--every is %s; wait a second at least", every)
		}
		once, _ := c.Flags().GetBool("once")
		return follow(c, m, once, every)
	}
	return c
}

var errNotWitnessed = errors.New("the checkpoint does not meet the quorum of the policy")

// follow looks until the context ends. What cannot be read now may be read
// later; anything else ends it.
func follow(c *cobra.Command, m *monitor.Monitor, once bool, every time.Duration) error {
	for {
		seen, err := m.Look(c.Context())
		if err == nil {
			tell(c, seen)
			if m.Policy != nil && !seen.Checkpoint.Quorum {
				err = fmt.Errorf("%w: %s", errNotWitnessed, quorumState(seen.Checkpoint, m.Policy))
			}
		}
		switch {
		case once:
			return err
		case errors.Is(err, monitor.ErrUnreadable), errors.Is(err, errNotWitnessed):
			fmt.Fprintf(c.ErrOrStderr(), "stemma: %v; looking again in %s\n", err, every)
		case errors.Is(err, context.Canceled):
			return nil
		case err != nil:
			return err
		}
		select {
		case <-c.Context().Done():
			return nil
		case <-time.After(every):
		}
	}
}

func tell(c *cobra.Command, s monitor.Seen) {
	out, n := c.OutOrStdout(), s.Checkpoint.Tree.N
	switch {
	case s.First:
		fmt.Fprintf(out, "%s: %d entries, root %s; all hash to it. This is the first look\n", s.Checkpoint.Origin, n, s.Checkpoint.Tree.Hash)
	case n == s.Before:
		fmt.Fprintf(out, "%s: %d entries, nothing new\n", s.Checkpoint.Origin, n)
	default:
		fmt.Fprintf(out, "%s: %d entries, %d new; it continues what was seen before\n", s.Checkpoint.Origin, n, n-s.Before)
	}
}

func logForkCommand() *cobra.Command {
	c := &cobra.Command{Use: "fork FILE", Short: "Tell what a file of evidence proves", Args: exactly("a file of evidence"),
		Example: "  stemma log fork .stemma/fork-20260315T120000Z.txt --log-key log.pub",
		Long:    "Such files are written when a log does not continue what it signed before: at its start-up, by a monitor, by a witness. docs/witness.md has their format."}
	c.Flags().String("log-key", "", "the log's public key, or a file that holds it (required)")
	c.RunE = func(c *cobra.Command, args []string) error {
		v, err := logKey(c)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(args[0])
		if err != nil {
			return err
		}
		f, err := witness.ParseFork(text)
		if err != nil {
			return fmt.Errorf("%s: %w: %w", args[0], witness.ErrProof, err)
		}
		what, err := f.Check(v)
		if err != nil {
			return fmt.Errorf("%s: %w: %w", args[0], witness.ErrProof, err)
		}
		fmt.Fprintf(c.OutOrStdout(), "%s: %s\nfound by %s at %s\n", what, what.Explain(), f.By, f.Found.Format(time.RFC3339))
		return nil
	}
	return c
}
