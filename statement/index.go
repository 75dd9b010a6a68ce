package statement

// IndexVersion names the index whose roots are logged: how the keys of an
// entry are derived, and how keys, lists and the map are hashed.
const IndexVersion = "stemma-vindex/v1"

// Index (index/v1) says what the root of the log's verifiable index is over
// all entries before this one. The graph does not change by it.
type Index struct {
	Version string `json:"version"` // IndexVersion
	// Size is how many entries the index covers: those with a lower index. It
	// is the index of the entry that holds this statement.
	Size uint64 `json:"size"`
	Root string `json:"root"` // SHA-256, lower-case hexadecimal
	Keys uint64 `json:"keys"` // how many keys the map has
}

// PredicateType gives IndexType.
func (*Index) PredicateType() string { return IndexType }

func (x *Index) check(c *checker) {
	if x.Version == "" {
		c.fail("version", "is missing; the one that is known is %s", IndexVersion)
	}
	if len(x.Root) != 64 || !isHex(x.Root) {
		c.fail("root", "is no SHA-256 in lower-case hexadecimal")
	}
}
