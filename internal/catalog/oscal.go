package catalog

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// MaxOSCAL is the largest catalogue that is read, in bytes, and maxDepth how
// deep its groups, controls and parts may nest.
const (
	MaxOSCAL    = 32 << 20
	maxDepth    = 32
	maxControls = 20000
)

// Official is what an OSCAL catalogue says of the controls of a framework.
type Official struct {
	UUID    string
	Title   string
	Version string
	Texts   map[string]OfficialText // by the identifier of our catalogue
}

// OfficialText is one control of an OSCAL catalogue.
type OfficialText struct {
	ControlID   string // as the catalogue spells it
	StatementID string // of its statement, if there is one
	Title       string
	Text        string
}

// ReadOSCAL reads an OSCAL catalogue (NIST OSCAL 1.0 to 1.2, JSON or XML) and
// gives what it says of the controls of the framework. Controls that the
// framework does not have in force are passed over: the catalogue of CSF 2.0
// keeps what 2.0 withdrew. A catalogue that speaks of none is refused.
func (f *Framework) ReadOSCAL(text []byte) (*Official, error) {
	if len(text) > MaxOSCAL {
		return nil, fmt.Errorf("the catalogue has %d bytes, the limit is %d", len(text), MaxOSCAL)
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	trimmed := bytes.TrimLeft(text, " \t\r\n")
	var c *oscalCatalog
	var err error
	switch {
	case len(trimmed) > 0 && trimmed[0] == '{':
		c, err = readJSON(trimmed)
	case len(trimmed) > 0 && trimmed[0] == '<':
		c, err = readXML(trimmed)
	default:
		err = errors.New("it is neither JSON nor XML; name an OSCAL catalogue")
	}
	if err != nil {
		return nil, fmt.Errorf("reading OSCAL catalogue: %w", err)
	}
	o := &Official{UUID: c.UUID, Title: clean(c.Title), Version: clean(c.Version), Texts: map[string]OfficialText{}}
	for _, x := range c.controls {
		id, ok := f.Canonical(x.ControlID)
		if !ok {
			continue
		}
		if k, err := f.Control(id); err == nil {
			if _, twice := o.Texts[k.ID]; !twice {
				o.Texts[k.ID] = x
			}
		}
	}
	if len(o.Texts) == 0 {
		return nil, fmt.Errorf("reading OSCAL catalogue: %q has no control of %s; name the catalogue of this framework, or another --framework", o.Title, f.Title)
	}
	return o, nil
}

type oscalCatalog struct {
	UUID, Title, Version string
	controls             []OfficialText
}

func (c *oscalCatalog) add(x OfficialText) error {
	if len(c.controls) >= maxControls {
		return fmt.Errorf("it has more than %d controls", maxControls)
	}
	x.Title, x.Text = clean(x.Title), clean(x.Text)
	c.controls = append(c.controls, x)
	return nil
}

func clean(s string) string { return strings.Join(strings.Fields(s), " ") }

type jsonNode struct {
	ID       string     `json:"id"`
	Name     string     `json:"name"`
	Title    string     `json:"title"`
	Prose    string     `json:"prose"`
	Groups   []jsonNode `json:"groups"`
	Controls []jsonNode `json:"controls"`
	Parts    []jsonNode `json:"parts"`
}

func readJSON(text []byte) (*oscalCatalog, error) {
	var doc struct {
		Catalog *struct {
			UUID     string `json:"uuid"`
			Metadata struct {
				Title   string `json:"title"`
				Version string `json:"version"`
			} `json:"metadata"`
			jsonNode
		} `json:"catalog"`
	}
	if err := json.Unmarshal(text, &doc); err != nil { // bounds its own depth
		return nil, err
	}
	if doc.Catalog == nil {
		return nil, errors.New(`the document has no member "catalog"`)
	}
	c := &oscalCatalog{UUID: doc.Catalog.UUID, Title: doc.Catalog.Metadata.Title, Version: doc.Catalog.Metadata.Version}
	type step struct {
		n       *jsonNode
		control bool
		depth   int
	}
	for todo := []step{{&doc.Catalog.jsonNode, false, 0}}; len(todo) > 0; {
		s := todo[0]
		todo = todo[1:]
		if s.depth > maxDepth {
			return nil, fmt.Errorf("its groups and controls nest deeper than %d", maxDepth)
		}
		if s.control {
			if err := c.add(statementOf(s.n)); err != nil {
				return nil, err
			}
		}
		for i := range s.n.Groups {
			todo = append(todo, step{&s.n.Groups[i], false, s.depth + 1})
		}
		for i := range s.n.Controls {
			todo = append(todo, step{&s.n.Controls[i], true, s.depth + 1})
		}
	}
	return c, nil
}

// statementOf gives the statement of a control: the prose of its part of that
// name and of the parts in it, in order.
func statementOf(n *jsonNode) OfficialText {
	x := OfficialText{ControlID: n.ID, Title: n.Title}
	for i := range n.Parts {
		p := &n.Parts[i]
		if p.Name != "statement" || x.StatementID != "" {
			continue
		}
		x.StatementID = p.ID
		type step struct {
			n     *jsonNode
			depth int
		}
		for todo := []step{{p, 0}}; len(todo) > 0; {
			s := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			x.Text += " " + s.n.Prose
			for k := len(s.n.Parts) - 1; k >= 0 && s.depth < maxDepth; k-- {
				todo = append(todo, step{&s.n.Parts[k], s.depth + 1})
			}
		}
	}
	return x
}

// readXML walks the elements; nothing of it recurses.
func readXML(text []byte) (*oscalCatalog, error) {
	d := xml.NewDecoder(bytes.NewReader(text))
	r := &xmlReader{c: &oscalCatalog{}}
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if err := r.token(t); err != nil {
			return nil, err
		}
	}
	if !r.seen {
		return nil, errors.New("the document has no element catalog")
	}
	return r.c, nil
}

type xmlReader struct {
	c    *oscalCatalog
	path []string
	seen bool
	open []*OfficialText // the controls around the place
	// statement is the depth of the statement part around the place; 0: none.
	statement int
}

func (r *xmlReader) token(t xml.Token) error {
	switch t := t.(type) {
	case xml.StartElement:
		return r.start(t)
	case xml.EndElement:
		return r.end(t.Name.Local)
	case xml.CharData:
		r.text(string(t))
	}
	return nil
}

func (r *xmlReader) start(t xml.StartElement) error {
	name := t.Name.Local
	if len(r.path) == 0 {
		if name != "catalog" {
			return fmt.Errorf("its element is %s, not catalog", name)
		}
		r.seen, r.c.UUID = true, attr(t, "uuid")
	}
	if r.path = append(r.path, name); len(r.path) > 4*maxDepth {
		return fmt.Errorf("its elements nest deeper than %d", 4*maxDepth)
	}
	switch n := len(r.open); {
	case name == "control":
		r.open = append(r.open, &OfficialText{ControlID: attr(t, "id")})
	case name == "part" && n > 0 && attr(t, "name") == "statement" && r.statement == 0 && r.open[n-1].StatementID == "":
		r.open[n-1].StatementID, r.statement = attr(t, "id"), len(r.path)
	}
	return nil
}

func (r *xmlReader) end(name string) error {
	if len(r.path) == r.statement {
		r.statement = 0
	}
	r.path = r.path[:len(r.path)-1]
	if n := len(r.open); name == "control" && n > 0 {
		x := *r.open[n-1]
		r.open = r.open[:n-1]
		return r.c.add(x)
	}
	if n := len(r.open); r.statement > 0 && n > 0 && name != "em" && name != "strong" && name != "a" && name != "code" && name != "q" {
		r.open[n-1].Text += " " // the end of a block
	}
	return nil
}

func (r *xmlReader) text(s string) {
	n := len(r.path)
	if n < 2 {
		return
	}
	name, in := r.path[n-1], r.path[n-2]
	switch {
	case in == "metadata" && name == "title":
		r.c.Title += s
	case in == "metadata" && name == "version":
		r.c.Version += s
	case in == "control" && name == "title":
		r.open[len(r.open)-1].Title += s
	case r.statement > 0 && name != "title":
		r.open[len(r.open)-1].Text += s
	}
}

func attr(t xml.StartElement, name string) string {
	for _, a := range t.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}
