package cyclonedx

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/bom"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/statement"
)

// maxXML is the largest XML document, in bytes: unlike JSON it is held as a
// tree of its own while it is read.
const maxXML = 64 << 20

func peek(r io.Reader) ([]byte, io.Reader) {
	b := bufio.NewReaderSize(r, 64<<10)
	head, _ := b.Peek(64 << 10)
	return head, b
}

// readXML reads one XML document. What it says is what its JSON form says: the
// library that CycloneDX keeps reads the one and writes the other.
func (im Importer) readXML(s importer.Source) (importer.Item, error) {
	o := im.Options
	o.MaxDocument = min(o.Limit(), maxXML)
	data, size, err := bom.ReadAll(s.R, o.Limit())
	if err != nil {
		return importer.Item{}, fmt.Errorf("reading cyclonedx: %w", err)
	}
	if data == nil && size > 0 {
		return bom.Oversize(size, o), nil
	}
	it := importer.Item{Place: "line 1", Bytes: size}
	k := bom.Kept{Bytes: data, Original: sha256.Sum256(data), MediaType: MediaTypeXML}
	if clean := rawjson.Secrets(string(data)); clean != string(data) {
		k.Bytes, k.Redacted = []byte(clean), []string{"text that has the shape of a secret"}
	}
	doc, refusal := fromXML(k.Bytes)
	if refusal != nil {
		it.Refusal = refusal
		return it, nil
	}
	redacted, paths := doc.Redacted()
	if len(paths) > 0 { // a secret that only its name tells; the XML is not kept then
		k.Bytes, k.Redacted, k.MediaType = redacted.Raw(), append(k.Redacted, paths...), MediaTypeJSON
	}
	return bom.Finish(im, it, k, func(src bom.Source, st *bom.Statements) *statement.EvidenceCheck {
		check := mapping(redacted, src, st)
		if check != nil && (bytes.Contains(data, []byte("<ds:Signature")) || bytes.Contains(data, []byte("<Signature"))) {
			check = &statement.EvidenceCheck{By: "cyclonedx", Result: statement.CheckUnverified, Reason: "the document is signed (XML Signature); no trusted key is given to check it with"}
		}
		return check
	}), nil
}

// fromXML gives the JSON form of an XML document.
func fromXML(data []byte) (*bom.Document, *importer.Refusal) {
	if depth, err := depthOf(data); err != nil {
		return nil, &importer.Refusal{Reason: "malformed-xml", Detail: err.Error() + "; give well-formed XML in UTF-8"}
	} else if depth > rawjson.MaxDepth/2 {
		return nil, &importer.Refusal{Reason: rawjson.TooDeep, Detail: fmt.Sprintf("document: nested %d deep, the limit is %d; flatten the document", depth, rawjson.MaxDepth/2)}
	}
	var b cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(data), cdx.BOMFileFormatXML).Decode(&b); err != nil {
		reason := bom.BadField
		if se := (*xml.SyntaxError)(nil); errors.As(err, &se) {
			reason = "malformed-xml"
		}
		return nil, &importer.Refusal{Reason: reason, Detail: "document: " + rawjson.Clip(err.Error(), 500) + "; write it as the schema of its version says"}
	}
	b.BOMFormat = cdx.BOMFormat
	if b.SpecVersion == 0 {
		return nil, &importer.Refusal{Reason: BadVersion, Detail: "bom: the namespace is none of http://cyclonedx.org/schema/bom/1.0 to 1.7; give one of them"}
	}
	if b.SpecVersion < cdx.SpecVersion1_2 {
		b.SpecVersion = cdx.SpecVersion1_2 // the first that has a JSON form; it has all that 1.0 and 1.1 have
	}
	var out bytes.Buffer
	if err := cdx.NewBOMEncoder(&out, cdx.BOMFileFormatJSON).Encode(&b); err != nil {
		return nil, &importer.Refusal{Reason: bom.BadField, Detail: "document: " + rawjson.Clip(err.Error(), 500) + "; write it as the schema of its version says"}
	}
	u := bom.Units(out.Bytes())
	if len(u) != 1 || u[0].Doc == nil {
		if len(u) == 1 && u[0].Refusal != nil {
			return nil, u[0].Refusal
		}
		return nil, &importer.Refusal{Reason: NotABOM, Detail: "document: has no JSON form"}
	}
	return u[0].Doc, nil
}

// depthOf gives how deep the elements nest, and says where XML is malformed.
func depthOf(data []byte) (int, error) {
	d := xml.NewDecoder(bytes.NewReader(data))
	depth, deepest := 0, 0
	for {
		t, err := d.RawToken()
		if err == io.EOF {
			return deepest, nil
		}
		if err != nil {
			line, col := d.InputPos()
			return 0, fmt.Errorf("line %d, column %d: %s", line, col, strings.TrimPrefix(err.Error(), "XML syntax error on "))
		}
		switch t.(type) {
		case xml.StartElement:
			depth++
			deepest = max(deepest, depth)
		case xml.EndElement:
			depth--
		}
	}
}
