package importer

import (
	"bytes"
	"path"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// HeadSize is how many bytes of a file are looked at to recognise its format.
const HeadSize = 1 << 20

// Head is what a format is recognised by.
type Head struct {
	Path  string // slash-separated, as it was walked
	Size  int64
	Bytes []byte // the beginning, at most HeadSize bytes
	// Members are the members of the first JSON object in Bytes, or of the
	// first object in an array or stream that begins there: the text of
	// strings, the first byte of other values. It is nil when there is none.
	// What lies beyond HeadSize is not in it.
	Members map[string]string
	// Array tells that the first JSON value is an array.
	Array bool
}

// NewHead looks at the beginning of a file.
func NewHead(name string, size int64, head []byte) *Head {
	h := &Head{Path: name, Size: size, Bytes: head}
	b := bytes.TrimPrefix(head, []byte("\xef\xbb\xbf"))
	if b = bytes.TrimLeft(b, " \t\r\n\x1e"); len(b) == 0 || b[0] != '{' && b[0] != '[' {
		return h
	}
	d := jsontext.NewDecoder(bytes.NewReader(b), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	for d.PeekKind() == '[' {
		h.Array = true
		if _, err := d.ReadToken(); err != nil || d.StackDepth() > 2 {
			return h
		}
	}
	if d.PeekKind() != '{' {
		return h
	}
	h.Members = map[string]string{}
	if _, err := d.ReadToken(); err != nil {
		return h
	}
	for d.PeekKind() == '"' {
		t, err := d.ReadToken()
		if err != nil {
			break
		}
		key, k := t.String(), d.PeekKind()
		h.Members[key] = string(rune(k))
		if k == '"' {
			if t, err = d.ReadToken(); err != nil {
				break
			}
			h.Members[key] = t.String()
		} else if d.SkipValue() != nil {
			break
		}
	}
	return h
}

// Base gives the file's name without its folders.
func (h *Head) Base() string { return path.Base(h.Path) }

// Ext gives the extension of the file's name in lower case, with its dot.
func (h *Head) Ext() string { return strings.ToLower(path.Ext(h.Path)) }

// Has tells whether the first JSON object has all the members.
func (h *Head) Has(members ...string) bool {
	for _, m := range members {
		if _, ok := h.Members[m]; !ok {
			return false
		}
	}
	return true
}

// HasPrefix tells whether the text of the member begins so.
func (h *Head) HasPrefix(member, prefix string) bool {
	return strings.HasPrefix(h.Members[member], prefix)
}
