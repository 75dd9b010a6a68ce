package bom

import (
	"encoding/hex"
	"strings"

	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// Component is the kind of a listed thing that has no purl and is neither a
// model, data, an image, a file nor a service.
const Component prov.Kind = "x-component"

// Thing is what a document speaks of: its name, and its digests where they are
// given.
type Thing struct {
	Ref    prov.Ref
	Digest statement.DigestSet
}

// IsZero tells whether there is neither a name nor a digest.
func (t Thing) IsZero() bool { return t.Ref.IsZero() && t.Digest.Content().IsZero() }

// Subject gives the thing with all of its digests.
func (t Thing) Subject() statement.Subject { return statement.NewSubject(t.Ref, t.Digest) }

// Resource gives the thing with the digest that identifies it, if there is one.
func (t Thing) Resource() statement.Resource {
	r := statement.NewResource(t.Ref, nil)
	if c := t.Digest.Content(); !c.IsZero() {
		r.Digest = statement.DigestSet{string(c.Kind): c.Name}
	}
	return r
}

// Key tells things apart.
func (t Thing) Key() string {
	if c := t.Digest.Content(); !c.IsZero() {
		return c.Name + " " + t.Ref.Key()
	}
	return t.Ref.Key()
}

// PurlRef gives the Ref of a package URL (purl specification, ECMA-427), as a
// person would type it.
func PurlRef(purl string) (prov.Ref, bool) {
	purl = strings.TrimSpace(purl)
	if len(purl) < 6 || !strings.EqualFold(purl[:4], "pkg:") {
		return prov.Ref{}, false
	}
	rest := strings.TrimLeft(purl[4:], "/")
	typ, name, ok := strings.Cut(rest, "/")
	if !ok || typ == "" || name == "" {
		return prov.Ref{}, false
	}
	r, err := prov.ParseRef("pkg:" + strings.ToLower(typ) + "/" + name)
	if err != nil {
		r = prov.Ref{Kind: prov.Package, Name: strings.ToLower(typ) + "/" + name}
	}
	return r, r.Name != "" && len(r.String()) <= prov.MaxRef
}

// Purl names the thing by a package URL. The version of an image's package URL
// is its digest (purl types oci and docker).
func (t *Thing) Purl(r prov.Ref) {
	t.Ref = r
	if !strings.HasPrefix(r.Name, "oci/") && !strings.HasPrefix(r.Name, "docker/") || !t.Digest.Content().IsZero() {
		return
	}
	name, _, _ := strings.Cut(r.Name, "?")
	if _, hex, ok := strings.Cut(name, "@sha256:"); ok {
		AddDigest(&t.Digest, "sha256", hex)
	}
}

// Named gives the Ref of a thing by its name. A name that has a version, a
// group, or a '/' is taken as known beyond the document; any other is one of
// the document's own, in the namespace scope, and local names it there.
func Named(kind prov.Kind, scope, local, group, name, version string) prov.Ref {
	full := name
	if group != "" {
		full = group + "/" + name
	}
	global := version != "" || group != "" || strings.Contains(name, "/")
	if kind == prov.File || !global || scope != "" && name == "" {
		if local == "" {
			local = full
		}
		return Fit(prov.Ref{Kind: kind, Namespace: scope, Name: local, Version: versionOf(kind, version)})
	}
	if !kind.Versioned() && version != "" {
		return Fit(prov.Ref{Kind: kind, Name: full + "@" + version})
	}
	return Fit(prov.Ref{Kind: kind, Name: full, Version: version})
}

func versionOf(kind prov.Kind, v string) string {
	if kind.Versioned() {
		return v
	}
	return ""
}

// Fit shortens the parts of a Ref so that its text fits into prov.MaxRef. What
// is cut is replaced by the digest of the whole, so that names stay apart.
func Fit(r prov.Ref) prov.Ref {
	if len(r.Name)+len(r.Version)+len(r.Namespace) < 1000 && r.Name != "" || len(r.String()) <= prov.MaxRef && r.Name != "" {
		return r
	}
	sum := statement.KeyDigest(r)
	r.Name, r.Version, r.Namespace = clip(r.Name)+"#sha256:"+sum, clip(r.Version), clip(r.Namespace)
	return r
}

func clip(s string) string {
	if len(s) > 300 {
		return strings.ToValidUTF8(s[:300], "")
	}
	return s
}

// algorithms gives the name of a hash algorithm in an in-toto DigestSet, and
// the number of hexadecimal digits, 0 where it varies.
var algorithms = map[string]struct {
	name string
	n    int
}{
	"md2": {"md2", 32}, "md4": {"md4", 32}, "md5": {"md5", 32}, "md6": {"md6", 0},
	"sha1": {"sha1", 40}, "sha224": {"sha224", 56}, "sha256": {"sha256", 64}, "sha384": {"sha384", 96}, "sha512": {"sha512", 128},
	"sha3224": {"sha3_224", 56}, "sha3256": {"sha3_256", 64}, "sha3384": {"sha3_384", 96}, "sha3512": {"sha3_512", 128},
	"blake2b256": {"blake2b_256", 64}, "blake2b384": {"blake2b_384", 96}, "blake2b512": {"blake2b_512", 128}, "blake3": {"blake3", 0},
	"adler32": {"adler32", 8}, "streebog256": {"streebog_256", 64}, "streebog512": {"streebog_512", 128},
	"gost": {"gost", 0}, "falcon": {"falcon", 0}, "crystalskyber": {"crystals_kyber", 0}, "crystalsdilithium": {"crystals_dilithium", 0}, "other": {"other", 0},
}

// AddDigest adds a hash to the set. It says what is wrong with one that is no
// hash of its algorithm, and does not add it.
func AddDigest(set *statement.DigestSet, alg, value string) (wrong string) {
	a, ok := algorithms[strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(alg))]
	if !ok {
		return "algorithm \"" + alg + "\" is not known"
	}
	v := strings.ToLower(strings.TrimSpace(value))
	if a.n > 0 && len(v) != a.n {
		return "is no " + alg + " digest, which has " + itoa(a.n) + " hexadecimal digits"
	}
	if _, err := hex.DecodeString(v); err != nil || v == "" || len(v) > 512 {
		return "is no " + alg + " digest in hexadecimal"
	}
	if *set == nil {
		*set = statement.DigestSet{}
	}
	(*set)[a.name] = v
	return ""
}

// Party gives the Ref of a person or organisation.
func Party(kind prov.Kind, name, email string) prov.Ref {
	if kind == prov.Person && email != "" {
		return Fit(prov.Ref{Kind: prov.Person, Name: strings.ToLower(strings.TrimSpace(email))})
	}
	if name == "" {
		name = email
	}
	if name == "" {
		return prov.Ref{}
	}
	return Fit(prov.Ref{Kind: kind, Name: name})
}
