package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stemma-lineage/stemma/internal/app"
	"github.com/stemma-lineage/stemma/internal/evlog"
	"github.com/stemma-lineage/stemma/internal/keys"
	"github.com/stemma-lineage/stemma/internal/query"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

func initCommand() *cobra.Command {
	c := &cobra.Command{Use: "init", Short: "Make a log in this folder, and a signing key if there is none",
		Example: "  stemma init\n  stemma init --as person:ann@acme.example --origin acme.example/fraud\n  stemma init --successor-of ../2026", Args: exactly0}
	c.Flags().String("as", "", "who signs, for a new key (default: your git address)")
	c.Flags().String("key", "default", "the signing key's name")
	c.Flags().String("origin", "", "the log's name in its checkpoints")
	c.Flags().String("successor-of", "", "the closed log that this one continues: its folder, or a file with its final checkpoint")
	c.Flags().String("log-key", "", "with a checkpoint: the public key of that log, or a file that holds it")
	c.RunE = func(c *cobra.Command, _ []string) error {
		dir, _ := c.Flags().GetString("dir")
		origin, _ := c.Flags().GetString("origin")
		k, made, err := ensureKey(c)
		if err != nil {
			return err
		}
		if dir == "" {
			dir = "."
		}
		before, where, err := predecessor(c, dir)
		if err != nil {
			return err
		}
		w, err := app.Init(c.Context(), dir, app.Options{Origin: origin, Key: k})
		if err != nil {
			return err
		}
		defer w.Close()
		out := c.OutOrStdout()
		if made {
			fmt.Fprintf(out, "made signing key %q for %s\n", k.Name, k.Principal)
		}
		fmt.Fprintf(out, "made log %s in %s\n", w.Log.Origin(), w.Dir)
		if before != nil {
			a, err := w.Succeed(c.Context(), k, *before, where)
			if err != nil {
				return err
			}
			fmt.Fprintf(out, "it continues log %s of %d entries, root %s (entry %d)\n", before.Origin, before.Size, before.Root, a.Index)
		}
		fmt.Fprintf(out, "its public key, for those who verify: %s\n", w.Log.Key())
		fmt.Fprintf(out, "next: stemma import openlineage FILE…, or stemma add FILE --as model:NAME@VERSION\n")
		return nil
	}
	return c
}

func exactly0(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage("%s takes no arguments, but got %q", c.CommandPath(), args[0])
	}
	return nil
}

func ensureKey(c *cobra.Command) (k keys.Key, made bool, err error) {
	name, _ := c.Flags().GetString("key")
	k, err = keys.Load(name)
	if !errors.Is(err, keys.ErrNotFound) {
		return k, false, err
	}
	principal, err := keys.DefaultPrincipal()
	if as, _ := c.Flags().GetString("as"); as != "" {
		principal, err = prov.ParseRef(as)
	}
	if err != nil {
		return k, false, err
	}
	k, err = keys.Generate(name, principal)
	return k, true, err
}

// writing is what every command that records a statement shares.
type writing struct {
	w       *app.Workspace
	key     keys.Key
	signers []statement.Signer
}

func signFlags(c *cobra.Command) {
	c.Flags().String("key", "default", "the signing key's name")
	c.Flags().String("ssh-key", "", "sign with this OpenSSH private key file instead")
	c.Flags().Bool("dry-run", false, "print the statement that would be signed, and record nothing")
	c.Flags().String("at", "", "when it happened (default: now)")
}

func begin(c *cobra.Command) (*writing, error) {
	w, err := workspace(c)
	if err != nil {
		return nil, err
	}
	name, _ := c.Flags().GetString("key")
	x := &writing{w: w}
	if file, _ := c.Flags().GetString("ssh-key"); file != "" {
		s, err := keys.SSHSigner(file)
		if err == nil {
			x.signers = []statement.Signer{s}
			x.key.Principal, err = x.principalOf(s)
		}
		if err != nil {
			w.Close()
			return nil, err
		}
		return x, nil
	}
	if x.key, err = loadKey(name); err != nil {
		w.Close()
		return nil, err
	}
	return x, nil
}

func (x *writing) principalOf(s statement.Signer) (prov.Ref, error) {
	id, err := s.KeyID()
	if err != nil {
		return prov.Ref{}, err
	}
	k, ok := x.w.Trust.Find(id)
	if !ok {
		return prov.Ref{}, fmt.Errorf("%w: %s is not in the trust list; add its line with stemma key trust", app.ErrUntrusted, id)
	}
	return prov.ParseRef(k.Principal)
}

func when(c *cobra.Command) (statement.Time, error) {
	s, _ := c.Flags().GetString("at")
	if s == "" {
		return statement.NewTime(time.Now()), nil
	}
	t, err := prov.ParseTime(s)
	if err != nil {
		return statement.Time{}, usage("--at: %v", err)
	}
	return statement.NewTime(t), nil
}

// say records a statement, or prints it with --dry-run.
func (x *writing) say(c *cobra.Command, subjects []statement.Subject, p statement.Predicate) error {
	if dry, _ := c.Flags().GetBool("dry-run"); dry {
		payload, err := statement.Format(subjects, p)
		if err == nil {
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s\n", payload)
		}
		return err
	}
	out, err := x.w.Say(c.Context(), x.key, subjects, p, x.signers...)
	if err != nil {
		return err
	}
	var names []string
	for _, s := range subjects {
		names = append(names, s.Name)
	}
	fmt.Fprintf(c.OutOrStdout(), "%s, signed by %s: %s\n", entryText(out), x.key.Principal, strings.Join(names, ", "))
	return nil
}

func entryText(a evlog.Appended) string {
	if a.Erased {
		return fmt.Sprintf("entry %d stood there, and entry %d erased its content; it is not recorded again", a.Index, a.ErasedBy)
	}
	if a.Duplicate {
		return fmt.Sprintf("entry %d stood there already", a.Index)
	}
	return fmt.Sprintf("entry %d", a.Index)
}

// subject reads what a statement is about: a file, which is hashed, or a Ref.
// Of a Ref, the digest is taken from the log if one is known.
func (x *writing) subject(c *cobra.Command, text, as string) (statement.Subject, error) {
	if st, err := os.Stat(text); err == nil && !strings.Contains(text, "@") {
		if st.IsDir() {
			return statement.Subject{}, usage("%s is a folder; name its files", text)
		}
		digest, err := hashFile(text)
		if err != nil {
			return statement.Subject{}, err
		}
		ref := prov.Ref{Kind: prov.File, Name: filepath.Base(text)}
		if as != "" {
			if ref, err = prov.ParseRef(as); err != nil {
				return statement.Subject{}, err
			}
		}
		return statement.NewSubject(ref, statement.DigestSet{"sha256": digest}), nil
	}
	ref, err := prov.ParseRef(text)
	if err != nil {
		return statement.Subject{}, fmt.Errorf("%s is neither a file here nor a Ref: %w", text, err)
	}
	g, _, err := x.w.Graph(c.Context())
	if err != nil {
		return statement.Subject{}, err
	}
	found, digest, err := query.Identify(g.At(prov.Now), text)
	switch {
	case errors.Is(err, query.ErrNotFound):
		return statement.NewSubject(ref, nil), nil
	case err != nil:
		return statement.Subject{}, err
	}
	set := statement.DigestSet{}
	if !digest.IsZero() {
		set[string(digest.Kind)] = digest.Name
	}
	return statement.NewSubject(found, set), nil
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("hashing %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (x *writing) resources(c *cobra.Command, flag string) ([]statement.Resource, error) {
	list, err := c.Flags().GetStringSlice(flag)
	if err != nil {
		return nil, err
	}
	var out []statement.Resource
	for _, text := range list {
		s, err := x.subject(c, text, "")
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", flag, err)
		}
		out = append(out, resourceOf(s))
	}
	return out, nil
}

func resourceOf(s statement.Subject) statement.Resource {
	r := statement.Resource{Ref: s.Name, Namespace: s.Annotations["namespace"]}
	if s.Digest.Content() != (prov.Ref{}) {
		r.Digest = s.Digest
	}
	return r
}

func addCommand() *cobra.Command {
	c := &cobra.Command{Use: "add FILE|REF", Short: "Register a file or a thing, with its owner, origin and what it was made from",
		Example: "  stemma add model.safetensors --as model:fraud@3 --from dataset:transactions@2026-03\n  stemma add data.csv --as dataset:raw@1 --origin s3://acme/raw.csv --owner team:data", Args: exactly("one FILE or REF")}
	signFlags(c)
	c.Flags().String("as", "", "the name of the file, as kind:name@version")
	c.Flags().String("owner", "", "who answers for it")
	c.Flags().String("origin", "", "where it came from: a URI, or unknown")
	c.Flags().String("licence", "", "its licence")
	c.Flags().String("description", "", "a line about it")
	c.Flags().StringSlice("from", nil, "what it was made from")
	c.Flags().StringSlice("same-as", nil, "other names of it")
	c.RunE = func(c *cobra.Command, args []string) error {
		x, err := begin(c)
		if err != nil {
			return err
		}
		defer x.w.Close()
		as, _ := c.Flags().GetString("as")
		s, err := x.subject(c, args[0], as)
		if err != nil {
			return err
		}
		e := &statement.Entity{State: "registered"}
		if e.At, err = when(c); err != nil {
			return err
		}
		e.Owner, _ = c.Flags().GetString("owner")
		e.Origin, _ = c.Flags().GetString("origin")
		e.Licence, _ = c.Flags().GetString("licence")
		e.Description, _ = c.Flags().GetString("description")
		if e.SameAs, err = x.resources(c, "same-as"); err != nil {
			return err
		}
		from, err := x.resources(c, "from")
		if err != nil {
			return err
		}
		if len(from) > 0 {
			d := statement.Derivation{To: resourceOf(s), Rule: statement.RuleStated}
			for _, f := range from {
				d.From = append(d.From, statement.DerivedInput{Resource: f})
			}
			e.Derived = []statement.Derivation{d}
		}
		return x.say(c, []statement.Subject{s}, e)
	}
	return c
}

func deployCommand() *cobra.Command {
	c := &cobra.Command{Use: "deploy REF", Short: "Record that a thing went live, was rolled back to, or was taken down",
		Example: "  stemma deploy model:fraud@3 --env prod --service fraud-scoring --runs-as sa:prod/scorer --prompt prompt:scoring@3\n  stemma deploy model:fraud@2 --env prod --service fraud-scoring --rollback deployment:prod/fraud-scoring@v2 --reason \"incident 481\"", Args: exactly("one REF")}
	signFlags(c)
	c.Flags().String("env", "", "the environment (required)")
	c.Flags().String("service", "", "the service (required)")
	c.Flags().String("id", "", "the deployment's Ref (default: made of environment, service and time)")
	c.Flags().String("rollback", "", "it is a rollback that restores this deployment")
	c.Flags().Bool("retire", false, "it was taken down")
	c.Flags().String("supersedes", "", "the deployment whose place it takes")
	c.Flags().StringSlice("runs-as", nil, "identities that it runs as")
	for _, f := range []string{"credential", "secret", "tool", "prompt"} {
		c.Flags().StringSlice(f, nil, f+"s that it has; references, never values")
	}
	c.Flags().String("policy", "", "the policy bundle that governs it")
	c.Flags().String("reason", "", "why")
	c.RunE = func(c *cobra.Command, args []string) error {
		x, err := begin(c)
		if err != nil {
			return err
		}
		defer x.w.Close()
		d, err := x.deployment(c)
		if err != nil {
			return err
		}
		s, err := x.subject(c, args[0], "")
		if err != nil {
			return err
		}
		return x.say(c, []statement.Subject{s}, d)
	}
	return c
}

func (x *writing) deployment(c *cobra.Command) (*statement.Deployment, error) {
	get := func(f string) string { s, _ := c.Flags().GetString(f); return s }
	d := &statement.Deployment{Action: "deploy", ID: get("id"), Supersedes: get("supersedes"), Reason: get("reason"),
		Identities: []statement.Party{{Ref: x.key.Principal.String(), Role: "deployer"}}}
	for flag, to := range map[string]*string{"env": &d.Environment, "service": &d.Service} {
		v := get(flag)
		if v == "" {
			return nil, usage("--%s is missing", flag)
		}
		*to = flag + ":" + strings.TrimPrefix(v, flag+":")
	}
	if r := get("rollback"); r != "" {
		d.Action, d.Restores = "rollback", r
	}
	if retire, _ := c.Flags().GetBool("retire"); retire {
		d.Action = "retire"
	}
	d.RunsAs, _ = c.Flags().GetStringSlice("runs-as")
	var err error
	if d.At, err = when(c); err != nil {
		return nil, err
	}
	for flag, to := range map[string]*[]statement.Resource{"credential": &d.Credentials, "secret": &d.Secrets, "tool": &d.Tools, "prompt": &d.Prompts} {
		if *to, err = x.resources(c, flag); err != nil {
			return nil, err
		}
	}
	if p := get("policy"); p != "" {
		s, err := x.subject(c, p, "")
		if err != nil {
			return nil, err
		}
		r := resourceOf(s)
		d.PolicyBundle = &r
	}
	return d, nil
}

func noticeCommand() *cobra.Command {
	c := &cobra.Command{Use: "notice REF", Short: "Record that something became known: compromised, vulnerable, leaked, …",
		Example: "  stemma notice dataset:transactions@2026-03 --kind compromised --since 2026-03-07 --severity critical --source soc", Args: exactly("one REF")}
	signFlags(c)
	c.Flags().String("kind", "", "compromised, vulnerable, leaked, withdrawn or out-of-validation (required)")
	c.Flags().String("since", "", "since when it was so")
	c.Flags().String("until", "", "until when")
	c.Flags().String("severity", "", "low, medium, high or critical")
	c.Flags().String("source", "", "who says so")
	c.Flags().String("description", "", "what happened")
	c.RunE = func(c *cobra.Command, args []string) error {
		x, err := begin(c)
		if err != nil {
			return err
		}
		defer x.w.Close()
		n := &statement.Notice{}
		n.Kind, _ = c.Flags().GetString("kind")
		n.Severity, _ = c.Flags().GetString("severity")
		n.Source, _ = c.Flags().GetString("source")
		n.Description, _ = c.Flags().GetString("description")
		if n.At, err = when(c); err != nil {
			return err
		}
		for flag, to := range map[string]*statement.Time{"since": &n.Since, "until": &n.Until} {
			if s, _ := c.Flags().GetString(flag); s != "" {
				t, err := prov.ParseTime(s)
				if err != nil {
					return usage("--%s: %v", flag, err)
				}
				*to = statement.NewTime(t)
			}
		}
		s, err := x.subject(c, args[0], "")
		if err != nil {
			return err
		}
		return x.say(c, []statement.Subject{s}, n)
	}
	return c
}

func recordCommand() *cobra.Command {
	c := &cobra.Command{Use: "record FILE…", Short: "Record signed statements: DSSE envelopes, one a file or one a line",
		Example: "  stemma record statement.dsse.json\n  stemma record --sign statement.json\n  cat envelopes.ndjson | stemma record -\n  stemma record --sign --withhold comment --withhold parameters statement.json"}
	c.Flags().Bool("sign", false, "the files are statements; sign them first")
	c.Flags().StringSlice("withhold", nil, "with --sign: a field of the predicate that is replaced by a salted digest; its disclosure is kept as evidence")
	c.Flags().String("key", "default", "the signing key's name")
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usage("stemma record takes files, or - for standard input")
		}
		return nil
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		x, err := begin(c)
		if err != nil {
			return err
		}
		defer x.w.Close()
		sign, _ := c.Flags().GetBool("sign")
		if c.Flags().Changed("withhold") && !sign {
			return usage("--withhold goes with --sign: what is signed already cannot be changed")
		}
		for _, name := range args {
			if err := x.recordFile(c, name, sign); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return nil
	}
	return c
}

func (x *writing) recordFile(c *cobra.Command, name string, sign bool) error {
	in := c.InOrStdin()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, statement.MaxEnvelope+1))
	if err != nil {
		return err
	}
	if len(b) > statement.MaxEnvelope {
		return usage("more than %d bytes; split it into files", statement.MaxEnvelope)
	}
	var envelopes [][]byte
	for i, part := range documents(b) {
		env := part
		if sign {
			if _, err := statement.Parse(part); err != nil {
				return usageError{fmt.Errorf("document %d: %w", i+1, err)}
			}
			if part, err = x.withhold(c, part); err != nil {
				return usageError{fmt.Errorf("document %d: %w", i+1, err)}
			}
			s, err := x.key.Signer()
			if err != nil {
				return err
			}
			if env, err = statement.Sign(c.Context(), part, s); err != nil {
				return err
			}
		} else if env, err = compactEnvelope(part); err != nil {
			return usageError{fmt.Errorf("document %d: %w; nothing of this file was recorded", i+1, err)}
		}
		envelopes = append(envelopes, env)
	}
	if len(envelopes) == 0 {
		return usage("it is empty; nothing was recorded")
	}
	out, err := x.w.Record(c.Context(), x.key.Principal, envelopes...)
	if err != nil {
		return fmt.Errorf("%w; nothing of this file was recorded", err)
	}
	for _, a := range out {
		fmt.Fprintln(c.OutOrStdout(), entryText(a))
	}
	return nil
}

// documents splits NDJSON; anything else is one document.
func documents(b []byte) [][]byte {
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		return nil
	}
	lines := bytes.Split(b, []byte("\n"))
	for _, l := range lines {
		if l = bytes.TrimSpace(l); len(l) > 0 && (l[0] != '{' || l[len(l)-1] != '}') {
			return [][]byte{b}
		}
	}
	var out [][]byte
	for _, l := range lines {
		if l = bytes.TrimSpace(l); len(l) > 0 {
			out = append(out, l)
		}
	}
	return out
}

// compactEnvelope checks an envelope; white space around its JSON is dropped.
func compactEnvelope(b []byte) ([]byte, error) {
	e, err := statement.ParseEnvelope(b)
	if err != nil {
		return nil, err
	}
	if _, err := statement.Parse(e.Payload); err != nil {
		return nil, err
	}
	return statement.FormatEnvelope(e)
}

func loadKey(name string) (keys.Key, error) {
	k, err := keys.Load(name)
	if errors.Is(err, keys.ErrNotFound) {
		return k, fmt.Errorf("%w; stemma key new %s makes it", err, name)
	}
	return k, err
}
