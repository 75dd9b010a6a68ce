// Package aws makes statements out of what Amazon Web Services tells of
// identities: `aws iam get-account-authorization-details`, the credential
// report, lists of access keys, and CloudTrail records.
//
// What maps to what, what is kept in the evidence only and what is refused is
// in docs/format-aws.md.
package aws

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"iter"
	"regexp"
	"slices"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/inventory"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
)

// The classes of refusals beside those of rawjson and inventory.
const (
	NotAWS     = "not-an-aws-document"
	FailedCall = "failed-call"
	OtherEvent = "other-event"
	NoAccount  = "missing-account"
	BadReport  = "malformed-report"
	BadGzip    = "malformed-gzip"
)

// Importer reads inventories and records of AWS.
type Importer struct{ Options inventory.Options }

// Name gives "aws".
func (Importer) Name() string { return "aws" }

// Version gives the version of the mapping.
func (Importer) Version() string { return "2" }

const reportHead = "user,arn,user_creation_time,"

var trailFile = regexp.MustCompile(`_CloudTrail(-Insight|-Digest)?_[a-z0-9-]+_[0-9]{8}T[0-9]{4}Z_`)

// Recognise tells whether the file is one of AWS's.
func (Importer) Recognise(h *importer.Head) bool {
	switch {
	case h.Members == nil:
		return bytes.HasPrefix(bytes.TrimPrefix(h.Bytes, []byte("\xef\xbb\xbf")), []byte(reportHead)) ||
			bytes.HasPrefix(h.Bytes, []byte("\x1f\x8b")) && trailFile.MatchString(h.Base())
	case h.Has("UserDetailList"), h.Has("RoleDetailList"), h.Has("GroupDetailList"), h.Has("AccessKeyMetadata"), h.Has("eventVersion", "userIdentity", "eventSource"):
		return true
	case h.Members["Records"] == "[":
		return bytes.Contains(h.Bytes, []byte(`"eventVersion"`)) || trailFile.MatchString(h.Base())
	case h.Members["Events"] == "[":
		return bytes.Contains(h.Bytes, []byte(`"CloudTrailEvent"`))
	}
	return h.Has("Content", "ReportFormat", "GeneratedTime")
}

var keyID = regexp.MustCompile(`^(AKIA|ASIA)[A-Z0-9]{12,124}$`)

// Rules say what in a document is a secret. The identifier of an access key is
// none.
var Rules = rawjson.Rules{
	Dropped: func(key []byte) bool {
		return slices.Contains([]string{"userData", "secretString", "secretBinary", "SecretString", "SecretBinary", "SecretAccessKey", "SessionToken",
			"sAMLAssertion", "SAMLAssertion", "samlAssertion", "webIdentityToken", "tokenCode", "plaintext", "SAMLAssertionContent", "newPassword", "oldPassword", "masterUserPassword"}, string(key))
	},
	Wholly: func(key []byte) ([]string, bool) {
		return nil, string(key) == "environment" || string(key) == "environmentVariables"
	},
	Public: func(key []byte, text string) bool {
		return (string(key) == "accessKeyId" || string(key) == "AccessKeyId") && keyID.MatchString(text)
	},
}

// Read yields an Item for each inventory, report or record of the source.
func (im Importer) Read(s importer.Source) iter.Seq2[importer.Item, error] {
	return func(yield func(importer.Item, error) bool) {
		b := bufio.NewReaderSize(s.R, 4096)
		head, _ := b.Peek(64)
		s.R = b
		head = bytes.TrimPrefix(head, []byte("\xef\xbb\xbf"))
		items := im.values(s)
		switch {
		case bytes.HasPrefix(head, []byte("\x1f\x8b")):
			z, err := gzip.NewReader(b)
			if err != nil {
				yield(importer.Item{Place: "line 1", Refusal: &importer.Refusal{Reason: BadGzip, Detail: fmt.Sprintf("the compressed file is damaged: %v; fetch it again", err)}}, nil)
				return
			}
			s.R = &unpacked{r: z, left: 8 * im.Options.Limit()}
			items = im.values(s)
		case bytes.HasPrefix(head, []byte(reportHead)):
			items = im.report(s)
		}
		for it, err := range items {
			if !yield(it, err) {
				return
			}
		}
	}
}

// unpacked reads a compressed file to its end or limit. Damage ends it: what
// came before is whole or is refused as cut off.
type unpacked struct {
	r    io.Reader
	left int64
}

func (u *unpacked) Read(p []byte) (int, error) {
	if u.left <= 0 {
		return 0, io.EOF
	}
	n, err := u.r.Read(p[:min(int64(len(p)), u.left)])
	u.left -= int64(n)
	if err != nil {
		err = io.EOF
	}
	return n, err
}

// values reads JSON. The records of a CloudTrail file are units of their own.
func (im Importer) values(s importer.Source) iter.Seq2[importer.Item, error] {
	return inventory.Values(im, s, im.Options, func(u inventory.Unit) iter.Seq[importer.Item] {
		return func(yield func(importer.Item) bool) {
			n := rawjson.Parse(u.Raw).Root()
			list := n.Get("Records")
			if list.Kind() != '[' {
				list = n.Get("Events")
			}
			switch {
			case list.Kind() == '[':
				im.records(u, list, yield)
			case n.Get("Content").Kind() == '"' && n.Get("ReportFormat").Given():
				yield(im.encoded(u, n.Get("Content").Text()))
			default:
				yield(inventory.Finish(im, u, Rules, im.say))
			}
		}
	})
}

// records yields the records of a list.
func (im Importer) records(u inventory.Unit, list rawjson.Node, yield func(importer.Item) bool) {
	i, at := 0, 0
	for r := range list.All() {
		raw := r.Raw()
		if k := bytes.Index(u.Raw[at:], raw); k >= 0 {
			at += k
		}
		x := inventory.Unit{Place: fmt.Sprintf("%s [%d]", u.Place, i), Offset: u.Offset + int64(at), Bytes: int64(len(raw)), Raw: raw}
		if text := r.Get("CloudTrailEvent"); text.Kind() == '"' {
			if x.Raw = inventory.Embedded(text.Text()).Raw(); x.Raw == nil {
				x.Raw = []byte("{}")
			}
		}
		at += len(raw)
		i++
		if !yield(inventory.Finish(im, x, Rules, im.say)) {
			return
		}
	}
	if i == 0 {
		yield(importer.Item{Place: u.Place, Offset: u.Offset, Bytes: u.Bytes, Refusal: &importer.Refusal{Reason: inventory.NothingToRecord, Detail: "the file holds no record"}})
	}
}

// encoded reads the answer of get-credential-report, which holds the report in
// base64.
func (im Importer) encoded(u inventory.Unit, text string) importer.Item {
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return importer.Item{Place: u.Place, Offset: u.Offset, Bytes: u.Bytes, Refusal: &importer.Refusal{Reason: BadReport, Detail: "Content is not base64; give the answer of aws iam get-credential-report as it is"}}
	}
	it := im.reportItem(data)
	it.Place, it.Offset, it.Bytes = u.Place, u.Offset, u.Bytes
	return it
}

func (im Importer) say(n rawjson.Node, s *inventory.Statements) {
	switch {
	case n.Get("eventSource").Given() && n.Get("eventName").Given():
		(&record{s: s, n: n}).say()
	case n.Get("UserDetailList").Given() || n.Get("RoleDetailList").Given() || n.Get("GroupDetailList").Given():
		(&details{s: s, o: im.Options}).say(n)
	case n.Get("AccessKeyMetadata").Given():
		keys(n, s)
	case strings.Contains(string(n.Get("digestS3Object").Raw()), "Digest"):
		s.Refuse("trust-material", "it is a digest of CloudTrail files; nothing is recorded of it")
	default:
		s.Refuse(NotAWS, "it is neither account authorization details, nor a list of access keys, nor a CloudTrail record; give one of these")
	}
}
