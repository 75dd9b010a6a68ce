package statement

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Fields of a predicate may be withheld when a statement is signed: in their
// place stands a salted digest, and who is given the disclosure can put the
// field back and see that it is the one that was signed. Disclosures and digests
// are those of SD-JWT (RFC 9901 sections 4.2.1, 4.2.3 and 4.2.4.1) for members of
// objects:
//
//	disclosure  base64url(["<salt>","<name>",<value>]), without padding
//	digest      base64url(SHA-256 of the disclosure's text), without padding
//
// The digests stand in the member _sd of the object, sorted; the name is
// withheld too. The payload is no JWT: it is signed as every payload is.

// DisclosuresType is the media type of a list of disclosures, one a line, as it
// is kept as evidence of the statement.
const DisclosuresType = "application/vnd.stemma.disclosures"

const sdMember = "_sd"

// ErrWithheld says that a field cannot be withheld, or put back.
var ErrWithheld = errors.New("withheld fields")

// Withhold replaces fields of a statement's predicate, such as comment,
// parameters or evidence[0].name, by digests. Salt gives a salt of at least 16
// bytes for each. Only what ties nothing and decides nothing can be withheld:
// what the rule KeepCore drops.
func Withhold(payload []byte, fields []string, salt func() ([]byte, error)) (out []byte, disclosures []string, err error) {
	before, err := Parse(payload)
	if err != nil {
		return nil, nil, err
	}
	var j statementJSON
	if err := json.Unmarshal(payload, &j); err != nil {
		return nil, nil, err
	}
	v := j.Predicate
	for _, f := range fields {
		s, err := salt()
		if err != nil {
			return nil, nil, err
		}
		if len(s) < 16 {
			return nil, nil, fmt.Errorf("%w: a salt is shorter than 16 bytes", ErrWithheld)
		}
		var d string
		if v, d, err = withhold(v, strings.Split(strings.ReplaceAll(f, "[", ".["), "."), base64.RawURLEncoding.EncodeToString(s)); err != nil {
			return nil, nil, fmt.Errorf("%w: %s: %v", ErrWithheld, f, err)
		}
		disclosures = append(disclosures, d)
	}
	j.Predicate = v
	if out, err = json.Marshal(j, json.Deterministic(true)); err != nil {
		return nil, nil, err
	}
	after, err := Parse(out)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: without %s it is no statement any more: %v", ErrWithheld, strings.Join(fields, ", "), err)
	}
	if !sameCore(before, after) {
		return nil, nil, fmt.Errorf("%w: one of %s ties things to one another, or decides something, and cannot be withheld; descriptions, comments, reasons, parameters, environments and attributes can, each as a whole", ErrWithheld, strings.Join(fields, ", "))
	}
	return out, disclosures, nil
}

// sameCore tells whether two statements tie and decide the same.
func sameCore(a, b *Statement) bool {
	h := Hide{Salt: make([]byte, 16)}
	x, err1 := Reduce(a, h)
	y, err2 := Reduce(b, h)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}

func withhold(v jsontext.Value, path []string, salt string) (out jsontext.Value, disclosure string, err error) {
	if name := path[0]; strings.HasPrefix(name, "[") {
		return withholdIn(v, path, salt)
	}
	o := map[string]jsontext.Value{}
	if err := json.Unmarshal(v, &o); err != nil {
		return nil, "", errors.New("it stands in no object")
	}
	name := path[0]
	x, ok := o[name]
	if !ok || name == sdMember {
		return nil, "", fmt.Errorf("there is no field %s", name)
	}
	if len(path) > 1 {
		if o[name], disclosure, err = withhold(x, path[1:], salt); err != nil {
			return nil, "", err
		}
	} else {
		delete(o, name)
		d, err := json.Marshal([]any{salt, name, x}, json.Deterministic(true))
		if err != nil {
			return nil, "", err
		}
		disclosure = base64.RawURLEncoding.EncodeToString(d)
		var sd []string
		if old, ok := o[sdMember]; ok {
			if err := json.Unmarshal(old, &sd); err != nil {
				return nil, "", fmt.Errorf("%s is no list of digests", sdMember)
			}
		}
		sd = append(sd, disclosureDigest(disclosure))
		slices.Sort(sd)
		if o[sdMember], err = json.Marshal(sd); err != nil {
			return nil, "", err
		}
	}
	out, err = json.Marshal(o, json.Deterministic(true))
	return out, disclosure, err
}

func withholdIn(v jsontext.Value, path []string, salt string) (out jsontext.Value, disclosure string, err error) {
	var list []jsontext.Value
	i, err := strconv.Atoi(strings.Trim(path[0], "[]"))
	if err != nil || json.Unmarshal(v, &list) != nil || i < 0 || i >= len(list) || len(path) < 2 {
		return nil, "", fmt.Errorf("%s names no object of a list", path[0])
	}
	if list[i], disclosure, err = withhold(list[i], path[1:], salt); err != nil {
		return nil, "", err
	}
	out, err = json.Marshal(list, json.Deterministic(true))
	return out, disclosure, err
}

func disclosureDigest(d string) string {
	sum := sha256.Sum256([]byte(d))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Reveal puts fields back into a payload, each of which must be one that was
// withheld from it. left is how many stay withheld. What it gives is not what
// was signed: it is what the signature, with the disclosures, shows to have been
// withheld.
func Reveal(payload []byte, disclosures []string) (out []byte, left int, err error) {
	if _, err := Parse(payload); err != nil {
		return nil, 0, err
	}
	var j statementJSON
	if err := json.Unmarshal(payload, &j); err != nil {
		return nil, 0, err
	}
	open := map[string]string{}
	for _, d := range disclosures {
		h := disclosureDigest(d)
		if _, twice := open[h]; twice {
			return nil, 0, fmt.Errorf("%w: a disclosure is given twice", ErrWithheld)
		}
		open[h] = d
	}
	v, left, err := reveal(j.Predicate, open, 0)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %v", ErrWithheld, err)
	}
	if len(open) > 0 {
		return nil, 0, fmt.Errorf("%w: %d disclosures are of nothing that was withheld here", ErrWithheld, len(open))
	}
	j.Predicate = v
	if out, err = json.Marshal(j, json.Deterministic(true)); err != nil {
		return nil, 0, err
	}
	if _, err := Parse(out); err != nil {
		return nil, 0, fmt.Errorf("%w: with them it is no statement: %v", ErrWithheld, err)
	}
	return out, left, nil
}

// maxWithheldDepth bounds how deep fields within fields are looked for.
const maxWithheldDepth = 64

func reveal(v jsontext.Value, open map[string]string, depth int) (jsontext.Value, int, error) {
	if depth > maxWithheldDepth {
		return nil, 0, errors.New("the predicate is too deep")
	}
	left := 0
	switch v.Kind() {
	case '[':
		var list []jsontext.Value
		if err := json.Unmarshal(v, &list); err != nil {
			return nil, 0, err
		}
		for i := range list {
			x, n, err := reveal(list[i], open, depth+1)
			if err != nil {
				return nil, 0, err
			}
			list[i], left = x, left+n
		}
		out, err := json.Marshal(list, json.Deterministic(true))
		return out, left, err
	case '{':
	default:
		return v, 0, nil
	}
	o := map[string]jsontext.Value{}
	if err := json.Unmarshal(v, &o); err != nil {
		return nil, 0, err
	}
	var sd, stay []string
	if x, ok := o[sdMember]; ok && json.Unmarshal(x, &sd) == nil {
		delete(o, sdMember)
	}
	for _, h := range sd {
		d, ok := open[h]
		if !ok {
			stay = append(stay, h)
			continue
		}
		delete(open, h)
		name, value, err := openDisclosure(d)
		if err != nil {
			return nil, 0, err
		}
		if _, there := o[name]; there {
			return nil, 0, fmt.Errorf("the field %s is there, and withheld too", name)
		}
		o[name] = value
	}
	for k := range o {
		x, n, err := reveal(o[k], open, depth+1)
		if err != nil {
			return nil, 0, err
		}
		o[k], left = x, left+n
	}
	if len(stay) > 0 {
		b, err := json.Marshal(stay)
		if err != nil {
			return nil, 0, err
		}
		o[sdMember], left = b, left+len(stay)
	}
	out, err := json.Marshal(o, json.Deterministic(true))
	return out, left, err
}

func openDisclosure(d string) (name string, value jsontext.Value, err error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(d)
	if err != nil {
		return "", nil, fmt.Errorf("a disclosure is not base64url: %v", err)
	}
	var list []jsontext.Value
	if err := json.Unmarshal(b, &list); err != nil || len(list) != 3 {
		return "", nil, errors.New("a disclosure is no list of salt, name and value")
	}
	if err := json.Unmarshal(list[1], &name); err != nil || name == sdMember || name == "..." {
		return "", nil, errors.New("a disclosure has no name that a field may have")
	}
	return name, list[2], nil
}

// DisclosureName gives the name of the field that a disclosure puts back.
func DisclosureName(d string) (string, error) {
	name, _, err := openDisclosure(d)
	return name, err
}

// Withheld counts the fields that are withheld from a statement.
func Withheld(s *Statement) int {
	if !bytes.Contains(s.Raw, []byte(`"`+sdMember+`"`)) {
		return 0
	}
	_, n, err := reveal(s.Raw, map[string]string{}, 0)
	if err != nil {
		return 1 // something is, and how much cannot be told
	}
	return n
}

// AddEvidence gives a payload whose predicate names one more piece of evidence.
func AddEvidence(payload []byte, e Evidence) ([]byte, error) {
	var j statementJSON
	if err := json.Unmarshal(payload, &j); err != nil {
		return nil, err
	}
	o, list := map[string]jsontext.Value{}, []jsontext.Value{}
	if err := json.Unmarshal(j.Predicate, &o); err != nil {
		return nil, err
	}
	if x, ok := o["evidence"]; ok {
		if err := json.Unmarshal(x, &list); err != nil {
			return nil, err
		}
	}
	b, err := json.Marshal(e, json.Deterministic(true))
	if err != nil {
		return nil, err
	}
	if o["evidence"], err = json.Marshal(append(list, b), json.Deterministic(true)); err != nil {
		return nil, err
	}
	if j.Predicate, err = json.Marshal(o, json.Deterministic(true)); err != nil {
		return nil, err
	}
	out, err := json.Marshal(j, json.Deterministic(true))
	if err == nil {
		_, err = Parse(out)
	}
	return out, err
}
