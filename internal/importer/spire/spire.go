// Package spire makes statements out of SPIRE registration entries, as
// `spire-server entry show -output json` lists them and `entry create -data`
// reads them.
//
// What maps to what, what is kept in the evidence only and what is refused is
// in docs/format-spire.md.
package spire

import (
	"bytes"
	"iter"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/inventory"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// The classes of refusals beside those of rawjson and inventory.
const (
	NoEntries   = "not-spire-entries"
	BadSPIFFEID = "malformed-spiffe-id"
	Aside       = "aside"
)

// Importer reads registration entries.
type Importer struct{ Options inventory.Options }

// Name gives "spire".
func (Importer) Name() string { return "spire" }

// Version gives the version of the mapping.
func (Importer) Version() string { return "1" }

// Recognise tells whether the file holds registration entries, or the list of
// entries to delete.
func (Importer) Recognise(h *importer.Head) bool {
	if h.Members["Ids"] == "[" && len(h.Members) == 1 {
		return true
	}
	return h.Members != nil && (bytes.Contains(h.Bytes, []byte(`"spiffe_id"`)) || bytes.Contains(h.Bytes, []byte(`"spiffeId"`))) &&
		bytes.Contains(h.Bytes, []byte(`"selectors"`))
}

// Read yields an Item for each document of the source.
func (im Importer) Read(s importer.Source) iter.Seq2[importer.Item, error] {
	return inventory.Read(im, s, im.Options, rawjson.Rules{}, im.say)
}

func (im Importer) say(n rawjson.Node, s *inventory.Statements) {
	if n.Get("Ids").Kind() == '[' {
		s.Refuse(Aside, "it names entries to delete, and says nothing of what they are")
		return
	}
	r := &reading{s: s, o: im.Options}
	if n.Get("entries").Kind() == '[' {
		r.entries(n)
	} else if either(n, "spiffe_id", "spiffeId").Given() {
		r.o.Event = true
		r.entry(n, true)
	} else {
		r.o.Event = true
		for m := range n.All() {
			r.entries(m)
		}
	}
	if r.good == 0 && r.bad > 0 {
		s.Refuse(BadSPIFFEID, "none of its entries has a SPIFFE ID, spiffe://TRUST-DOMAIN/PATH; %s", r.first)
	} else if r.good == 0 {
		s.Refuse(NoEntries, "it holds no registration entries; give the JSON of spire-server entry show")
	}
}

type reading struct {
	s         *inventory.Statements
	o         inventory.Options
	good, bad int
	first     string
}

func either(n rawjson.Node, snake, camel string) rawjson.Node {
	if x := n.Get(snake); x.Given() {
		return x
	}
	return n.Get(camel)
}

// entries reads a list. One that a server wrote tells of itself: identifiers,
// revisions, times. Others ask for entries, and are no listing.
func (r *reading) entries(n rawjson.Node) {
	observed := false
	for e := range n.Get("entries").All() {
		observed = observed || either(e, "revision_number", "revisionNumber").Given() || either(e, "created_at", "createdAt").Given()
	}
	if either(n, "next_page_token", "nextPageToken").Text() != "" {
		r.o.Event = true
		r.s.Note("the list is one page of several, so it closes nothing")
	}
	for e := range n.Get("entries").All() {
		r.entry(e, observed)
	}
}

func (r *reading) entry(e rawjson.Node, observed bool) {
	id, ok := spiffeID(either(e, "spiffe_id", "spiffeId"))
	if !ok {
		if r.bad++; r.first == "" {
			r.first = "the first has " + rawjson.Clip(rawjson.Secrets(string(either(e, "spiffe_id", "spiffeId").Raw())), 100)
		}
		r.s.Note("an entry has no SPIFFE ID (SPIFFE-ID section 2) but %s; it is left out", rawjson.Clip(rawjson.Secrets(string(either(e, "spiffe_id", "spiffeId").Raw())), 100))
		return
	}
	r.good++
	td, _, _ := strings.Cut(strings.TrimPrefix(id, "spiffe://"), "/")
	l := r.s.Event("spire/" + td).Grade(statement.GradeDeclared)
	if observed {
		l = r.s.Snapshot(r.o, "spire/"+td+"/entries")
	}
	ref := workload(id)
	it := l.Item(ref)
	it.Human = "no"
	it.CreatedAt = r.s.Time("created_at", zero(either(e, "created_at", "createdAt").Text()))
	var selectors []string
	for s := range e.Get("selectors").All() {
		inventory.Add(&selectors, s.Get("type").Text()+":"+s.Get("value").Text())
	}
	if parent, ok := spiffeID(either(e, "parent_id", "parentId")); ok {
		it.Trust = append(it.Trust, statement.TrustItem{Principal: workload(parent), Condition: inventory.Short("selectors " + strings.Join(selectors, ", "))})
	}
	until := r.s.Time("expires_at", zero(either(e, "expires_at", "expiresAt").Text()))
	key := or(or(e.Get("entry_id").Text(), e.Get("entryId").Text()), or(e.Get("id").Text(), strings.Join(selectors, ",")))
	for _, k := range []struct{ kind, snake, camel string }{{"x509-svid", "x509_svid_ttl", "x509SvidTtl"}, {"jwt-svid", "jwt_svid_ttl", "jwtSvidTtl"}, {"svid", "ttl", "ttl"}} {
		if ttl := zero(either(e, k.snake, k.camel).Text()); ttl != "" {
			c := statement.CredentialItem{Ref: inventory.Text(prov.Credential, id, k.kind, key), Kind: k.kind, ExpiresAt: until}
			inventory.Set(&c.Attributes, "lifetimeSeconds", ttl)
			it.Credentials = append(it.Credentials, c)
		}
	}
	r.rest(it, e, key)
}

func (r *reading) rest(it *statement.IdentityItem, e rawjson.Node, key string) {
	for _, k := range []string{"admin", "downstream", "store_svid"} {
		if e.Get(k).Kind() == 't' {
			inventory.Set(&it.Attributes, k, "yes")
		}
	}
	inventory.Set(&it.Attributes, "entry."+rawjson.Clip(key, 100), or(e.Get("hint").Text(), "listed"))
	for _, k := range []string{"federates_with", "dns_names"} {
		for _, t := range append(inventory.Texts(e.Get(k)), inventory.Texts(either(e, "federatesWith", "dnsNames"))...) {
			inventory.Set(&it.Attributes, k+"."+t, "yes")
		}
	}
}

func zero(s string) string {
	if s == "0" {
		return ""
	}
	return s
}

func or(text, otherwise string) string {
	if text != "" {
		return text
	}
	return otherwise
}

func workload(id string) string { return inventory.Text(prov.Workload, id) }

// spiffeID reads a SPIFFE ID as text, or in the parts trust_domain and path of
// the API (SPIFFE-ID, section 2).
func spiffeID(n rawjson.Node) (string, bool) {
	id := n.Text()
	if n.Kind() == '{' {
		path := n.Get("path").Text()
		if path != "" && !strings.HasPrefix(path, "/") {
			return "", false
		}
		id = "spiffe://" + either(n, "trust_domain", "trustDomain").Text() + path
	}
	rest, ok := strings.CutPrefix(id, "spiffe://")
	td, path, slash := strings.Cut(rest, "/")
	if !ok || td == "" || len(id) > 2048 || strings.Trim(td, "abcdefghijklmnopqrstuvwxyz0123456789.-_") != "" || slash && path == "" {
		return "", false
	}
	for _, seg := range strings.Split(path, "/") {
		if seg == "." || seg == ".." || seg == "" && slash || strings.Trim(seg, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") != "" {
			return "", false
		}
	}
	return id, true
}
