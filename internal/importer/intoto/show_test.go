package intoto

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/statement"
)

// TestStatements shows what Statements become, in testdata/statements/*. The
// command "envelope" puts its input into a DSSE envelope first; "evidence"
// shows what is kept, "payload" what is kept of the payload.
func TestStatements(t *testing.T) {
	datadriven.Walk(t, filepath.Join("testdata", "statements"), func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			in := []byte(d.Input)
			if d.Cmd == "envelope" || d.Cmd == "payload" {
				in = envelope(d.Input)
			}
			var b strings.Builder
			for _, it := range readItems(t, in, Options{}) {
				var one strings.Builder
				summarise(&one, it)
				text := one.String()
				if it.Refusal == nil { // how the checker words its reasons is tested where it checks
					v := statement.EvidenceOf(it.Statements[0].Predicate)[0].Verified
					if v.Result != statement.CheckFailed && v.Reason != "" {
						text = strings.ReplaceAll(text, v.Reason, "(reason)")
					}
				}
				b.WriteString(text)
				switch {
				case it.Refusal != nil:
				case d.Cmd == "evidence":
					fmt.Fprintf(&b, "  evidence: %s\n", bytes.ReplaceAll(it.Evidence, []byte("\n"), []byte("\n  ")))
				case d.Cmd == "payload":
					_, text, _ := strings.Cut(string(it.Evidence), `"payload":"`)
					text, rest, _ := strings.Cut(text, `"`)
					p, err := base64.StdEncoding.DecodeString(text)
					fmt.Fprintf(&b, "  payload: %s %v\n  after it: %s\n", p, err, rest)
				}
			}
			return b.String()
		})
	})
}

func envelope(payload string) []byte {
	return fmt.Appendf(nil, `{"payloadType":"application/vnd.in-toto+json","payload":%q,"signatures":[{"keyid":"k","sig":"AAAA"}]}`,
		base64.StdEncoding.EncodeToString([]byte(payload)))
}

// summarise writes an Item in short.
func summarise(b *strings.Builder, it importer.Item) {
	if it.Refusal != nil {
		fmt.Fprintf(b, "%s refused, %s\n", it.Place, it.Refusal.Error())
		return
	}
	ev := statement.EvidenceOf(it.Statements[0].Predicate)[0]
	fmt.Fprintf(b, "%s accepted, %s\n", it.Place, strings.TrimSpace(ev.Verified.Result+" "+ev.Verified.Reason))
	for _, d := range it.Statements {
		switch p := d.Predicate.(type) {
		case *statement.Activity:
			summariseActivity(b, d, p)
		case *statement.Entity:
			fmt.Fprintf(b, "  entity %s %s\n", p.State, p.At)
			subjects(b, d.Subjects)
			for _, r := range p.PartOf {
				fmt.Fprintf(b, "    part of %s\n", r.Ref)
			}
			pairs(b, "attribute", p.Attributes)
		case *statement.Delegation:
			fmt.Fprintf(b, "  delegation %s to %s %s %s\n", p.Parent, p.Child, p.IssuedAt, p.Grade)
		case *statement.Notice:
			fmt.Fprintf(b, "  notice %s %s severity=%s %s\n", p.Kind, p.ID, p.Severity, p.At)
			subjects(b, d.Subjects)
		}
	}
	for _, n := range it.Notes {
		fmt.Fprintf(b, "  note: %s\n", n)
	}
	for _, p := range ev.Redacted {
		fmt.Fprintf(b, "  redacted: %s\n", p)
	}
}

func summariseActivity(b *strings.Builder, d importer.Draft, p *statement.Activity) {
	fmt.Fprintf(b, "  %s %s %s", p.Kind, p.ID, p.State)
	for _, x := range []struct {
		name string
		t    statement.Time
	}{{"started", p.StartedAt}, {"ended", p.EndedAt}, {"observed", p.ObservedAt}} {
		if !x.t.IsZero() {
			fmt.Fprintf(b, " %s=%s", x.name, x.t)
		}
	}
	fmt.Fprintf(b, " inputs=%s\n", p.InputsCompleteness)
	subjects(b, d.Subjects)
	if p.Plan != nil {
		fmt.Fprintf(b, "    plan %s\n", p.Plan.Ref)
	}
	for _, u := range p.Used {
		fmt.Fprintf(b, "    used %s\n", strings.TrimSpace(label(u.Ref, u.Digest)+" "+u.Role))
	}
	for _, x := range p.Identities {
		fmt.Fprintf(b, "    identity %s %s\n", x.Ref, x.Role)
	}
	for _, x := range p.OnBehalfOf {
		fmt.Fprintf(b, "    on behalf of %s %s\n", x.Ref, x.Role)
	}
	for _, x := range p.Tools {
		fmt.Fprintf(b, "    tool %s\n", x.Ref)
	}
	pairs(b, "parameter", p.Parameters)
	pairs(b, "environment", p.Environment)
}

func subjects(b *strings.Builder, list []statement.Subject) {
	for _, s := range list {
		fmt.Fprintf(b, "    subject %s\n", label(s.Name, s.Digest))
	}
}

// label writes a name with the beginning of each digest.
func label(name string, d statement.DigestSet) string {
	parts := []string{}
	for alg, h := range d {
		if alg != statement.RefDigest {
			parts = append(parts, alg+":"+h[:min(8, len(h))])
		}
	}
	sort.Strings(parts)
	return strings.TrimSpace(name + " (" + strings.Join(parts, " ") + ")")
}

func pairs(b *strings.Builder, what string, m map[string]string) {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		fmt.Fprintf(b, "    %s %s = %s\n", what, k, m[k])
	}
}
