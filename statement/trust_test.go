package statement

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseTrust(t *testing.T) {
	a, b, c := edSigner(t, 1).Public(), sshSignerOf(t, privateOf(2)).Public(), edSigner(t, 3).Public()
	text := "# keys of the team\n\n" +
		"  person:ann@acme.example   ed25519\t" + strings.Fields(a.String())[1] + "\r\n" +
		ben + " " + b.String() + " valid-until=2027-01-01T02:00:00+02:00 valid-from=2026-01-01T00:00:00.5Z # ben@laptop # old\n" +
		ci + " " + c.String() + " valid-from=2026-01-01T00:00:00Z"
	trust, err := ParseTrust([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := ann + " " + a.String() + "\n" +
		ben + " " + b.String() + " valid-from=2026-01-01T00:00:00.5Z valid-until=2027-01-01T00:00:00Z\n" +
		ci + " " + c.String() + " valid-from=2026-01-01T00:00:00Z\n"
	if diff := cmp.Diff(want, string(FormatTrust(trust))); diff != "" {
		t.Errorf("format (-want +got):\n%s", diff)
	}
	if k, ok := trust.Find(b.KeyID()); !ok || k.Principal != ben || !strings.HasPrefix(b.KeyID(), "SHA256:") {
		t.Errorf("finding %s: %v %v", b.KeyID(), k.Principal, ok)
	}
	if _, ok := trust.Find("ed25519:00"); ok {
		t.Error("found a key that is not there")
	}
}

func TestParseTrustRefuses(t *testing.T) {
	a, b := edSigner(t, 1).Public(), sshSignerOf(t, privateOf(2)).Public()
	line := ann + " " + a.String()
	sshOfA := sshSignerOf(t, privateOf(1)).Public()
	for _, c := range []struct {
		name, text string
		line       int
		want       string
	}{
		{"too few fields", "\n# c\n" + ann + " ed25519", 3, "<principal> <key type>"},
		{"no Ref", "ann " + a.String(), 1, "principal"},
		{"not an identity", "model:fraud " + a.String(), 1, "not an identity"},
		{"another spelling", "person:%41nn " + a.String(), 1, `must be written "person:Ann"`},
		{"unknown type", ann + " ssh-dss AAAA", 1, `key type "ssh-dss" is not known`},
		{"no base64", ann + " ed25519 AA?A", 1, "decoding base64"},
		{"short key", ann + " ed25519 AAAA", 1, "this has 3"},
		{"zero key", ann + " ed25519 " + base64.StdEncoding.EncodeToString(make([]byte, 32)), 1, "small order"},
		{"SSH key as raw", ann + " ed25519 " + strings.Fields(b.String())[1], 1, "write ssh-ed25519"},
		{"types differ", ann + " ssh-rsa " + strings.Fields(b.String())[1], 1, "the key is of type ssh-ed25519"},
		{"bytes after SSH key", ann + " ssh-ed25519 " + strings.Fields(b.String())[1] + "AAAA", 1, "the ssh-ed25519 key"},
		{"comment without #", ann + " " + b.String() + " ben@laptop", 1, "a comment begins with #"},
		{"time without zone", line + " valid-from=2026-01-01T00:00:00", 1, "with a zone"},
		{"empty time", line + " valid-from=", 1, "with a zone"},
		{"option twice", line + " valid-from=2026-01-01T00:00:00Z valid-from=2026-01-01T00:00:00Z", 1, "given twice"},
		{"ends before it begins", line + " valid-from=2026-01-01T00:00:00Z valid-until=2026-01-01T00:00:00Z", 1, "not after"},
		{"key twice", line + "\n" + line, 2, "listed already, for " + ann},
		{"key of two principals", line + "\n" + ben + " " + a.String(), 2, "one key belongs to one principal"},
		{"key of two principals in two forms", line + "\n" + ben + " " + sshOfA.String(), 2, "one key belongs to one principal"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseTrust([]byte(c.text))
			var le *LineError
			if !errors.As(err, &le) {
				t.Fatalf("got %v", err)
			}
			if le.Line != c.line || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q, want line %d and %q", err, c.line, c.want)
			}
		})
	}
	if _, err := ParseTrust([]byte("\xff")); err == nil {
		t.Error("text that is not UTF-8 is accepted")
	}
	if _, err := ParseTrust(make([]byte, MaxTrust+1)); err == nil {
		t.Error("a list over the limit is accepted")
	}
}

// Validity begins at valid-from and ends before valid-until.
func TestKeyValidity(t *testing.T) {
	s := edSigner(t, 1)
	from, until := envelopeTime, envelopeTime.Add(time.Hour)
	trust := trustOf(t, TrustedKey{Principal: ann, Public: s.Public(), ValidFrom: from, ValidUntil: until})
	env := signed(t, envelopePayload, s)
	for _, c := range []struct {
		at     time.Time
		status SignatureStatus
		reason string
	}{
		{from.Add(-1), SignatureExpiredKey, "the key is valid only from 2026-06-01T00:00:00Z"},
		{from, SignatureVerified, ""},
		{until.Add(-1), SignatureVerified, ""},
		{until, SignatureExpiredKey, "the key was valid only until 2026-06-01T01:00:00Z"},
		{time.Time{}, SignatureExpiredKey, "the key is valid only from 2026-06-01T00:00:00Z"},
	} {
		v, err := Verify(env, trust, c.at)
		if err != nil {
			t.Fatal(err)
		}
		want := []SignatureResult{{KeyID: s.Public().KeyID(), Principal: ann, Status: c.status, Reason: c.reason}}
		if diff := cmp.Diff(want, v.Signatures); diff != "" {
			t.Errorf("at %s (-want +got):\n%s", c.at, diff)
		}
		if yes := c.status == SignatureVerified; v.Verified() != yes || (len(v.Principals()) == 1) != yes {
			t.Errorf("at %s: verified %v, principals %v", c.at, v.Verified(), v.Principals())
		}
	}
}

// A key listed in one form does not vouch for signatures of the other form.
func TestFormsOfOneKeyDoNotMix(t *testing.T) {
	raw, byssh := edSigner(t, 1), sshSignerOf(t, privateOf(1))
	if !raw.Public().Same(byssh.Public()) {
		t.Error("two forms of one key are not the same")
	}
	for _, c := range []struct{ listed, signer Signer }{{raw, byssh}, {byssh, raw}} {
		v, err := Verify(signed(t, envelopePayload, c.signer), trustOf(t, TrustedKey{Principal: ann, Public: c.listed.Public()}), envelopeTime)
		if err != nil || v.Verified() || statuses(v) != "unknown-key" {
			t.Errorf("listed as %s: %+v, %v", c.listed.Public().Kind(), v.Signatures, err)
		}
	}
}

func FuzzParseTrust(f *testing.F) {
	a, b := edSigner(f, 1).Public(), sshSignerOf(f, privateOf(2)).Public()
	f.Add([]byte(ann + " " + a.String() + " valid-from=2026-01-01T00:00:00Z # x\n" + ben + " " + b.String() + "\n"))
	f.Add([]byte("# only a comment\r\n\n"))
	f.Add([]byte(ann + " sk-ssh-ed25519@openssh.com AAAA valid-until=2026-01-01T00:00:00+14:00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		trust, err := ParseTrust(text)
		if err != nil {
			return
		}
		formatted := FormatTrust(trust)
		again, err := ParseTrust(formatted)
		if err != nil {
			t.Fatalf("parsing what was formatted: %v\n%s", err, formatted)
		}
		if diff := cmp.Diff(string(formatted), string(FormatTrust(again))); diff != "" {
			t.Fatalf("format of parse (-first +second):\n%s", diff)
		}
	})
}

// BenchmarkEnvelope measures what recording costs for each statement; verify
// and the bare verification are one pair, whose ratio is the overhead.
func BenchmarkEnvelope(b *testing.B) {
	s := edSigner(b, 1)
	keys := []TrustedKey{{Principal: ann, Public: s.Public()}}
	for i := range 99 {
		keys = append(keys, TrustedKey{Principal: fmt.Sprintf("sa:ci/%d", i), Public: edSigner(b, byte(i+2)).Public()})
	}
	trust := trustOf(b, keys...)
	payload := envelopePayload + strings.Repeat(" ", 1024-len(envelopePayload))
	env := signed(b, payload, s)
	e, err := ParseEnvelope(env)
	if err != nil {
		b.Fatal(err)
	}
	pae, public := e.PAE(), privateOf(1).Public().(ed25519.PublicKey)
	ssh := signed(b, payload, sshSignerOf(b, privateOf(2)))
	sshTrust := trustOf(b, TrustedKey{Principal: ben, Public: sshSignerOf(b, privateOf(2)).Public()})
	run := func(name string, f func() bool) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !f() {
					b.Fatal("failed")
				}
			}
		})
	}
	run("parse", func() bool { _, err := ParseEnvelope(env); return err == nil })
	run("sign", func() bool { _, err := Sign(context.Background(), []byte(payload), s); return err == nil })
	run("verify", func() bool { v, err := Verify(env, trust, envelopeTime); return err == nil && v.Verified() })
	run("verify-bare-ed25519", func() bool { return ed25519.Verify(public, pae, e.Signatures[0].Sig) })
	run("verify-sshsig", func() bool { v, err := Verify(ssh, sshTrust, envelopeTime); return err == nil && v.Verified() })
}
