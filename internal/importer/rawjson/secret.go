package rawjson

import (
	"bytes"
	"regexp"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Redacted stands in the place of a secret.
const Redacted = "[redacted]"

// pattern finds a kind of secret in text. Its group, or the whole match
// without one, is the secret.
type pattern struct {
	needles []string // one of them occurs, in lower case, in every match
	re      *regexp.Regexp
	also    string // one of these letters occurs in every match too; "": none
}

var patterns = []pattern{
	{[]string{"akia", "asia"}, regexp.MustCompile(`\b(?:AKIA|ASIA)[0-9A-Z]{16}\b`), ""},
	{[]string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-"}, regexp.MustCompile(`\b(?:gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,})`), ""},
	{[]string{"xox"}, regexp.MustCompile(`\bxox[a-z]-[A-Za-z0-9-]{8,}`), ""},
	{[]string{"eyj"}, regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*`), "."},
	{[]string{"sk-"}, regexp.MustCompile(`\bsk-[A-Za-z0-9_-]{20,}`), ""},
	{[]string{"aiza"}, regexp.MustCompile(`\bAIza[0-9A-Za-z_-]{35}`), ""},
	{[]string{"hf_", "npm_"}, regexp.MustCompile(`\b(?:hf|npm)_[A-Za-z0-9]{30,}`), ""},
	{[]string{"dapi"}, regexp.MustCompile(`\bdapi[0-9a-f]{32}`), ""},
	{[]string{"private key"}, regexp.MustCompile(`(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|$)`), ""},
	{[]string{"bearer"}, regexp.MustCompile(`(?i)\bbearer\s+([A-Za-z0-9._~+/=-]{16,})`), ""},
	{[]string{"authorization"}, regexp.MustCompile(`(?i)authorization["']?\s*[:=]\s*["']?(?:basic|bearer|token)\s+([^\s"']+)`), ""},
	{[]string{"://"}, regexp.MustCompile(`://([^/\s:@"'?#]*:[^/\s"'?#]+)@`), "@"},
	{[]string{"?key=", "&key="}, regexp.MustCompile(`(?i)[?&]key=([^\s&;,"')#]+)`), ""},
	{secretWords, regexp.MustCompile(`(?i)(?:password|passwd|pwd|passphrase|secret|token|api[_-]?key|access[_-]?key|account[_-]?key|private[_-]?key|secret[_-]?key|[?&;]sig)["']?\s*[=:]\s*["']([^"']+)["']`), "=:"},
	{secretWords, regexp.MustCompile(`(?i)(?:password|passwd|pwd|passphrase|secret|token|api[_-]?key|access[_-]?key|account[_-]?key|private[_-]?key|secret[_-]?key|[?&;]sig)=([^\s&;,"')]+)`), "="},
}

var secretWords = []string{"password", "passwd", "pwd", "passphrase", "secret", "token", "api", "key", "sig="}

// hit is a place where a needle begins, with the patterns that have it.
type hit struct {
	at   int32
	mask uint32 // bit i: patterns[i]
}

// needles finds, for the first two bytes of a text in lower case, the needles
// that begin with them.
var needles = func() (n struct {
	first [1 << 10]uint64 // a bit for each two bytes that a needle begins with
	by    map[[2]byte][]needle
	lower [256]byte
}) {
	n.by = map[[2]byte][]needle{}
	add := func(text string, mask uint32) {
		two := uint16(text[0])<<8 | uint16(text[1])
		n.first[two>>6] |= 1 << (two & 63)
		k := [2]byte{text[0], text[1]}
		n.by[k] = append(n.by[k], needle{text, mask})
	}
	for i, p := range patterns {
		for _, text := range p.needles {
			add(text, 1<<i)
		}
	}
	// An escape can hide a needle.
	add(`\u`, 1<<len(patterns)-1)
	add(`\/`, 1<<len(patterns)-1)
	for c := range n.lower {
		n.lower[c] = byte(c)
		if c >= 'A' && c <= 'Z' {
			n.lower[c] |= 0x20
		}
	}
	return n
}()

type needle struct {
	text string
	mask uint32
}

// scan gives the places of needles in text, in order.
func scan(text []byte) []hit {
	var hits []hit
	last := byte(0)
	for i, c := range text {
		c = needles.lower[c]
		two := uint16(last)<<8 | uint16(c)
		if needles.first[two>>6]&(1<<(two&63)) != 0 {
			if mask := match(text[i-1:], [2]byte{last, c}); mask != 0 {
				hits = append(hits, hit{int32(i - 1), mask})
			}
		}
		last = c
	}
	return hits
}

// match gives the patterns of which text begins with a needle.
func match(text []byte, two [2]byte) uint32 {
	mask := uint32(0)
next:
	for _, n := range needles.by[two] {
		if len(text) < len(n.text) {
			continue
		}
		for k := 2; k < len(n.text); k++ {
			if needles.lower[text[k]] != n.text[k] {
				continue next
			}
		}
		mask |= n.mask
	}
	return mask
}

// Secrets replaces what has the shape of a secret in text: keys and tokens of
// well-known issuers, JSON web tokens, private keys, the user and password of
// a URL, credentials in headers, and values given as password=….
func Secrets(text string) string {
	if len(text) < 5 {
		return text // shorter than any secret with what leads to it
	}
	mask := uint32(0)
	for _, h := range scan([]byte(text)) {
		mask |= h.mask
	}
	for i := range patterns {
		if p := &patterns[i]; mask>>i&1 != 0 && (p.also == "" || strings.ContainsAny(text, p.also)) {
			text = p.replace(text)
		}
	}
	return text
}

func (p *pattern) replace(text string) string {
	all := p.re.FindAllStringSubmatchIndex(text, -1)
	if all == nil {
		return text
	}
	var b strings.Builder
	from := 0
	for _, m := range all {
		start, end := m[0], m[1]
		for g := 2; g < len(m); g += 2 {
			if m[g] >= 0 {
				start, end = m[g], m[g+1]
			}
		}
		b.WriteString(text[from:start])
		if s := text[start:end]; strings.Contains(s, Redacted) {
			b.WriteString(s)
		} else {
			b.WriteString(Redacted)
		}
		from = end
	}
	b.WriteString(text[from:])
	return b.String()
}

// secretNames end the names of members whose text is a secret, in lower case
// without '_', '-' and '.'.
var secretNames = []string{"password", "passwd", "pwd", "passphrase", "secret", "token", "apikey",
	"secretkey", "accesskey", "accountkey", "privatekey", "secretaccesskey", "authorization", "connectionstring"}

func secretName(key []byte) bool {
	if len(key) > 200 {
		key = key[len(key)-200:]
	}
	var buf [200]byte
	b := buf[:0]
	for i := 0; i < len(key); i++ {
		switch c := key[i]; {
		case c == '_' || c == '-' || c == '.':
		case c >= 'A' && c <= 'Z':
			b = append(b, c|0x20)
		default:
			b = append(b, c)
		}
	}
	for _, n := range secretNames {
		if len(b) >= len(n) && string(b[len(b)-len(n):]) == n {
			return true
		}
	}
	return false
}

// Redact takes the secrets out of doc: text as in [Secrets], text under a name
// such as password, and every scalar for whose member wholly says yes, save
// those that it exempts by name. Without secrets it gives the bytes of doc
// themselves, else new ones and the paths of what was replaced, which end with "and … more" after maxPaths.
func Redact(doc *Doc, wholly func(key []byte) (keep []string, secret bool)) (raw []byte, paths []string) {
	return RedactBy(doc, Rules{Wholly: wholly})
}

// Rules say what in a document is a secret beside what looks like one. A nil
// rule says nothing.
type Rules struct {
	// Wholly says that every scalar below an object or array of that name is a
	// secret, save those under the names that it gives.
	Wholly func(key []byte) (keep []string, secret bool)
	// Dropped says that a scalar of that name is a secret whatever it looks like.
	Dropped func(key []byte) bool
	// Public says that a text of that name is a reference although it looks
	// like a secret: the identifier of a key, not the key.
	Public func(key []byte, text string) bool
}

// RedactBy is [Redact] by rules.
func RedactBy(doc *Doc, rules Rules) (raw []byte, paths []string) {
	if rules.Wholly == nil {
		rules.Wholly = func([]byte) ([]string, bool) { return nil, false }
	}
	r := redactor{doc: doc, rules: rules, hits: scan(doc.raw)}
	r.path = append(r.path, step{node: 1})
	r.walk(nil, false)
	if len(r.paths) == 0 {
		return doc.raw, nil
	}
	r.out = append(r.out, doc.raw[r.from:]...)
	return r.out, capped(r.paths, r.count)
}

type redactor struct {
	doc   *Doc
	rules Rules
	hits  []hit // the needles that lie ahead
	path  []step
	out   []byte
	from  int
	paths []string
	count int
}

func (r *redactor) replace(start, end int32, with, suffix string) {
	r.out = append(r.out, r.doc.raw[r.from:start]...)
	r.out = append(r.out, quote(with)...)
	r.from = int(end)
	if r.count++; r.count <= maxPaths {
		r.paths = append(r.paths, r.doc.pathText(r.path, Secrets)+suffix)
	}
}

// clean gives the text of the string from start to end without what has the
// shape of a secret, and whether there was any. Strings are asked for in the
// order in which they stand.
func (r *redactor) clean(start, end int32) (string, bool) {
	for len(r.hits) > 0 && r.hits[0].at < start {
		r.hits = r.hits[1:]
	}
	if len(r.hits) == 0 || r.hits[0].at >= end {
		return "", false
	}
	text := r.doc.unquote(r.doc.raw[start:end])
	clean := Secrets(text)
	return clean, clean != text
}

func quote(s string) []byte {
	b, err := jsontext.AppendQuote(nil, s)
	if err != nil { // not UTF-8: cannot be, the text came out of AppendUnquote
		return []byte(`"` + Redacted + `"`)
	}
	return b
}

// walk looks at the node at the end of the path. All says that every scalar is
// a secret, except under the names in keep. Members that a later one replaces
// are looked at too: they are in the bytes.
func (r *redactor) walk(keep []string, all bool) {
	m := r.path[len(r.path)-1].node
	n := r.doc.nodes[m]
	x := Node{r.doc, m}
	switch x.Kind() {
	case '{', '[':
		i := 0
		for c := n.first; c != 0; c = r.doc.nodes[c].next {
			r.path = append(r.path, step{c, i})
			r.member(c, keep, all)
			r.path = r.path[:len(r.path)-1]
			i++
		}
	case '"':
		if all {
			if n.end-n.start > 2 && x.Text() != Redacted {
				r.replace(n.start, n.end, Redacted, "")
			}
		} else if clean, found := r.clean(n.start, n.end); found {
			r.replace(n.start, n.end, clean, "")
		}
	case '0', 't', 'f':
		if all {
			r.replace(n.start, n.end, Redacted, "")
		}
	}
}

func (r *redactor) member(c int32, keep []string, all bool) {
	n := r.doc.nodes[c]
	if n.keyEnd == n.keyStart {
		r.walk(keep, all)
		return
	}
	x := Node{r.doc, c}
	key := r.doc.raw[n.keyStart+1 : n.keyEnd-1]
	if bytes.IndexByte(key, '\\') >= 0 {
		key = []byte(x.Key())
	}
	if clean, found := r.clean(n.keyStart, n.keyEnd); found {
		key = []byte(clean)
		r.replace(n.keyStart, n.keyEnd, clean, " (name)")
	}
	if all {
		for _, k := range keep {
			all = all && k != string(key)
		}
		r.walk(keep, all)
		return
	}
	if r.rules.Public != nil && x.Kind() == '"' && r.rules.Public(key, x.Text()) {
		return
	}
	if keep, ok := r.rules.Wholly(key); ok && (x.Kind() == '{' || x.Kind() == '[') {
		r.walk(keep, true)
		return
	}
	k := x.Kind()
	dropped := r.rules.Dropped != nil && k != '{' && k != '[' && r.rules.Dropped(key)
	named := k == '"' && secretName(key)
	if t := string(x.Raw()); t == `"true"` || t == `"false"` {
		named = false // a switch such as mountToken, as which YAML is read: no secret
	}
	r.walk(nil, dropped || named)
}
