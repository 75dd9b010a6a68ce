package rawjson

// RedactPairs replaces the value of each pair whose name says that it is a
// secret: in an object with the members key and value, such as
// {"key": "db_password", "value": "…"}. [Redact] sees such names only where
// they are the names of members. Without secrets it gives the bytes of doc
// themselves, else new ones and the paths of what was replaced.
func RedactPairs(doc *Doc, key, value string) (raw []byte, paths []string) {
	r := &redactor{doc: doc}
	r.path = append(r.path, step{node: 1})
	r.pairs(key, value)
	if r.count == 0 {
		return doc.raw, nil
	}
	r.out = append(r.out, doc.raw[r.from:]...)
	return r.out, capped(r.paths, r.count)
}

// pairs looks at the node at the end of the path. Its depth is bounded by
// MaxDepth.
func (r *redactor) pairs(key, value string) {
	m := r.path[len(r.path)-1].node
	x := Node{r.doc, m}
	k := x.Kind()
	if k != '{' && k != '[' {
		return
	}
	secret := k == '{' && x.Get(key).Kind() == '"' && secretName([]byte(x.Get(key).Text()))
	i := 0
	for c := r.doc.nodes[m].first; c != 0; c = r.doc.nodes[c].next {
		r.path = append(r.path, step{c, i})
		v := Node{r.doc, c}
		if secret && v.Key() == value && (v.Kind() == '"' || v.Kind() == '0') && v.Text() != "" && v.Text() != Redacted {
			r.replace(r.doc.nodes[c].start, r.doc.nodes[c].end, Redacted, "")
		} else {
			r.pairs(key, value)
		}
		r.path = r.path[:len(r.path)-1]
		i++
	}
}
