package graph

import "sort"

// DigestPrefix gives the contents whose sha256 begins with hex.
func (v View) DigestPrefix(hex string) []ID {
	var out []ID
	prefix := "sha256:" + hex
	for id := ID(1); int(id) < v.g.things.len(); id++ {
		if v.IsDigest(id) && v.Known(id) && len(v.Key(id)) >= len(prefix) && string(v.Key(id)[:len(prefix)]) == prefix {
			out = append(out, id)
		}
	}
	return out
}

// Search gives up to limit things whose name contains text, without regard to
// ASCII case, in the order of their names; more is how many there are beyond.
func (v View) Search(text string, limit int) (ids []ID, more int) {
	want := []byte(text)
	for i, c := range want {
		want[i] = lower[c]
	}
	for id := ID(1); int(id) < v.g.things.len(); id++ {
		if t := v.g.things.at(id); t.entry < v.known && containsFold(v.g.bytes(t.key), want) {
			ids = append(ids, id)
		}
	}
	sort.Slice(ids, func(i, j int) bool { return string(v.Key(ids[i])) < string(v.Key(ids[j])) })
	if limit > 0 && len(ids) > limit {
		ids, more = ids[:limit], len(ids)-limit
	}
	return ids, more
}

// containsFold tells whether name contains want, which is in lower case,
// without regard to ASCII case. It allocates nothing.
func containsFold(name, want []byte) bool {
	if len(want) == 0 {
		return true
	}
	for i := 0; i+len(want) <= len(name); i++ {
		k := 0
		for k < len(want) && lower[name[i+k]] == want[k] {
			k++
		}
		if k == len(want) {
			return true
		}
	}
	return false
}

// lower maps the ASCII capitals to small letters.
var lower = func() (t [256]byte) {
	for i := range t {
		t[i] = byte(i)
		if 'A' <= i && i <= 'Z' {
			t[i] += 'a' - 'A'
		}
	}
	return t
}()
