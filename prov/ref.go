package prov

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Ref is the stable name of an entity, activity, plan or identity.
//
// Its text is
//
//	kind:name            a series, or a thing without versions
//	kind:name@version    one version of a series (versioned kinds only)
//	kind:namespace/name  a name of a foreign registry, keyed as the pair
//	sha256:<64 hex>      content; also sha384 and sha512
//
// In the text, '%', white space and characters that do not print are written
// as %XX of their UTF-8 bytes, and so is '@' within the name of a versioned
// kind. A Ref with a namespace (an OpenLineage dataset or plan) is one pair:
// the text joins both by '/', so two pairs may share a text; [Ref.Key] never
// collides.
type Ref struct {
	Kind      Kind
	Namespace string // "" unless the name is a (namespace, name) pair
	Name      string
	Version   string // "" means the series, or a kind without versions
}

// Digest kinds: a Ref of one of these names content, not a label.
const (
	SHA256 Kind = "sha256"
	SHA384 Kind = "sha384"
	SHA512 Kind = "sha512"
)

// MaxRef is the longest text of a Ref, in bytes.
const MaxRef = 4096

// ErrRef is wrapped by every error of ParseRef.
var ErrRef = errors.New("not a Ref")

// DigestRef gives the Ref of content by its digest in lower-case hexadecimal.
func DigestRef(alg, hex string) Ref { return Ref{Kind: Kind(alg), Name: hex} }

// IsDigest tells whether the Ref names content by digest.
func (r Ref) IsDigest() bool { return digestLen(r.Kind) > 0 }

// IsZero tells whether the Ref is empty.
func (r Ref) IsZero() bool { return r.Kind == "" && r.Name == "" }

// Series gives the Ref without its version.
func (r Ref) Series() Ref { r.Version = ""; return r }

// WithVersion gives the Ref of one version of the series.
func (r Ref) WithVersion(v string) Ref { r.Version = v; return r }

// Class tells the PROV class of the thing that the Ref names.
func (r Ref) Class() Class { return r.Kind.Class() }

// String gives the text of the Ref.
func (r Ref) String() string {
	var b strings.Builder
	b.Grow(len(r.Kind) + len(r.Namespace) + len(r.Name) + len(r.Version) + 3) // mostly all
	b.WriteString(string(r.Kind))
	b.WriteByte(':')
	v := r.Kind.Versioned()
	if r.Namespace != "" {
		escape(&b, r.Namespace, v)
		b.WriteByte('/')
	}
	escape(&b, r.Name, v)
	if r.Version != "" {
		b.WriteByte('@')
		escape(&b, r.Version, true)
	}
	return b.String()
}

// Key gives text that is different for different Refs: as String, but a
// namespace ends with the byte 0x1F instead of '/'.
func (r Ref) Key() string {
	if r.Namespace == "" {
		return r.String()
	}
	var b strings.Builder
	v := r.Kind.Versioned()
	b.WriteString(string(r.Kind))
	b.WriteByte(':')
	escape(&b, r.Namespace, v)
	b.WriteByte(0x1f)
	escape(&b, r.Name, v)
	if r.Version != "" {
		b.WriteByte('@')
		escape(&b, r.Version, true)
	}
	return b.String()
}

// ParseKey reads what Key wrote.
func ParseKey(key string) (Ref, error) {
	ns, rest, ok := strings.Cut(key, "\x1f")
	if !ok {
		return parse(key)
	}
	kind, ns, ok := strings.Cut(ns, ":")
	if !ok {
		return Ref{}, fmt.Errorf("%w: %q has no kind", ErrRef, key)
	}
	r, err := parse(kind + ":" + rest)
	if err != nil {
		return Ref{}, err
	}
	if r.Namespace, err = unescape(ns); err != nil {
		return Ref{}, fmt.Errorf("%w: %q: %v", ErrRef, key, err)
	}
	return r, nil
}

// ParseRef reads the text of a Ref. The namespace of a pair cannot be told
// from the text: use [Ref.InNamespace] where it is known.
func ParseRef(s string) (Ref, error) {
	if len(s) > MaxRef {
		return Ref{}, fmt.Errorf("%w: longer than %d bytes", ErrRef, MaxRef)
	}
	r, err := parse(s)
	// A letter that must be written as %XX takes three bytes.
	if err == nil && 3*len(s) > MaxRef && len(r.String()) > MaxRef {
		return Ref{}, fmt.Errorf("%w: longer than %d bytes when written with %%XX for what does not print", ErrRef, MaxRef)
	}
	return r, err
}

// parse is ParseRef without its limit: the graph makes longer names out of
// those that it is given, such as the version of a series by an activity.
func parse(s string) (Ref, error) {
	if !utf8.ValidString(s) {
		return Ref{}, fmt.Errorf("%w: %q is not UTF-8", ErrRef, s)
	}
	kind, rest, ok := strings.Cut(s, ":")
	if !ok || rest == "" {
		return Ref{}, fmt.Errorf("%w: %q; write kind:name or kind:name@version, for example model:fraud@7", ErrRef, s)
	}
	k := Kind(kind)
	if n := digestLen(k); n > 0 {
		return parseDigest(k, rest, n)
	}
	if !k.Known() {
		return Ref{}, fmt.Errorf("%w: %q: kind %q is not known; the kinds are %s, or your own as x-NAME", ErrRef, s, kind, kindList())
	}
	r := Ref{Kind: k, Name: rest}
	if k.Versioned() {
		if i := strings.LastIndexByte(rest, '@'); i >= 0 {
			r.Name, r.Version = rest[:i], rest[i+1:]
			if r.Version == "" {
				return Ref{}, fmt.Errorf("%w: %q ends with '@'; write the version or leave the '@' out", ErrRef, s)
			}
		}
	}
	var err error
	if r.Name, err = unescape(r.Name); err == nil {
		r.Version, err = unescape(r.Version)
	}
	if err != nil {
		return Ref{}, fmt.Errorf("%w: %q: %v", ErrRef, s, err)
	}
	if r.Name == "" {
		return Ref{}, fmt.Errorf("%w: %q has no name", ErrRef, s)
	}
	return r, nil
}

// InNamespace tells the pair (namespace, name) of a Ref that was parsed from
// text: the name must begin with the namespace and '/'.
func (r Ref) InNamespace(ns string) (Ref, error) {
	if ns == "" {
		return r, nil
	}
	rest, ok := strings.CutPrefix(r.Name, ns+"/")
	if !ok || rest == "" {
		return Ref{}, fmt.Errorf("%w: %s does not begin with its namespace %q", ErrRef, r, ns)
	}
	r.Namespace, r.Name = ns, rest
	return r, nil
}

func parseDigest(k Kind, hex string, n int) (Ref, error) {
	if len(hex) != n || strings.Trim(hex, "0123456789abcdef") != "" {
		return Ref{}, fmt.Errorf("%w: a %s digest is %d lower-case hexadecimal digits, this has %d characters", ErrRef, k, n, len(hex))
	}
	return Ref{Kind: k, Name: hex}, nil
}

func digestLen(k Kind) int {
	switch k {
	case SHA256:
		return 64
	case SHA384:
		return 96
	case SHA512:
		return 128
	}
	return 0
}

func kindList() string {
	var names []string
	for _, k := range Kinds() {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

const hexDigits = "0123456789ABCDEF"

func escape(b *strings.Builder, s string, at bool) {
	plain := true
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c == '%' || c >= 0x7f || (at && c == '@') {
			plain = false
			break
		}
	}
	if plain {
		b.WriteString(s)
		return
	}
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if (r == utf8.RuneError && n == 1) || !unicode.IsPrint(r) || r == ' ' || r == '%' || (at && r == '@') {
			for _, c := range []byte(s[i : i+n]) {
				b.WriteByte('%')
				b.WriteByte(hexDigits[c>>4])
				b.WriteByte(hexDigits[c&15])
			}
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
}

func unescape(s string) (string, error) {
	if strings.IndexByte(s, '%') < 0 {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", errors.New("'%' must be followed by two hexadecimal digits; write %25 for the character itself")
		}
		hi, lo := unhex(s[i+1]), unhex(s[i+2])
		if hi < 0 || lo < 0 {
			return "", errors.New("'%' must be followed by two hexadecimal digits; write %25 for the character itself")
		}
		b.WriteByte(byte(hi<<4 | lo))
		i += 2
	}
	return b.String(), nil
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

var hashEscaper = strings.NewReplacer("%", "%25", "#", "%23")

// ColumnOf gives the Ref of a column (field) of a dataset. Its version is that
// of the dataset.
func ColumnOf(dataset Ref, field string) Ref {
	return Ref{Kind: Column, Namespace: dataset.Namespace,
		Name: hashEscaper.Replace(dataset.Name) + "#" + hashEscaper.Replace(field), Version: dataset.Version}
}

// SplitColumn gives the dataset and the field of a column's Ref.
func (r Ref) SplitColumn() (dataset Ref, field string, ok bool) {
	name, field, ok := strings.Cut(r.Name, "#")
	if r.Kind != Column || !ok {
		return Ref{}, "", false
	}
	n, err1 := unescape(name)
	f, err2 := unescape(field)
	if err1 != nil || err2 != nil || n == "" {
		return Ref{}, "", false
	}
	return Ref{Kind: Dataset, Namespace: r.Namespace, Name: n, Version: r.Version}, f, true
}
