package statement

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

// The law of this file: what the reader of the plain form takes, the JSON
// library takes too, and both read the same.

func samePlain(t *testing.T, payload []byte) (taken bool) {
	t.Helper()
	got, ok := parsePlain(payload)
	if !ok {
		return false
	}
	want, err := parseJSON(payload)
	if err != nil {
		t.Fatalf("only the plain reader takes %q: %v", payload, err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%q\nplain:   %+v\nlibrary: %+v", payload, got, want)
	}
	return true
}

func sameEnvelope(t *testing.T, data []byte) (taken bool) {
	t.Helper()
	got, ok := envelopePlain(data)
	if !ok {
		return false
	}
	want, err := envelopeLibrary(data)
	if err != nil {
		t.Fatalf("only the plain reader takes %q: %v", data, err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%q\nplain:   %+v\nlibrary: %+v", data, got, want)
	}
	return true
}

// fill sets every field that JSON sees to something random.
func fill(r *rand.Rand, v reflect.Value, odd bool) {
	if v.Type() == reflect.TypeFor[Time]() {
		at := time.Unix(1.7e9+int64(r.IntN(1e6)), int64(r.IntN(3))*int64(r.IntN(1e9)))
		v.Set(reflect.ValueOf(NewTime(at)))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if r.IntN(3) > 0 {
				fill(r, v.Field(i), odd)
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(r, v.Elem(), odd)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), r.IntN(3), 3))
		for i := range v.Len() {
			fill(r, v.Index(i), odd)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range r.IntN(3) {
			k := reflect.New(v.Type().Key()).Elem()
			x := reflect.New(v.Type().Elem()).Elem()
			fill(r, k, odd)
			fill(r, x, odd)
			v.SetMapIndex(k, x)
		}
	case reflect.String:
		words := []string{"sha256", RefDigest, "namespace", "model:a@1", "", "é", "x y", "\x7f"}
		if odd {
			words = append(words, "\"", "\\", "\n", "\u2028", "<", "�")
		}
		v.SetString(words[r.IntN(len(words))])
	case reflect.Int64:
		v.SetInt(r.Int64N(1 << (1 + r.IntN(48))))
	default:
		panic(v.Kind().String())
	}
}

func payloadOf(t *testing.T, r *rand.Rand, odd bool) []byte {
	t.Helper()
	var p Predicate = &Activity{}
	if r.IntN(3) == 0 {
		p = &Entity{}
	}
	fill(r, reflect.ValueOf(p).Elem(), odd)
	raw, err := json.Marshal(p, json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	var subjects []Subject
	fill(r, reflect.ValueOf(&subjects).Elem(), odd)
	out, err := json.Marshal(statementJSON{Type, subjects, p.PredicateType(), raw}, json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// damage changes a few bytes, or repeats, moves or leaves out a part.
func damage(r *rand.Rand, data []byte) []byte {
	out := bytes.Clone(data)
	for range 1 + r.IntN(3) {
		at := r.IntN(len(out))
		end := at + r.IntN(min(30, len(out)-at)+1)
		switch r.IntN(5) {
		case 0:
			out[at] = []byte("\"\\{}[],:0 \n\xc3\xa9aZ-_=")[r.IntN(18)]
		case 1:
			out = bytes.Join([][]byte{out[:end], out[at:]}, nil)
		case 2:
			out = bytes.Join([][]byte{out[:at], out[end:]}, nil)
		case 3: // a field twice, or one that is not known
			if i := bytes.IndexByte(out[at:], '{'); i >= 0 {
				parts := []string{`"role":"x",`, `"kind":"x",`, `"size":01,`, `"size":1.0,`, `"ref":null,`, `"Ref":"x",`, `"sha256":"x",`, ` `}
				out = bytes.Join([][]byte{out[:at+i+1], []byte(parts[r.IntN(len(parts))]), out[at+i+1:]}, nil)
			}
		case 4:
			out = append(out, " \n}x"[r.IntN(4)])
		}
		if len(out) == 0 {
			return data
		}
	}
	return out
}

func TestPlainReadsAsTheLibraryDoes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	taken := 0
	for range 3000 {
		data := payloadOf(t, r, false)
		if !samePlain(t, data) {
			t.Fatalf("the plain reader does not take what Format writes: %s", data)
		}
		samePlain(t, payloadOf(t, r, true))
		for range 10 {
			if samePlain(t, damage(r, data)) {
				taken++
			}
		}
	}
	if taken == 0 {
		t.Error("every damaged payload is refused; the damage is too great to find anything")
	}
}

func TestPlainEnvelopeReadsAsTheLibraryDoes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	taken := 0
	for i := range 3000 {
		e := &Envelope{PayloadType: PayloadType, Payload: make([]byte, r.IntN(40))}
		for range r.IntN(3) {
			e.Signatures = append(e.Signatures, Signature{KeyID: fmt.Sprintf("key%d", i), Sig: make([]byte, 1+r.IntN(40))})
		}
		for _, b := range append([]Signature{{Sig: e.Payload}}, e.Signatures...) {
			for i := range b.Sig {
				b.Sig[i] = byte(r.Uint32())
			}
		}
		data, err := FormatEnvelope(e)
		if err != nil {
			t.Fatal(err)
		}
		if !sameEnvelope(t, data) {
			t.Fatalf("the plain reader does not take what FormatEnvelope writes: %s", data)
		}
		if !bytes.Equal(e.PAE(), dsse.PAE(e.PayloadType, e.Payload)) {
			t.Fatalf("PAE of %s is not that of DSSE", data)
		}
		for range 10 {
			if sameEnvelope(t, damage(r, data)) {
				taken++
			}
		}
	}
	if taken == 0 {
		t.Error("every damaged envelope is refused; the damage is too great to find anything")
	}
}

func FuzzPlain(f *testing.F) {
	f.Add([]byte(`{"_type":"` + Type + `","subject":[{"name":"model:a","digest":{"sha256":"00"}}],"predicateType":"` + EntityType + `","predicate":{"state":"owned","at":"2026-01-01T00:00:00Z"}}`))
	f.Add([]byte(`{"_type":"` + Type + `","subject":[],"predicateType":"` + ActivityType + `","predicate":{"kind":"x","id":"y","used":[{"ref":"z"}],"evidence":[{"digest":{},"size":10}]}}`))
	f.Add([]byte(`{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[{"keyid":"k","sig":"AAAA"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		samePlain(t, data)
		sameEnvelope(t, data)
	})
}
