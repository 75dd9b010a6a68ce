package rawjson

// Pairs says where names stand beside their values, and which of them are
// those of secrets.
type Pairs struct {
	Names []string // the members that can hold the name; the first that is text counts
	Value string   // the member that holds the value
	// Secret tells whether the value of a name is a secret; nil: as [Redact]
	// takes the names of members.
	Secret func(name string) bool
	// Members says that what is under a member whose name is that of a secret
	// is one too, as in a map of headers.
	Members bool
}

// RedactPairs replaces the texts and numbers in the value of each pair whose
// name says that it is a secret: in an object such as {"key": "db_password",
// "value": "…"}, the value being an object or array too. [Redact] sees such
// names only where they are the names of members. Without secrets it gives the
// bytes of doc themselves, else new ones and the paths of what was replaced.
func RedactPairs(doc *Doc, p Pairs) (raw []byte, paths []string) {
	if p.Secret == nil {
		p.Secret = func(name string) bool { return secretName([]byte(name)) }
	}
	r := &pairRedactor{redactor{doc: doc}, p}
	r.path = append(r.path, step{node: 1})
	r.walk(false)
	if r.count == 0 {
		return doc.raw, nil
	}
	r.out = append(r.out, doc.raw[r.from:]...)
	return r.out, capped(r.paths, r.count)
}

type pairRedactor struct {
	redactor
	Pairs
}

// walk looks at the node at the end of the path; all says that it is a part of
// a secret. Its depth is bounded by MaxDepth.
func (r *pairRedactor) walk(all bool) {
	m := r.path[len(r.path)-1].node
	x := Node{r.doc, m}
	k := x.Kind()
	if all && (k == '"' || k == '0') && x.Text() != "" && x.Text() != Redacted {
		r.replace(r.doc.nodes[m].start, r.doc.nodes[m].end, Redacted, "")
	}
	if k != '{' && k != '[' {
		return
	}
	secret := k == '{' && !all && r.secretPair(x)
	i := 0
	for c := r.doc.nodes[m].first; c != 0; c = r.doc.nodes[c].next {
		r.path = append(r.path, step{c, i})
		part := all
		if k == '{' && !all {
			key := Node{r.doc, c}.Key()
			part = secret && key == r.Value || r.Members && r.Secret(key)
		}
		r.walk(part)
		r.path = r.path[:len(r.path)-1]
		i++
	}
}

func (r *pairRedactor) secretPair(x Node) bool {
	for _, n := range r.Names {
		if name := x.Get(n); name.Kind() == '"' && name.Text() != "" {
			return r.Secret(name.Text())
		}
	}
	return false
}
