package git

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// nameOf gives the name of an object: the hash of its type, size and bytes
// (SHA-1, or SHA-256 where names have 64 digits).
func nameOf(typ string, raw []byte, digits int) string {
	head := fmt.Sprintf("%s %d\x00", typ, len(raw))
	if digits == 64 {
		sum := sha256.Sum256(append([]byte(head), raw...))
		return hex.EncodeToString(sum[:])
	}
	sum := sha1.Sum(append([]byte(head), raw...))
	return hex.EncodeToString(sum[:])
}

// object is a parsed commit or tag.
type object struct {
	header
	fields    []field
	message   []byte
	signature []byte // as it stands in the object, without indentation
	payload   []byte // what the signature is over
	exact     bool   // payload is byte for byte that of the object
	notes     []string
}

type field struct{ key, value string }

func (o *object) get(key string) string {
	for _, f := range o.fields {
		if f.key == key {
			return f.value
		}
	}
	return ""
}

func (o *object) note(format string, args ...any) {
	if len(o.notes) < 50 {
		o.notes = append(o.notes, rawjson.Clip(fmt.Sprintf(format, args...), 500))
	}
}

// parse reads the header fields and message of an object, and takes its
// signature out.
func parse(typ string, raw []byte) *object {
	o := &object{header: header{typ: typ}, exact: true}
	rest := raw
	var last *field
	signed, other := false, false
	for len(rest) > 0 {
		line := rest
		if i := bytes.IndexByte(rest, '\n'); i >= 0 {
			line = rest[:i+1]
		}
		text := string(bytes.TrimSuffix(line, []byte("\n")))
		if text == "" {
			break
		}
		rest = rest[len(line):]
		if text[0] == ' ' {
			switch {
			case signed:
				o.signature = append(append(o.signature, text[1:]...), '\n')
			case other:
			default:
				if last != nil {
					last.value += "\n" + text[1:]
				}
				o.payload = append(o.payload, line...)
			}
			continue
		}
		key, value, _ := strings.Cut(text, " ")
		// A commit carries its signature in a header field, and one of each
		// object format where it was converted. Neither is signed.
		signed = typ == "commit" && (key == "gpgsig" || key == "gpgsig-sha256") && o.signature == nil
		other = typ == "commit" && !signed && strings.HasPrefix(key, "gpgsig")
		switch {
		case signed:
			o.signature = append([]byte(value), '\n')
		case !other:
			o.payload = append(o.payload, line...)
			o.fields = append(o.fields, field{key, value})
			last = &o.fields[len(o.fields)-1]
		}
	}
	o.message = bytes.TrimPrefix(rest, []byte("\n"))
	o.payload = append(o.payload, rest...)
	if typ == "tag" {
		o.cutSignature()
	}
	return o
}

var signatureBegins = []string{"-----BEGIN PGP SIGNATURE-----", "-----BEGIN PGP MESSAGE-----", "-----BEGIN SIGNED MESSAGE-----", "-----BEGIN SSH SIGNATURE-----"}

// cutSignature takes the signature off the end of a tag: from the last line
// that begins one.
func (o *object) cutSignature() {
	at := -1
	for _, s := range signatureBegins {
		if i := bytes.LastIndex(o.payload, []byte("\n"+s)); i+1 > at && i >= 0 {
			at = i + 1
		}
	}
	if at < 0 || at < len(o.payload)-len(o.message) {
		return
	}
	o.signature = bytes.Clone(o.payload[at:])
	o.message = o.message[:len(o.message)-len(o.signature)]
	o.payload = o.payload[:at:at]
}

// item makes the Item of an object.
func (x *stream) item(it importer.Item, h header, raw []byte) importer.Item {
	o := parse(h.typ, raw)
	digits := 40
	if len(o.get("tree")) == 64 || len(o.get("object")) == 64 || len(h.name) == 64 {
		digits = 64
	}
	name := nameOf(h.typ, raw, digits)
	redactedBefore := h.name != "" && name != h.name && bytes.Contains(raw, []byte(rawjson.Redacted))
	if h.name != "" && name != h.name {
		if !redactedBefore {
			it.Refusal = &importer.Refusal{Reason: WrongName, Detail: fmt.Sprintf("%s %s: its bytes have the name %s; fetch it again", h.typ, h.name, name)}
			return it
		}
		o.exact = false
		o.note("a secret was taken out of the object, so its name and signature cannot be checked")
		name = h.name
	}
	o.name, o.repository = name, h.repository
	if o.repository == "" {
		o.repository = "git"
	}
	it.Original = sha256.Sum256(raw)
	kept, paths := redact(o, raw)
	if h.name != "" || len(paths) > 0 {
		head := fmt.Sprintf("%s %s %d", name, h.typ, len(kept))
		if h.repository != "" {
			head += " " + h.repository
		}
		kept = append([]byte(head+"\n"), kept...)
	}
	return x.finish(it, o, kept, paths)
}

// inexact makes the Item of a commit of a log whose bytes are not known
// exactly.
func (x *stream) inexact(it importer.Item, h header, raw []byte) importer.Item {
	o := parse(h.typ, raw)
	o.name, o.repository, o.exact = h.name, "git", false
	o.note("git log does not give the exact bytes of the commit, so its name and signature cannot be checked; give the output of git cat-file --batch")
	it.Original = sha256.Sum256(raw)
	kept, paths := redact(o, raw)
	var b bytes.Buffer
	fmt.Fprintf(&b, "commit %s\n", h.name)
	head, message, _ := bytes.Cut(kept, []byte("\n\n"))
	b.Write(head)
	b.WriteString("\n\n")
	for line := range bytes.Lines(message) {
		b.WriteString("    ")
		b.Write(line)
	}
	return x.finish(it, o, b.Bytes(), paths)
}

// redact takes what has the shape of a secret out of the message and the
// header fields, save the signature.
func redact(o *object, raw []byte) (kept []byte, paths []string) {
	i := len(raw)
	if len(o.message) > 0 {
		i = bytes.LastIndex(raw, o.message)
	}
	signed := false
	for line := range bytes.Lines(raw[:i]) {
		if len(line) > 0 && line[0] != ' ' {
			signed = bytes.HasPrefix(line, []byte("gpgsig"))
		}
		text := string(line)
		if clean := rawjson.Secrets(text); !signed && clean != text {
			text, paths = clean, append(paths, "header")
		}
		kept = append(kept, text...)
	}
	if clean := rawjson.Secrets(string(o.message)); clean != string(o.message) {
		kept, paths = append(kept, clean...), append(paths, "message")
	} else {
		kept = append(kept, o.message...)
	}
	if len(paths) == 0 {
		return raw, nil
	}
	kept = append(kept, raw[i+len(o.message):]...)
	again := parse(o.typ, kept) // the statements know only what is kept
	o.fields, o.message = again.fields, again.message
	return kept, slices.Compact(paths)
}

// finish makes the statement.
func (x *stream) finish(it importer.Item, o *object, kept []byte, redacted []string) importer.Item {
	it.Place = o.typ + " " + o.name
	check := x.checker.check(o)
	o.decode()
	var d importer.Draft
	var err error
	if o.typ == "commit" {
		d, err = o.commit(check)
	} else {
		d, err = o.tag(check)
	}
	if err != nil {
		reason := BadObject
		if n := (*notACommit)(nil); asNotACommit(err, &n) {
			reason = NotACommit
		}
		it.Refusal = &importer.Refusal{Reason: reason, Detail: it.Place + ": " + rawjson.Clip(err.Error(), 1000)}
		return it
	}
	ev := importer.NewEvidence(Importer{}, MediaType, sha256.Sum256(kept), len(kept))
	ev.Notes, ev.Redacted, ev.Verified = o.notes, redacted, check
	switch p := d.Predicate.(type) {
	case *statement.Activity:
		p.Evidence = []statement.Evidence{ev}
	case *statement.Registry:
		p.Evidence = []statement.Evidence{ev}
	}
	if payload, err := statement.Format(d.Subjects, d.Predicate); err != nil || len(payload) > statement.MaxPayload {
		it.Refusal = &importer.Refusal{Reason: BadObject, Detail: fmt.Sprintf("%s: makes no valid statement (%d bytes): %v", it.Place, len(payload), err)}
		return it
	}
	it.Evidence, it.Statements, it.Notes = kept, []importer.Draft{d}, o.notes
	return it
}

type notACommit struct{ typ string }

func (e *notACommit) Error() string {
	return "is a tag of a " + e.typ + "; only tags of commits are recorded"
}

func asNotACommit(err error, to **notACommit) bool {
	e, ok := err.(*notACommit)
	*to = e
	return ok
}

// decode makes UTF-8 of the names and the message, which are in the encoding
// that the object names, UTF-8 unless it does.
func (o *object) decode() {
	latin := false
	switch enc := strings.ToLower(o.get("encoding")); enc {
	case "", "utf-8", "utf8":
	case "iso-8859-1", "iso8859-1", "latin1", "latin-1", "iso-8859-15", "windows-1252", "cp1252":
		latin = true
	default:
		o.note("encoding %q is not read; what is not UTF-8 is replaced", enc)
	}
	fix := func(s string) string {
		if utf8.ValidString(s) {
			return s
		}
		if !latin {
			return strings.ToValidUTF8(s, "\uFFFD")
		}
		r := make([]rune, len(s))
		for i := range len(s) {
			r[i] = rune(s[i])
		}
		return string(r)
	}
	for i := range o.fields {
		o.fields[i].value = fix(o.fields[i].value)
		o.fields[i].key = strings.ToValidUTF8(o.fields[i].key, "\uFFFD")
	}
	o.message = []byte(fix(string(o.message)))
}

func (o *object) code(name string) (prov.Ref, statement.DigestSet) {
	repo := o.repository
	if r, _, ok := prov.Repository(repo, true); ok {
		repo = r
	}
	return prov.Ref{Kind: prov.Code, Name: repo, Version: name}, statement.DigestSet{"gitCommit": name}
}

// ident is who and when, as author, committer and tagger give it.
type ident struct {
	ref string
	at  statement.Time
}

// ident reads "Name <mail> seconds zone".
func (o *object) ident(key string) (ident, bool) {
	s := o.get(key)
	if s == "" {
		return ident{}, false
	}
	who, when := s, ""
	if i := strings.LastIndexByte(s, '>'); i >= 0 {
		who, when = s[:i+1], s[i+1:]
	}
	id := ident{ref: party(who)}
	f := strings.Fields(when)
	if len(f) == 0 {
		o.note("%s gives no time", key)
		return id, true
	}
	sec, err := strconv.ParseInt(f[0], 10, 64)
	if err != nil || sec < -9_000_000_000 || sec > 9_200_000_000 {
		o.note("%s: %q is no time in the years 1679 to 2261; kept in the evidence only", key, f[0])
		return id, true
	}
	id.at = statement.NewTime(time.Unix(sec, 0))
	return id, true
}

// party names whoever "Name <mail>" stands for: by the mail address, whose
// host is written in lower case. Accounts that forges give to programs are
// workloads.
func party(s string) string {
	name, mail := strings.TrimSpace(s), ""
	if i := strings.LastIndexByte(s, '<'); i >= 0 {
		if k := strings.IndexByte(s[i:], '>'); k > 0 {
			name, mail = strings.TrimSpace(s[:i]), strings.TrimSpace(s[i+1:i+k])
		}
	}
	id := mail
	if user, host, ok := strings.Cut(mail, "@"); ok {
		id = user + "@" + strings.ToLower(host)
	}
	if id == "" {
		id = name
	}
	if id == "" {
		id = "unknown"
	}
	kind := prov.Person
	if strings.HasSuffix(name, "[bot]") || strings.Contains(mail, "[bot]@") || strings.EqualFold(mail, "noreply@github.com") {
		kind = prov.Workload
	}
	r := prov.Ref{Kind: kind, Name: id}
	if len(r.String()) > 1024 {
		r.Name = rawjson.Clip(strings.ToValidUTF8(id, "\uFFFD"), 200)
	}
	return r.String()
}
