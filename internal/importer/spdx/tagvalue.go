package spdx

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/bom"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/statement"
)

// readTagValue reads one tag-value document (SPDX 2.3 section 4.4: tag, colon,
// value; text over several lines stands between <text> and </text>).
func (im Importer) readTagValue(s importer.Source) (importer.Item, error) {
	data, size, err := bom.ReadAll(s.R, im.Options.Limit())
	if err != nil {
		return importer.Item{}, fmt.Errorf("reading spdx: %w", err)
	}
	if data == nil && size > 0 {
		return bom.Oversize(size, im.Options), nil
	}
	it := importer.Item{Place: "line 1", Bytes: size}
	if !utf8.Valid(data) {
		it.Refusal = &importer.Refusal{Reason: BadTag, Detail: "document: is not UTF-8; convert it"}
		return it, nil
	}
	k := bom.Kept{Bytes: data, Original: sha256.Sum256(data), MediaType: MediaTypeTagValue}
	if clean := rawjson.Secrets(string(data)); clean != string(data) {
		k.Bytes, k.Redacted = []byte(clean), []string{"text that has the shape of a secret"}
	}
	return bom.Finish(im, it, k, func(src bom.Source, st *bom.Statements) *statement.EvidenceCheck {
		x := &reading2{Statements: st, src: src}
		x.fromTags(string(k.Bytes))
		return &statement.EvidenceCheck{Result: statement.CheckUnsigned}
	}), nil
}

// tag is one line of a tag-value document.
type tag struct {
	name, value string
	line        int
}

// tags gives the tags of a document one after another.
func (x *reading2) tags(text string, yield func(tag) bool) {
	line := 0
	for text != "" {
		l, rest, _ := strings.Cut(text, "\n")
		text = rest
		line++
		l = strings.TrimSpace(strings.TrimPrefix(strings.TrimSuffix(l, "\r"), "\ufeff"))
		if l == "" || l[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(l, ":")
		if !ok {
			x.Refuse(BadTag, "line "+strconv.Itoa(line), "is no tag; write Tag: value, or put text of several lines between <text> and </text>")
			return
		}
		t := tag{strings.TrimSpace(name), strings.TrimSpace(value), line}
		if body, open := strings.CutPrefix(t.value, "<text>"); open {
			whole := body
			if !strings.Contains(body, "</text>") {
				end := strings.Index(text, "</text>")
				if end < 0 {
					x.Refuse(BadTag, "line "+strconv.Itoa(line), "<text> is not closed; end it with </text>")
					return
				}
				whole = body + "\n" + text[:end]
				line += strings.Count(text[:end], "\n")
				_, text, _ = strings.Cut(text[end:], "\n")
				line++
			}
			t.value, _, _ = strings.Cut(whole, "</text>")
		}
		if !yield(t) {
			return
		}
	}
}

// fromTags reads the tag-value form.
func (x *reading2) fromTags(text string) {
	var version, id, name, namespace, created string
	var creators []string
	var elements []element
	var relationships [][4]string
	var notes [][4]string // target, annotator, date, text
	external := map[string]string{}
	cur := -1
	here := func() string {
		if cur < 0 {
			return first(id, "SPDXRef-DOCUMENT")
		}
		return elements[cur].id
	}
	section := map[string]int{}
	x.tags(text, func(t tag) bool {
		switch t.name {
		case "SPDXVersion":
			version = t.value
		case "DocumentName":
			name = t.value
		case "DocumentNamespace":
			namespace = t.value
		case "Created":
			created = t.value
		case "Creator":
			creators = append(creators, t.value)
		case "ExternalDocumentRef":
			if f := strings.Fields(t.value); len(f) >= 2 {
				external[f[0]] = strings.TrimSuffix(f[1], "#")
			}
		case "PackageName", "FileName":
			file := t.name == "FileName"
			elements = append(elements, element{name: t.value, file: file, place: "line " + strconv.Itoa(t.line), dates: map[string]string{}})
			cur = len(elements) - 1
		case "SnippetSPDXID", "LicenseID":
			section[t.name]++
			cur = -2
		case "SPDXID":
			if cur >= 0 {
				elements[cur].id = t.value
			} else if cur == -1 {
				id = t.value
			}
		case "Relationship":
			if f := strings.Fields(t.value); len(f) == 3 {
				relationships = append(relationships, [4]string{f[0], f[1], f[2], "line " + strconv.Itoa(t.line)})
			} else {
				x.Refuse(BadRelationship, "line "+strconv.Itoa(t.line), "%q has not three parts; write element type element", rawjson.Clip(t.value, 200))
			}
		case "Annotator":
			notes = append(notes, [4]string{here(), t.value})
		case "AnnotationDate", "AnnotationComment", "SPDXREF":
			if len(notes) > 0 {
				notes[len(notes)-1][map[string]int{"SPDXREF": 0, "AnnotationDate": 2, "AnnotationComment": 3}[t.name]] = t.value
			}
		default:
			if cur >= 0 {
				elements[cur].set(t)
			}
		}
		return x.Refusal() == nil
	})
	if x.Refusal() != nil {
		return
	}
	if x.begin(version, id, name, namespace, created, creators); x.Refusal() != nil {
		return
	}
	x.external = external
	for _, e := range elements {
		if x.element(e); x.Refusal() != nil {
			return
		}
	}
	owner := ""
	for _, e := range elements { // a file belongs to the package that it follows (SPDX 2.3 section 8)
		if !e.file {
			owner = e.id
		} else if owner != "" {
			x.relate(owner, "CONTAINS", e.id, e.place)
		}
	}
	for _, r := range relationships {
		if x.relate(r[0], r[1], r[2], r[3]); x.Refusal() != nil {
			return
		}
	}
	for _, n := range notes {
		x.annotation(x.find(n[0]), n[1], n[2], n[3])
	}
	for _, k := range sortedKeys(section) {
		x.Note("kept in the evidence only: %d sections that begin with %s", section[k], k)
	}
	x.end()
}

// set adds a tag to an element.
func (e *element) set(t tag) {
	field, ok := map[string]*string{"PackageVersion": &e.version, "PackageSupplier": &e.supplier, "PackageOriginator": &e.originator,
		"PackageDownloadLocation": &e.download, "PrimaryPackagePurpose": &e.purpose, "PackageLicenseDeclared": &e.licence,
		"PackageLicenseConcluded": &e.concluded, "LicenseConcluded": &e.concluded, "PackageCopyrightText": &e.copyright,
		"PackageDescription": &e.text, "PackageSourceInfo": &e.source}[t.name]
	switch {
	case ok:
		*field = t.value
	case t.name == "FileType":
		e.types = append(e.types, t.value)
	case t.name == "PackageChecksum" || t.name == "FileChecksum":
		alg, v, _ := strings.Cut(t.value, ":")
		e.hashes = append(e.hashes, [2]string{strings.TrimSpace(alg), strings.TrimSpace(v)})
	case t.name == "ExternalRef":
		if f := strings.Fields(t.value); len(f) >= 3 && (f[1] == "purl" || strings.HasSuffix(f[1], "/purl")) {
			e.purls = append(e.purls, f[2])
		}
	case t.name == "BuiltDate" || t.name == "ReleaseDate" || t.name == "ValidUntilDate":
		e.dates[strings.ToLower(t.name[:1])+t.name[1:]] = t.value
	}
}
