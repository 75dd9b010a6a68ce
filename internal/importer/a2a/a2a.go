// Package a2a makes statements out of agent cards of the Agent2Agent protocol,
// of version 1.0 and of the versions 0.x before it.
//
// What maps to what, what is kept in the evidence only and what is refused is
// in docs/format-a2a.md.
package a2a

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"iter"
	"net/url"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/inventory"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// NotCard is the class of a value that is no agent card.
const NotCard = "not-an-agent-card"

// Importer reads agent cards.
type Importer struct{ Options inventory.Options }

// Name gives "a2a".
func (Importer) Name() string { return "a2a" }

// Version gives the version of the mapping.
func (Importer) Version() string { return "1" }

// Recognise tells whether the file begins with an agent card.
func (Importer) Recognise(h *importer.Head) bool {
	return h.Has("name", "skills") && (h.Has("supportedInterfaces") || h.Has("url", "capabilities") || h.Has("protocolVersion") || h.Has("defaultInputModes")) ||
		h.Members != nil && bytes.Contains(h.Bytes, []byte(`"supportedInterfaces"`)) && h.Has("name", "capabilities")
}

// Read yields an Item for each card of the source.
func (im Importer) Read(s importer.Source) iter.Seq2[importer.Item, error] {
	return inventory.Read(im, s, im.Options, rawjson.Rules{}, say)
}

func say(n rawjson.Node, s *inventory.Statements) {
	name := n.Get("name").Text()
	if name == "" || !n.Get("skills").Given() && !n.Get("capabilities").Given() {
		s.Refuse(NotCard, "it has no name, or neither skills nor capabilities; give the agent's card")
		return
	}
	e := &statement.Entity{State: "registered", Description: inventory.Short(n.Get("description").Text()), Origin: "unknown"}
	host := ""
	at := func(u, how string) {
		if p, err := url.Parse(u); err == nil && p.Host != "" && host == "" {
			host = p.Host
		}
		inventory.Set(&e.Attributes, "interface."+rawjson.Secrets(u), how)
	}
	for x := range n.Get("supportedInterfaces").All() {
		at(x.Get("url").Text(), strings.TrimSpace(x.Get("protocolBinding").Text()+" "+x.Get("protocolVersion").Text()))
	}
	if u := n.Get("url").Text(); u != "" {
		at(u, strings.TrimSpace(n.Get("preferredTransport").Text()+" "+n.Get("protocolVersion").Text()))
	}
	for x := range n.Get("additionalInterfaces").All() {
		at(x.Get("url").Text(), x.Get("transport").Text())
	}
	if host == "" {
		host = "-"
	}
	ref := inventory.Name(prov.Agent, "a2a", host, name)
	ref.Version = rawjson.Clip(n.Get("version").Text(), 200)
	security(n, e)
	for x := range n.Get("skills").All() {
		if id := x.Get("id").Text(); id != "" {
			inventory.Set(&e.Attributes, "skill."+id, x.Get("name").Text())
		}
	}
	if u := n.Get("provider").Get("url").Text(); u != "" {
		e.Origin = inventory.Short(u)
	}
	inventory.Set(&e.Attributes, "provider", n.Get("provider").Get("organization").Text())
	signed(n, s)
	sum := sha256.Sum256(n.Raw())
	s.Say(ref, statement.DigestSet{"sha256": hex.EncodeToString(sum[:])}, e)
	s.Rest("", n, "name", "description", "supportedInterfaces", "url", "preferredTransport", "protocolVersion", "additionalInterfaces", "version",
		"skills", "provider", "securitySchemes", "security", "securityRequirements", "signatures")
}

// security tells how callers must prove who they are: the kind of each scheme.
func security(n rawjson.Node, e *statement.Entity) {
	for x := range n.Get("securitySchemes").All() {
		kind := x.Get("type").Text() // 0.x; in 1.0 the one member names it
		for m := range x.All() {
			if k, ok := strings.CutSuffix(m.Key(), "SecurityScheme"); ok {
				kind = k
			}
		}
		inventory.Set(&e.Attributes, "security."+x.Key(), kind)
	}
	if !n.Get("securitySchemes").Given() {
		inventory.Set(&e.Attributes, "security", "none stated")
	}
}

// signed tells whether the card is signed. The key is not in the card, so a
// signature proves nothing by itself.
func signed(n rawjson.Node, s *inventory.Statements) {
	for range n.Get("signatures").All() {
		s.Check = &statement.EvidenceCheck{Result: statement.CheckUnverified, Reason: "the card is signed, and no key was given to check it with"}
	}
}
