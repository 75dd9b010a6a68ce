package main

import (
	"fmt"
	"log/slog"
	"net"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/stemma-lineage/stemma/internal/admission"
)

func serveCommand() *cobra.Command {
	c := &cobra.Command{Use: "serve", Short: "Answer Kubernetes whether workloads may be admitted",
		Example: "  stemma serve --admission :8443 --tls-cert tls.crt --tls-key tls.key --env prod --dry-run\n  stemma serve --admission :8443 --tls-cert tls.crt --tls-key tls.key --namespace-env payments=prod,payments-test=test --policy policy:production@1",
		Long:    "POST /validate takes AdmissionReview (admission.k8s.io/v1) of Pods and of what makes Pods; GET /livez and /readyz tell its health. Images are asked by digest, and what the annotation " + admission.AnnotationRef + " names. Each verdict is recorded, unless in a dry run. docs/gates.md has the manifest.",
		Args:    exactly0}
	c.Flags().String("admission", "", "the address of the admission webhook, such as :8443 (required)")
	c.Flags().String("tls-cert", "", "its certificate, PEM (required)")
	c.Flags().String("tls-key", "", "the certificate's key, PEM (required)")
	c.Flags().String("client-ca", "", "let only clients with a certificate of these authorities ask, PEM")
	c.Flags().String("env", "", "the environment of every namespace that --namespace-env does not name")
	c.Flags().StringToString("namespace-env", nil, "the environments of namespaces: NAMESPACE=ENV,…")
	c.Flags().StringSlice("policy", nil, "policies to ask: a REF in the log, a file, or library:NAME (default: those in force for the environment)")
	c.Flags().String("fail", "closed", "what is undecided: closed denies, open lets it pass with a warning")
	c.Flags().Bool("dry-run", false, "deny nothing, record nothing, and warn instead")
	c.Flags().String("key", "default", "the signing key's name, for the verdicts")
	c.RunE = func(c *cobra.Command, _ []string) error { return serve(c) }
	return c
}

func serve(c *cobra.Command) error {
	get := func(f string) string { s, _ := c.Flags().GetString(f); return s }
	for _, f := range []string{"admission", "tls-cert", "tls-key"} {
		if get(f) == "" {
			return usage("--%s is missing; stemma serve --help shows examples", f)
		}
	}
	o := admission.Options{Environment: strings.TrimPrefix(get("env"), "env:"), Namespaces: map[string]string{},
		Diagnostics: slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil))}
	switch get("fail") {
	case "closed":
	case "open":
		o.FailOpen = true
	default:
		return usage("--fail is %q; write closed or open", get("fail"))
	}
	o.Policies, _ = c.Flags().GetStringSlice("policy")
	o.DryRun, _ = c.Flags().GetBool("dry-run")
	byNamespace, _ := c.Flags().GetStringToString("namespace-env")
	for ns, env := range byNamespace {
		o.Namespaces[ns] = strings.TrimPrefix(env, "env:")
	}
	if o.Environment == "" && len(o.Namespaces) == 0 {
		return usage("--env is missing; say for which environment, for example --env prod")
	}
	var err error
	if !o.DryRun {
		if o.Key, err = loadKey(get("key")); err != nil {
			return err
		}
	}
	t, err := admission.TLS(get("tls-cert"), get("tls-key"), get("client-ca"))
	if err != nil {
		return err
	}
	if o.Workspace, err = workspace(c); err != nil {
		return err
	}
	defer o.Workspace.Close()
	ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGTERM)
	defer stop()
	if _, _, err := o.Workspace.Graph(ctx); err != nil { // folded before the first request waits for it
		return err
	}
	l, err := net.Listen("tcp", get("admission"))
	if err != nil {
		return err
	}
	fmt.Fprintf(c.ErrOrStderr(), "answering AdmissionReview at https://%s/validate\n", l.Addr())
	return admission.New(o).Serve(ctx, l, t)
}
