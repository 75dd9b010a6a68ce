package aws

import (
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/inventory"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// report reads a credential report as it was downloaded.
func (im Importer) report(s importer.Source) iter.Seq2[importer.Item, error] {
	return func(yield func(importer.Item, error) bool) {
		data, refusal, err := inventory.All(s.R, im.Options.Limit())
		switch {
		case err != nil:
			yield(importer.Item{}, fmt.Errorf("reading aws: %w", err))
		case refusal != nil:
			yield(importer.Item{Place: "line 1", Refusal: refusal}, nil)
		default:
			yield(im.reportItem(data), nil)
		}
	}
}

func (im Importer) reportItem(data []byte) importer.Item {
	it := importer.Item{Place: "line 1", Bytes: int64(len(data)), Original: sha256.Sum256(data)}
	clean := []byte(rawjson.Secrets(string(data)))
	ev := importer.NewEvidence(im, "text/csv", sha256.Sum256(clean), len(clean))
	ev.Verified = &statement.EvidenceCheck{Result: statement.CheckUnsigned}
	if !bytes.Equal(clean, data) {
		ev.Redacted = []string{"text of the file"}
	}
	s := &inventory.Statements{}
	(&credentials{s: s, o: im.Options}).say(clean)
	return inventory.Close(it, clean, ev, s)
}

type credentials struct {
	s    *inventory.Statements
	o    inventory.Options
	head []string
}

type row struct {
	of  *credentials
	row []string
}

func (r row) get(column string) string {
	if i := slices.Index(r.of.head, column); i >= 0 && i < len(r.row) {
		return r.row[i]
	}
	return ""
}

// said tells whether a cell says something: N/A, no_information and
// not_supported do not.
func said(v string) bool {
	return v != "" && v != "N/A" && v != "no_information" && v != "not_supported"
}

func (c *credentials) say(data []byte) {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))))
	r.FieldsPerRecord = -1
	head, err := r.Read()
	if err != nil || !slices.Contains(head, "arn") {
		c.s.Refuse(BadReport, "the first line does not name the columns user and arn; give the report as IAM writes it")
		return
	}
	c.head = slices.Clone(head)
	var rows []row
	account := ""
	for {
		rec, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			c.s.Note("%s; the rest of the report is left out, and the report closes nothing", err)
			c.o.Event = true
			break
		}
		line, _ := r.FieldPos(0)
		if len(rec) != len(c.head) {
			c.s.Note("line %d is no row of %d columns; it is left out, and the report closes nothing", line, len(c.head))
			c.o.Event = true
			continue
		}
		x := row{c, rec}
		a, ok := parseARN(x.get("arn"))
		if !ok {
			c.s.Note("line %d has no ARN; it is left out, and the report closes nothing", line)
			c.o.Event = true
			continue
		}
		account = a.account
		rows = append(rows, x)
	}
	for _, x := range rows {
		c.row(x, account)
	}
}

func (c *credentials) row(x row, account string) {
	at := x.get("arn")
	a, _ := parseARN(at)
	name := last(a.resource)
	it := c.s.Snapshot(c.o, inventory.Name(prov.Resource, "aws", account, "credential-report").Name).Item(user(a.account, name))
	it.CreatedAt = c.time(at, x.get("user_creation_time"))
	inventory.Set(&it.Attributes, "arn", at)
	inventory.Set(&it.Attributes, "mfa", x.get("mfa_active"))
	if v := x.get("password_enabled"); v == "true" || v == "not_supported" {
		p := statement.CredentialItem{Ref: password(a.account, name), Kind: "password", LastUsedAt: c.time(at, x.get("password_last_used")),
			RotatedAt: c.time(at, x.get("password_last_changed"))}
		if v == "true" {
			p.State = "active"
		}
		c.unused(&p, x.get("password_last_used"))
		if next := x.get("password_next_rotation"); said(next) {
			inventory.Set(&p.Attributes, "nextRotation", next)
		}
		it.Credentials = append(it.Credentials, p)
	}
	for i := 1; i <= 2; i++ {
		c.key(it, x, a.account, name, strconv.Itoa(i))
	}
}

// key takes the n-th access key and certificate of a user. The report does not
// tell their identifiers.
func (c *credentials) key(it *statement.IdentityItem, x row, account, name, n string) {
	k := "access_key_" + n + "_"
	if active := x.get(k + "active"); active == "true" || said(x.get(k+"last_rotated")) {
		cr := statement.CredentialItem{Ref: inventory.Text(prov.Credential, "aws", account, name, "access-key-"+n), Kind: "access-key", State: enabled(active),
			RotatedAt: c.time(it.Ref, x.get(k+"last_rotated")), LastUsedAt: c.time(it.Ref, x.get(k+"last_used_date"))}
		c.unused(&cr, x.get(k+"last_used_date"))
		for _, col := range []string{"region", "service"} {
			if v := x.get(k + "last_used_" + col); said(v) {
				inventory.Set(&cr.Attributes, "lastUsed."+col, v)
			}
		}
		it.Credentials = append(it.Credentials, cr)
	}
	k = "cert_" + n + "_"
	if active := x.get(k + "active"); active == "true" || said(x.get(k+"last_rotated")) {
		it.Credentials = append(it.Credentials, statement.CredentialItem{Ref: inventory.Text(prov.Credential, "aws", account, name, "certificate-"+n),
			Kind: "certificate", State: enabled(active), RotatedAt: c.time(it.Ref, x.get(k+"last_rotated"))})
	}
}

// unused keeps what the report says in the place of a last use.
func (c *credentials) unused(cr *statement.CredentialItem, v string) {
	if v == "N/A" {
		inventory.Set(&cr.Attributes, "lastUsed", "never, or before it was tracked")
	} else if v == "no_information" {
		inventory.Set(&cr.Attributes, "lastUsed", "unknown")
	}
}

func (c *credentials) time(where, v string) statement.Time {
	if !said(v) {
		return statement.Time{}
	}
	return c.s.Time(where, v)
}

func enabled(v string) string {
	switch v {
	case "true":
		return "active"
	case "false":
		return "inactive"
	}
	return ""
}

func password(account, name string) string {
	return inventory.Text(prov.Credential, "aws", account, name, "password")
}
