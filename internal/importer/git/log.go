package git

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
)

// log reads the text of `git log --format=raw`: the commits with their headers
// as they are, the message indented by four spaces. Git leaves white space at
// the ends of lines out there, so the bytes of a commit can be given back only
// if they have the name that the log says.
func (x *stream) log(yield func(importer.Item, error) bool) {
	var lines [][]byte
	start, size, n := x.at, 0, 0
	flush := func() bool {
		if len(lines) == 0 {
			return true
		}
		n++
		it := importer.Item{Place: fmt.Sprintf("commit %d", n), Offset: start, Bytes: x.at - start}
		if size > MaxObject {
			return refuse(yield, it, TooLarge, "%s: more than %d bytes", it.Place, MaxObject)
		}
		return yield(x.logged(it, lines), nil)
	}
	for {
		before := x.at
		line, ok, err := x.line()
		if err != nil {
			yield(importer.Item{}, fmt.Errorf("reading git log: %w", err))
			return
		}
		if !ok {
			flush()
			return
		}
		if f := bytes.Fields(line); len(f) >= 2 && string(f[0]) == "commit" && line[0] == 'c' && isName(string(f[1])) {
			after := x.at
			x.at = before
			if !flush() {
				return
			}
			x.at, start, size, lines = after, before, 0, nil
		}
		if size += len(line) + 1; size <= MaxObject {
			lines = append(lines, line)
		}
	}
}

// logged makes the Item of one commit of a log.
func (x *stream) logged(it importer.Item, lines [][]byte) importer.Item {
	f := strings.Fields(string(lines[0]))
	h := header{name: f[1], typ: "commit"}
	it.Place = "commit " + h.name
	body, message := lines[1:], [][]byte(nil)
	for i, l := range body {
		if len(l) == 0 {
			body, message = body[:i], body[i+1:]
			break
		}
	}
	var text []byte
	for _, l := range message {
		switch {
		case bytes.HasPrefix(l, []byte("    ")):
			text = append(append(text, l[4:]...), '\n')
		case len(l) == 0:
			text = append(text, '\n')
		default: // a patch or statistics after the message
			message = nil
		}
		if message == nil {
			break
		}
	}
	text = bytes.TrimRight(text, "\n")
	head := append(bytes.Join(body, []byte("\n")), '\n', '\n')
	for _, end := range []string{"\n", "", "\n\n"} {
		raw := append(append(bytes.Clone(head), text...), end...)
		if nameOf(h.typ, raw, len(h.name)) == h.name {
			h.size = int64(len(raw))
			return x.item(it, h, raw)
		}
	}
	raw := append(append(head, text...), '\n')
	h.size = int64(len(raw))
	return x.inexact(it, h, raw)
}
