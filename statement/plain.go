package statement

import (
	"bytes"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// plain reads JSON in the form that programs write: no white space, no
// escapes, no null, no field twice, none that is not known. Whatever else
// stands there, good or bad, sets other, and then the whole text is given to
// the JSON library, which has the last word. What plain takes, the library
// takes too and reads as the same value (plain_test.go); it only takes longer.
type plain struct {
	b     []byte
	i     int
	other bool // not in the plain form
}

// is passes over c, and tells whether it stood there.
func (p *plain) is(c byte) bool {
	if p.other || p.i >= len(p.b) || p.b[p.i] != c {
		return false
	}
	p.i++
	return true
}

func (p *plain) want(c byte) {
	if !p.is(c) {
		p.other = true
	}
}

// prefix passes over text.
func (p *plain) prefix(text string) {
	if p.other || len(p.b)-p.i < len(text) || string(p.b[p.i:p.i+len(text)]) != text {
		p.other = true
		return
	}
	p.i += len(text)
}

// bytes gives what stands between quotes.
func (p *plain) bytes() []byte {
	p.want('"')
	if p.other {
		return nil
	}
	ascii := true
	for i := p.i; i < len(p.b); i++ {
		switch c := p.b[i]; {
		case c == '"':
			out := p.b[p.i:i]
			p.i = i + 1
			p.other = !ascii && !utf8.Valid(out)
			return out
		case c == '\\' || c < ' ':
			p.other = true
			return nil
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	p.other = true
	return nil
}

func (p *plain) text() string { return string(p.bytes()) }

// name gives the key of a map: text that is mostly one of a few.
func (p *plain) name() string {
	switch b := p.bytes(); string(b) {
	case "sha256":
		return "sha256"
	case RefDigest:
		return RefDigest
	case "namespace":
		return "namespace"
	default:
		return string(b)
	}
}

func (p *plain) time() (t Time) {
	if err := t.parse(p.text()); err != nil {
		p.other = true
	}
	return t
}

// size gives a number of bytes.
func (p *plain) size() (n int64) {
	from := p.i
	for p.i < len(p.b) && p.b[p.i]-'0' < 10 {
		n = 10*n + int64(p.b[p.i]-'0')
		p.i++
	}
	if digits := p.i - from; digits == 0 || digits > 15 || (digits > 1 && p.b[from] == '0') {
		p.other = true
	}
	return n
}

// object reads an object. For each key, field reads the value and gives the
// field's number, below 64, or -1 when it is not known.
func (p *plain) object(field func(key []byte) int) {
	p.want('{')
	if p.is('}') {
		return
	}
	for seen := uint64(0); !p.other; {
		key := p.bytes()
		if p.want(':'); p.other {
			return
		}
		n := field(key)
		if n < 0 || seen>>n&1 == 1 {
			p.other = true
			return
		}
		seen |= 1 << n
		if !p.is(',') {
			p.want('}')
			return
		}
	}
}

// plainList reads an array.
func plainList[T any](p *plain, item func(*plain) T) []T {
	p.want('[')
	out := []T{}
	if p.is(']') {
		return out
	}
	for !p.other {
		out = append(out, item(p))
		if !p.is(',') {
			p.want(']')
			break
		}
	}
	return out
}

func (p *plain) texts() []string { return plainList(p, (*plain).text) }

// dict reads a map of text to text.
func (p *plain) dict() map[string]string {
	p.want('{')
	m := map[string]string{}
	if p.is('}') {
		return m
	}
	for !p.other {
		k := p.name()
		p.want(':')
		if _, twice := m[k]; twice {
			p.other = true
			break
		}
		m[k] = p.text()
		if !p.is(',') {
			p.want('}')
			break
		}
	}
	return m
}

// parsePlain reads the payload of a statement in the plain form, with its
// fields in the order in which Format writes them. Only activities and
// entities, of which there are many, are read so.
func parsePlain(payload []byte) (*Statement, bool) {
	p := &plain{b: payload}
	p.prefix(`{"_type":"` + Type + `","subject":`)
	s := &Statement{Subjects: plainList(p, (*plain).subject)}
	p.prefix(`,"predicateType":`)
	typ := p.bytes()
	p.prefix(`,"predicate":`)
	from := p.i
	switch string(typ) {
	case ActivityType:
		s.PredicateType, s.Predicate = ActivityType, p.activity()
	case EntityType:
		s.PredicateType, s.Predicate = EntityType, p.entity()
	default:
		return nil, false
	}
	if p.other {
		return nil, false
	}
	s.Raw = jsontext.Value(payload[from:p.i:p.i])
	p.want('}')
	return s, !p.other && p.i == len(payload)
}

func (p *plain) subject() (s Subject) {
	p.object(func(key []byte) int {
		switch string(key) {
		case "name":
			s.Name = p.text()
			return 0
		case "digest":
			s.Digest = p.dict()
			return 1
		case "annotations":
			s.Annotations = p.dict()
			return 2
		}
		return -1
	})
	return s
}

// of reads a field of a resource, as object's field.
func (p *plain) of(r *Resource, key []byte) int {
	switch string(key) {
	case "ref":
		r.Ref = p.text()
		return 0
	case "namespace":
		r.Namespace = p.text()
		return 1
	case "digest":
		r.Digest = p.dict()
		return 2
	}
	return -1
}

func (p *plain) resource() (r Resource) {
	p.object(func(key []byte) int { return p.of(&r, key) })
	return r
}

func (p *plain) use() (u Use) {
	p.object(func(key []byte) int {
		switch string(key) {
		case "role":
			u.Role = p.text()
			return 3
		case "at":
			u.At = p.time()
			return 4
		case "rule":
			u.Rule = p.text()
			return 5
		}
		return p.of(&u.Resource, key)
	})
	return u
}

func (p *plain) input() (d DerivedInput) {
	p.object(func(key []byte) int {
		if string(key) == "transformation" {
			d.Transformation = p.text()
			return 3
		}
		return p.of(&d.Resource, key)
	})
	return d
}

func (p *plain) derivation() (d Derivation) {
	p.object(func(key []byte) int {
		switch string(key) {
		case "to":
			d.To = p.resource()
			return 0
		case "from":
			d.From = plainList(p, (*plain).input)
			return 1
		case "rule":
			d.Rule = p.text()
			return 2
		}
		return -1
	})
	return d
}

func (p *plain) party() (x Party) {
	p.object(func(key []byte) int {
		switch string(key) {
		case "ref":
			x.Ref = p.text()
			return 0
		case "role":
			x.Role = p.text()
			return 1
		}
		return -1
	})
	return x
}

func (p *plain) evidence() (e Evidence) {
	p.object(func(key []byte) int {
		switch string(key) {
		case "digest":
			e.Digest = p.dict()
			return 0
		case "mediaType":
			e.MediaType = p.text()
			return 1
		case "size":
			e.Size = p.size()
			return 2
		case "name":
			e.Name = p.text()
			return 3
		case "importer":
			e.Importer = p.text()
			return 4
		case "importerVersion":
			e.ImporterVersion = p.text()
			return 5
		case "redacted":
			e.Redacted = p.texts()
			return 6
		case "notes":
			e.Notes = p.texts()
			return 7
		case "verified":
			e.Verified = p.verified()
			return 8
		}
		return -1
	})
	return e
}

func (p *plain) verified() *EvidenceCheck {
	v := &EvidenceCheck{}
	p.object(func(key []byte) int {
		switch string(key) {
		case "by":
			v.By = p.text()
			return 0
		case "identity":
			v.Identity = p.text()
			return 1
		case "result":
			v.Result = p.text()
			return 2
		case "reason":
			v.Reason = p.text()
			return 3
		}
		return -1
	})
	return v
}

func (p *plain) activity() *Activity {
	a := &Activity{}
	p.object(func(key []byte) int {
		switch string(key) {
		case "kind":
			a.Kind = p.text()
			return 0
		case "id":
			a.ID = p.text()
			return 1
		case "namespace":
			a.Namespace = p.text()
			return 2
		case "startedAt":
			a.StartedAt = p.time()
			return 3
		case "endedAt":
			a.EndedAt = p.time()
			return 4
		case "observedAt":
			a.ObservedAt = p.time()
			return 5
		case "state":
			a.State = p.text()
			return 6
		case "inputsCompleteness":
			a.InputsCompleteness = p.text()
			return 7
		case "rule":
			a.Rule = p.text()
			return 8
		}
		return p.tied(a, key)
	})
	return a
}

// tied reads the fields of an activity that name other things.
func (p *plain) tied(a *Activity, key []byte) int {
	switch string(key) {
	case "plan":
		r := p.resource()
		a.Plan = &r
		return 9
	case "informedBy":
		a.InformedBy = plainList(p, (*plain).resource)
		return 10
	case "used":
		a.Used = plainList(p, (*plain).use)
		return 11
	case "derived":
		a.Derived = plainList(p, (*plain).derivation)
		return 12
	case "identities":
		a.Identities = plainList(p, (*plain).party)
		return 13
	case "onBehalfOf":
		a.OnBehalfOf = plainList(p, (*plain).party)
		return 14
	case "credentials":
		a.Credentials = plainList(p, (*plain).resource)
		return 15
	case "tools":
		a.Tools = plainList(p, (*plain).resource)
		return 16
	case "parameters":
		a.Parameters = p.dict()
		return 17
	case "environment":
		a.Environment = p.dict()
		return 18
	case "evidence":
		a.Evidence = plainList(p, (*plain).evidence)
		return 19
	}
	return -1
}

func (p *plain) entity() *Entity {
	e := &Entity{}
	p.object(func(key []byte) int {
		switch string(key) {
		case "state":
			e.State = p.text()
			return 0
		case "at":
			e.At = p.time()
			return 1
		case "owner":
			e.Owner = p.text()
			return 2
		case "origin":
			e.Origin = p.text()
			return 3
		case "licence":
			e.Licence = p.text()
			return 4
		case "sensitivity":
			e.Sensitivity = p.text()
			return 5
		case "description":
			e.Description = p.text()
			return 6
		case "sameAs":
			e.SameAs = plainList(p, (*plain).resource)
			return 7
		case "partOf":
			e.PartOf = plainList(p, (*plain).resource)
			return 8
		case "derived":
			e.Derived = plainList(p, (*plain).derivation)
			return 9
		case "attributes":
			e.Attributes = p.dict()
			return 10
		case "evidence":
			e.Evidence = plainList(p, (*plain).evidence)
			return 11
		}
		return -1
	})
	return e
}

// envelopePlain reads an envelope as FormatEnvelope writes it.
func envelopePlain(data []byte) (*Envelope, bool) {
	p := &plain{b: data}
	p.prefix(`{"payloadType":`)
	e := &Envelope{PayloadType: PayloadType}
	if typ := p.bytes(); string(typ) != PayloadType {
		e.PayloadType = string(typ)
	}
	p.prefix(`,"payload":`)
	e.Payload = p.base64()
	p.prefix(`,"signatures":[`)
	for !p.is(']') && !p.other {
		if len(e.Signatures) > 0 {
			p.want(',')
		}
		p.prefix(`{"keyid":`)
		s := Signature{KeyID: p.text()}
		p.prefix(`,"sig":`)
		s.Sig = p.base64()
		p.want('}')
		e.Signatures = append(e.Signatures, s)
	}
	p.want('}')
	return e, !p.other && p.i == len(data)
}

// base64 reads bytes in the standard alphabet.
func (p *plain) base64() []byte {
	p.want('"')
	if p.other {
		return nil
	}
	n := bytes.IndexByte(p.b[p.i:], '"')
	if n < 0 {
		p.other = true
		return nil
	}
	src := p.b[p.i : p.i+n]
	p.i += n + 1
	out := make([]byte, stdBase64.DecodedLen(n))
	k, err := stdBase64.Decode(out, src)
	// The decoder passes over line breaks; the length tells.
	p.other = err != nil || stdBase64.EncodedLen(k) != n
	return out[:k]
}
