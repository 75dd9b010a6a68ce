package statement

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Entry is the content of one position of the log: an envelope with the time
// and the principal of its recording. Its bytes are stored exactly as
// [FormatEntry] wrote them and are never written anew.
//
// The bytes are one JSON object on one line, fields in this order, no white
// space, no newline at the end:
//
//	{"recordedAt":"<RFC 3339, UTC, nanoseconds>","recordedBy":"<ref>","envelope":<DSSE envelope, compact JSON>}
type Entry struct {
	// RecordedAt is the recorder's clock at sequencing. It never decreases
	// from one entry of a log to the next.
	RecordedAt time.Time
	// RecordedBy is the principal that appended the entry, as a Ref in text.
	RecordedBy string
	// Envelope is the DSSE envelope as it was signed.
	Envelope []byte
}

// TimeFormat is the one format of recorded times: RFC 3339 in UTC with nine
// digits of fraction, so that equal times have equal bytes.
const TimeFormat = "2006-01-02T15:04:05.000000000Z"

// FormatEntry gives the bytes of an entry. Envelope must be compact JSON.
func FormatEntry(e Entry) ([]byte, error) {
	if n := len(e.Envelope); n < 2 || e.Envelope[0] != '{' || e.Envelope[n-1] != '}' {
		return nil, errors.New("formatting entry: the envelope is not a JSON object")
	}
	b := make([]byte, 0, len(e.Envelope)+len(e.RecordedBy)+100)
	b = append(b, `{"recordedAt":"`...)
	b = e.RecordedAt.UTC().AppendFormat(b, TimeFormat)
	b = append(b, `","recordedBy":`...)
	if plainText(e.RecordedBy) {
		b = append(append(append(b, '"'), e.RecordedBy...), '"')
	} else {
		by, err := json.Marshal(e.RecordedBy)
		if err != nil {
			return nil, fmt.Errorf("formatting entry: %w", err)
		}
		b = append(b, by...)
	}
	b = append(b, `,"envelope":`...)
	return append(append(b, e.Envelope...), '}'), nil
}

// plainText tells whether JSON writes s as it stands, between quotes.
func plainText(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ', c >= 0x7f, c == '"', c == '\\', c == '<', c == '>', c == '&':
			return false
		}
	}
	return true
}

// ParseEntry reads the bytes of an entry. It takes what FormatEntry wrote and
// nothing else: the bytes of an entry have one form. That the envelope is good
// JSON is for ParseEnvelope to say.
func ParseEntry(content []byte) (Entry, error) {
	const open, by, env = `{"recordedAt":"`, `","recordedBy":`, `,"envelope":`
	at, rest, ok1 := bytes.Cut(bytes.TrimPrefix(content, []byte(open)), []byte(by))
	// No quote stands within a JSON string, so this is the field's own.
	principal, envelope, ok2 := bytes.Cut(rest, []byte(env))
	if !ok1 || !ok2 || len(envelope) < 2 {
		return Entry{}, errors.New("parsing entry: it has not the form recordedAt, recordedBy, envelope")
	}
	e := Entry{Envelope: envelope[:len(envelope)-1]}
	var err error
	if e.RecordedAt, err = time.Parse(TimeFormat, string(at)); err != nil {
		return Entry{}, fmt.Errorf("parsing entry: recordedAt: %w", err)
	}
	if n := len(principal); n >= 2 && plainText(string(principal[1:n-1])) {
		e.RecordedBy = string(principal[1 : n-1]) // the quotes are checked below
	} else if err := json.Unmarshal(principal, &e.RecordedBy); err != nil {
		return Entry{}, fmt.Errorf("parsing entry: recordedBy: %w", err)
	}
	again, err := FormatEntry(e)
	if err != nil || !bytes.Equal(again, content) {
		return Entry{}, errors.New("parsing entry: its bytes are not in the one form that an entry has")
	}
	return e, nil
}

// LeafVersion is the first line of every leaf.
const LeafVersion = "stemma-entry/v1"

// Leaf gives the leaf data of an entry's content: a version line and the
// SHA-256 of the content in hexadecimal, each ended by a newline. The log's
// Merkle leaf hash is RFC 6962 section 2.1 over these bytes. A leaf is a
// commitment: it names nothing, so tiles may be published and content erased.
func Leaf(content []byte) []byte {
	sum := sha256.Sum256(content)
	return []byte(LeafVersion + "\n" + hex.EncodeToString(sum[:]) + "\n")
}

// EnvelopeDigest is the identity of an envelope for retries: the same
// envelope is appended once.
func EnvelopeDigest(envelope []byte) [32]byte { return sha256.Sum256(envelope) }
