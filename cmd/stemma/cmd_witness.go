package main

import (
	"fmt"
	"log/slog"
	"net"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/stemma-lineage/stemma/internal/witnessing"
)

func witnessCommand() *cobra.Command {
	c := &cobra.Command{Use: "witness", Short: "Be a witness: cosign the checkpoints of other logs", Args: cobra.ArbitraryArgs,
		Example: "  stemma witness init /var/lib/stemma-witness --name witness.example/w1\n  stemma witness add /var/lib/stemma-witness 'acme.example/log+1a2b3c4d+…'\n  stemma witness serve /var/lib/stemma-witness --listen 127.0.0.1:7380\n  stemma witness key /var/lib/stemma-witness",
		Long:    "It speaks C2SP tlog-witness and cosigns by C2SP tlog-cosignature (Ed25519). Never restore its folder from a backup, and never run a copy of it: a key that forgot what it cosigned may sign a second history. docs/witness.md tells more.",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("stemma witness has no %q; use init, add, serve or key", args[0])
			}
			return c.Help()
		}}
	mk := &cobra.Command{Use: "init DIR", Short: "Make a witness: its key and its folder", Args: exactly("a new folder")}
	mk.Flags().String("name", "", "its name, an address without https:// that you own (required)")
	mk.Flags().StringArray("log", nil, "the public key of a log to cosign, or a file that holds it; may be repeated")
	mk.RunE = func(c *cobra.Command, args []string) error {
		name, _ := c.Flags().GetString("name")
		if name == "" {
			return usage("--name is missing; name the witness, for example --name witness.example/w1")
		}
		d, err := witnessing.InitDir(args[0], name)
		if err != nil {
			return err
		}
		logs, _ := c.Flags().GetStringArray("log")
		for _, l := range logs {
			if _, err := d.AddLog(keyOrFile(l)); err != nil {
				return usageError{err}
			}
		}
		fmt.Fprintln(c.OutOrStdout(), d.Key())
		return nil
	}
	add := &cobra.Command{Use: "add DIR KEY", Short: "Cosign a log, from now on", Args: exactly("the folder of the witness", "the log's public key (or a file that holds it)"),
		RunE: func(c *cobra.Command, args []string) error {
			d, err := witnessing.OpenDir(args[0])
			if err != nil {
				return err
			}
			v, err := d.AddLog(keyOrFile(args[1]))
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%s cosigns %s; a witness that is running must be started again\n", d.Name(), v.Name())
			return nil
		}}
	key := &cobra.Command{Use: "key DIR", Short: "Its public key, for the logs' lists", Args: exactly("the folder of the witness"),
		RunE: func(c *cobra.Command, args []string) error {
			d, err := witnessing.OpenDir(args[0])
			if err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), d.Key())
			return nil
		}}
	serve := &cobra.Command{Use: "serve DIR", Short: "Answer add-checkpoint", Args: exactly("the folder of the witness"), RunE: witnessServe}
	serve.Flags().String("listen", "127.0.0.1:7380", "the address; put a proxy with TLS before it")
	c.AddCommand(mk, add, serve, key)
	return c
}

func witnessServe(c *cobra.Command, args []string) error {
	d, err := witnessing.OpenDir(args[0])
	if err != nil {
		return err
	}
	release, err := d.Lock()
	if err != nil {
		return err
	}
	defer release()
	s, err := witnessing.NewServer(d, slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil)))
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGTERM)
	defer stop()
	address, _ := c.Flags().GetString("listen")
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.ErrOrStderr(), "%s answers at http://%s\n", d.Name(), l.Addr())
	return s.Serve(ctx, l)
}
