// Package vault makes statements out of the lines of a Vault audit device:
// which token, by its accessor, was issued or used, and which secret was read.
//
// What maps to what, what is kept in the evidence only and what is refused is
// in docs/format-vault.md.
package vault

import (
	"bytes"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/inventory"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// The classes of refusals beside those of rawjson and inventory.
const (
	NotAudit   = "not-a-vault-audit-line"
	Request    = "request-line"
	FailedCall = "failed-call"
)

// Importer reads audit lines.
type Importer struct{ Options inventory.Options }

// Name gives "vault".
func (Importer) Name() string { return "vault" }

// Version gives the version of the mapping.
func (Importer) Version() string { return "1" }

// Recognise tells whether the file begins with an audit line.
func (Importer) Recognise(h *importer.Head) bool {
	t := h.Members["type"]
	return h.Has("time", "request") && (t == "request" || t == "response") && bytes.Contains(h.Bytes, []byte(`"operation"`))
}

// Rules: all data and headers are taken out, also where the device was told
// not to hash them.
var Rules = rawjson.Rules{Wholly: func(key []byte) ([]string, bool) {
	return nil, slices.Contains([]string{"data", "headers", "wrap_info", "warnings"}, string(key))
}}

// Read yields an Item for each line of the source.
func (im Importer) Read(s importer.Source) iter.Seq2[importer.Item, error] {
	return inventory.Read(im, s, im.Options, Rules, say)
}

func say(n rawjson.Node, s *inventory.Statements) {
	req := n.Get("request")
	at := s.Time("time", n.Get("time").Text())
	switch {
	case !req.Given() || at.IsZero():
		s.Refuse(NotAudit, "it has no request or no time; give the lines of an audit device as they are")
		return
	case n.Get("type").Text() == "request":
		s.Refuse(Request, "the line of the response to this request tells what became of it")
		return
	case n.Get("error").Text() != "":
		s.Refuse(FailedCall, "the call failed, so nothing changed by it")
		return
	}
	l := s.Event("vault").At(at)
	who := token(l, n.Get("auth"), at, false)
	if issued := n.Get("response").Get("auth"); issued.Get("accessor").Text() != "" {
		token(l, issued, at, true)
	}
	path := req.Get("path").Text()
	if mount := req.Get("mount_type").Text(); who != "" && path != "" && req.Get("operation").Text() == "read" && mount != "system" && !strings.HasPrefix(path, "sys/") && !strings.HasPrefix(path, "auth/") {
		it := l.Item(who)
		inventory.Add(&it.Secrets, inventory.Text(prov.Secret, "vault", strings.Trim(req.Get("namespace").Get("path").Text()+path, "/")))
	}
}

// token says whose token it is, by its accessor, and gives the identity. The
// accessor is hashed by the device under a salt of its own.
func token(l *inventory.Listing, a rawjson.Node, at statement.Time, issued bool) string {
	who := ""
	if e := a.Get("entity_id").Text(); e != "" {
		who = inventory.Text(prov.Workload, "vault", "entity", e)
	} else if d := a.Get("display_name").Text(); d != "" {
		who = inventory.Text(prov.Workload, "vault", "token", d)
	}
	if who == "" {
		return ""
	}
	it := l.Item(who)
	inventory.Set(&it.Attributes, "displayName", a.Get("display_name").Text())
	for _, p := range inventory.Texts(a.Get("policies")) {
		inventory.Add(&it.MemberOf, inventory.Text(prov.Role, "vault", "policy", p))
	}
	if acc := a.Get("accessor").Text(); acc != "" {
		c := statement.CredentialItem{Ref: inventory.Text(prov.Credential, "vault", acc), Kind: "vault-token", LastUsedAt: at}
		if t, ok := inventory.ParseTime(a.Get("token_issue_time").Text()); ok {
			c.IssuedAt = t
		}
		if issued {
			c.LastUsedAt = statement.Time{}
			if c.IssuedAt.IsZero() {
				c.IssuedAt = at
			}
		}
		if ttl, err := strconv.ParseInt(a.Get("token_ttl").Text(), 10, 32); err == nil && ttl > 0 && !c.IssuedAt.IsZero() {
			if t := c.IssuedAt.Add(time.Duration(ttl) * time.Second); t.Year() < 2261 {
				c.ExpiresAt = statement.NewTime(t)
			}
		}
		inventory.Set(&c.Attributes, "type", a.Get("token_type").Text())
		it.Credentials = append(it.Credentials, c)
	}
	return who
}
