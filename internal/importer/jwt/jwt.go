// Package jwt makes statements out of JSON Web Tokens (RFC 7519), or the
// claims of them: who acts for whom by act and client_id (RFC 8693, RFC 9068),
// and transaction tokens. A token is a secret: its claims and header are kept,
// the token and its signature are not.
//
// What maps to what, what is kept in the evidence only and what is refused is
// in docs/format-jwt.md.
package jwt

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/inventory"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// The classes of refusals beside those of rawjson and inventory.
const (
	NotClaims = "not-jwt-claims"
	TooDeep   = "chain-too-deep"
)

// maxHops is how long a chain of actors may be.
const maxHops = 100

// Importer reads tokens and claims.
type Importer struct{ Options inventory.Options }

// Name gives "jwt".
func (Importer) Name() string { return "jwt" }

// Version gives the version of the mapping.
func (Importer) Version() string { return "1" }

var compactToken = regexp.MustCompile(`^eyJ[A-Za-z0-9_-]+\.eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*$`)

// Recognise tells whether the file begins with a token, or with its claims.
func (Importer) Recognise(h *importer.Head) bool {
	if h.Members == nil {
		line, _, _ := bytes.Cut(bytes.TrimSpace(h.Bytes), []byte("\n"))
		return compactToken.Match(bytes.TrimSpace(line))
	}
	claims := h.Has("sub") && (h.Has("act") || h.Has("txn") || h.Has("iss", "exp") || h.Has("aud", "exp"))
	return claims && !h.Has("_type") || h.Members["claims"] == "{" && h.Members["header"] == "{" && bytes.Contains(h.Bytes, []byte(`"alg"`))
}

// Read yields an Item for each token or object of claims of the source.
func (im Importer) Read(s importer.Source) iter.Seq2[importer.Item, error] {
	return func(yield func(importer.Item, error) bool) {
		b := bufio.NewReaderSize(s.R, 4096)
		head, _ := b.Peek(4096)
		s.R = b
		items := inventory.Read(im, s, im.Options, rawjson.Rules{}, say)
		if bytes.HasPrefix(bytes.TrimLeft(head, " \t\r\n"), []byte("eyJ")) {
			items = im.tokens(s)
		}
		for it, err := range items {
			if !yield(it, err) {
				return
			}
		}
	}
}

// tokens yields an Item for each token, one a line.
func (im Importer) tokens(s importer.Source) iter.Seq2[importer.Item, error] {
	return func(yield func(importer.Item, error) bool) {
		data, refusal, err := inventory.All(s.R, min(im.Options.Limit(), 16<<20))
		if err != nil {
			yield(importer.Item{}, fmt.Errorf("reading jwt: %w", err))
			return
		}
		if refusal != nil {
			yield(importer.Item{Place: "line 1", Refusal: refusal}, nil)
			return
		}
		at := 0
		for i, line := range bytes.SplitAfter(data, []byte("\n")) {
			token := bytes.TrimSpace(line)
			if len(token) > 0 {
				it := im.token(string(token))
				it.Place, it.Offset, it.Bytes = fmt.Sprintf("line %d", i+1), int64(at), int64(len(line))
				if !yield(it, nil) {
					return
				}
			}
			at += len(line)
		}
	}
}

// token reads a token: its header and claims are kept, and the digest of the
// whole, by which it is known again.
func (im Importer) token(text string) importer.Item {
	p := strings.Split(text, ".")
	bad := importer.Item{Refusal: &importer.Refusal{Reason: NotClaims, Detail: "the line is no token of three parts whose first two are JSON objects in base64url; give one token a line"}}
	if len(p) != 3 {
		return bad
	}
	var parts [2][]byte
	for i := range parts {
		raw, err := base64.RawURLEncoding.DecodeString(p[i])
		n := inventory.Embedded(string(raw))
		if err != nil || n.Kind() != '{' {
			return bad
		}
		parts[i] = n.Raw()
	}
	sum := sha256.Sum256([]byte(text))
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"header":%s,"claims":%s,"tokenDigest":"sha256:%s"}`, parts[0], parts[1], hex.EncodeToString(sum[:]))
	if !jsontext.Value(b.Bytes()).IsValid(jsontext.AllowDuplicateNames(true)) {
		return bad
	}
	it := inventory.Finish(im, inventory.Unit{Raw: b.Bytes()}, rawjson.Rules{}, say)
	it.Original = sum
	return it
}

// hop is one who acts, from the one for whom all act to the current actor.
type hop struct{ ref string }

func say(n rawjson.Node, s *inventory.Statements) {
	c := n
	for _, w := range []string{"claims", "_claims", "payload"} {
		if x := n.Get(w); x.Kind() == '{' {
			c = x
		}
	}
	if n.Get("tokenDigest").Given() {
		s.Check = &statement.EvidenceCheck{Result: statement.CheckUnverified, Reason: "the signature was not checked: no key of the issuer was given"}
	}
	r := &reading{s: s, c: c, iss: c.Get("iss").Text(), digest: n.Get("tokenDigest").Text()}
	if c.Get("sub").Text() == "" {
		s.Refuse(NotClaims, "it has no sub, so it speaks of nobody; give the claims of a token")
		return
	}
	r.read()
	s.Rest("", c, "sub", "iss", "aud", "exp", "nbf", "iat", "jti", "act", "scope", "scp", "client_id", "azp", "txn", "req_wl")
}

type reading struct {
	s           *inventory.Statements
	c           rawjson.Node
	iss, digest string
	credential  string
	from, until statement.Time
}

func (r *reading) read() {
	r.from = r.s.Time("iat", first(r.c.Get("iat").Text(), r.c.Get("nbf").Text()))
	r.until = r.s.Time("exp", r.c.Get("exp").Text())
	if !r.from.IsZero() && !r.until.IsZero() && r.until.Before(r.from.Time) {
		r.s.Note("exp lies before iat; iat is left out")
		r.from = statement.Time{}
	}
	switch id := first(r.c.Get("jti").Text(), r.c.Get("txn").Text()); {
	case id != "":
		r.credential = inventory.Text(prov.Credential, "jwt", first(r.iss, "-"), id)
	case r.digest != "":
		r.credential = inventory.Text(prov.Credential, "jwt", r.digest)
	}
	chain := r.chain()
	if chain == nil {
		return
	}
	last := chain[len(chain)-1].ref
	if r.credential != "" {
		c := statement.CredentialItem{Ref: r.credential, Kind: "jwt", IssuedAt: r.from, ExpiresAt: r.until, Scope: r.scope()}
		for _, a := range audience(r.c.Get("aud")) {
			inventory.Set(&c.Attributes, "audience."+a, "yes")
		}
		inventory.Set(&c.Attributes, "issuer", r.iss)
		inventory.Set(&c.Attributes, "txn", r.c.Get("txn").Text())
		l := r.s.Event("jwt/" + first(r.iss, "-")).Grade(statement.GradeSelfReported)
		l.At(r.from)
		it := l.Item(last)
		it.Credentials = append(it.Credentials, c)
	}
	r.hops(chain)
}

// chain reads who acts for whom: sub, then the actors of act, the least recent
// of which is nested deepest (RFC 8693 section 4.1); without act the client or
// the workload that asked.
func (r *reading) chain() []hop {
	var actors []hop
	for a := r.c.Get("act"); a.Kind() == '{'; a = a.Get("act") {
		if len(actors) >= maxHops {
			r.s.Refuse(TooDeep, "act is nested more than %d deep; no exchange makes such a token", maxHops)
			return nil
		}
		sub := first(a.Get("sub").Text(), a.Get("client_id").Text())
		if sub == "" {
			r.s.Note("an actor has neither sub nor client_id; a hop of the chain is missing")
			continue
		}
		actors = append(actors, hop{name(first(a.Get("iss").Text(), r.iss), sub)})
	}
	slices.Reverse(actors)
	root := r.c.Get("sub").Text()
	chain := append([]hop{{name(r.iss, root)}}, actors...)
	if len(actors) == 0 {
		if w := first(r.c.Get("req_wl").Text(), r.c.Get("client_id").Text(), r.c.Get("azp").Text()); w != "" && w != root {
			chain = append(chain, hop{name(r.iss, w)})
		}
	}
	return chain
}

// hops says that each let the next act for the first. A token tells the scope
// and the times of its own hop only, which is the last.
func (r *reading) hops(chain []hop) {
	for i := 1; i < len(chain); i++ {
		d := &statement.Delegation{Parent: chain[i-1].ref, Child: chain[i].ref, OnBehalfOf: chain[0].ref, Grade: "self-reported"}
		for _, h := range chain[:i+1] {
			d.Chain = append(d.Chain, h.ref)
		}
		if i == len(chain)-1 {
			d.IssuedAt, d.ExpiresAt, d.Scope, d.Credential = r.from, r.until, r.scope(), r.credential
		} else {
			r.s.Note("scope and times of the hops before the last are not in a token; they stay unknown")
		}
		if ref, err := prov.ParseRef(d.Child); err == nil {
			r.s.Say(ref, nil, d)
		}
	}
}

func (r *reading) scope() []string {
	var out []string
	for _, s := range strings.Fields(first(r.c.Get("scope").Text(), r.c.Get("scp").Text())) {
		inventory.Add(&out, s)
	}
	for _, s := range append(inventory.Texts(arrayOnly(r.c.Get("scp"))), inventory.Texts(arrayOnly(r.c.Get("scope")))...) {
		inventory.Add(&out, s)
	}
	return out
}

func arrayOnly(n rawjson.Node) rawjson.Node {
	if n.Kind() == '[' {
		return n
	}
	return rawjson.Node{}
}

func audience(n rawjson.Node) []string { return inventory.Texts(n) }

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// name gives the Ref of a subject: SPIFFE IDs and URLs are workloads, e-mail
// addresses persons. What else a subject is, only its issuer knows.
func name(iss, sub string) string {
	switch {
	case strings.Contains(sub, "://"):
		return inventory.Text(prov.Workload, sub)
	case strings.Count(sub, "@") == 1 && !strings.ContainsAny(sub, " /:"):
		if strings.HasSuffix(sub, ".gserviceaccount.com") {
			return inventory.Text(prov.ServiceAccount, "gcp", sub)
		}
		return inventory.Text(prov.Person, sub)
	}
	if rest, ok := strings.CutPrefix(sub, "system:serviceaccount:"); ok {
		if ns, sa, ok := strings.Cut(rest, ":"); ok && ns != "" && sa != "" {
			return inventory.Text(prov.ServiceAccount, ns, sa)
		}
	}
	return inventory.Text(prov.Workload, first(iss, "jwt"), sub)
}
