package rawjson

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
)

// describe gives one line for each value: its place and bytes, or its fault.
func describe(t testing.TB, r io.Reader, max int64) string {
	t.Helper()
	var b strings.Builder
	for v, err := range Split(r, max) {
		if err != nil {
			fmt.Fprintf(&b, "error %v\n", err)
			continue
		}
		if v.Fault != nil {
			fmt.Fprintf(&b, "%s @%d+%d %s: %s\n", v.Place, v.Offset, v.Size, v.Fault.Reason, v.Fault.Detail)
			continue
		}
		fmt.Fprintf(&b, "%s @%d %s\n", v.Place, v.Offset, v.Bytes)
	}
	return b.String()
}

func TestSplit(t *testing.T) {
	const long = "0123456789012345678901234567890123456789"
	for _, c := range []struct {
		name, in string
		want     []string
	}{
		{"empty", "", []string{"line 1 @0+0 empty: there is no JSON in the input; give a file that holds some"}},
		{"white space", "\ufeff \n\t\n", []string{"line 1 @0+0 empty: there is no JSON in the input; give a file that holds some"}},
		{"one document", "\ufeff\n {\n \"a\": [1, -2.5e+3, true, null, \"\\u00e9\"]\n}\n", []string{"line 2 @5 {\n \"a\": [1, -2.5e+3, true, null, \"\\u00e9\"]\n}"}},
		{"lines", "{\"a\":1}\n{\"b\":2}\r\n\n{\"c\":3}", []string{`line 1 @0 {"a":1}`, `line 2 @8 {"b":2}`, `line 4 @18 {"c":3}`}},
		{"record separators", "\x1e{\"a\":1}\n\x1e{\"b\":2}\n", []string{`line 1 @1 {"a":1}`, `line 2 @10 {"b":2}`}},
		{"one after another", `{"a":1}{"b":2} {"c":3}`, []string{`line 1 @0 {"a":1}`, `line 1 @7 {"b":2}`, `line 1 @15 {"c":3}`}},
		{"array", "[ {\"a\":1},\n2, \"x\" ]\n", []string{`[0] @2 {"a":1}`, `[1] @11 2`, `[2] @14 "x"`}},
		{"empty array", "[]", nil},
		{"two arrays", "[{\"a\":1}]\n[{\"b\":2},{}]", []string{`[0] @1 {"a":1}`, `line 2 [0] @11 {"b":2}`, `line 2 [1] @19 {}`}},
		{"array, then a line", "[1]{\"a\":1}", []string{`[0] @1 1`, `line 1 @3 {"a":1}`}},
		{"broken line", "{\"a\":1}\n{\"b\":oops}\ngarbage\n{\"c\":3}\n", []string{`line 1 @0 {"a":1}`,
			"line 2 @8+11 malformed-json: line 2, column 6 (byte 13): found 'o' where a value must stand; bytes 8 to 19 were not read",
			"line 3 @19+8 malformed-json: line 3, column 1 (byte 19): found 'g' where an object '{' or an array '[' must begin; bytes 19 to 27 were not read",
			`line 4 @27 {"c":3}`}},
		{"broken line after spaces", "{\"a\":1} \n{\"b\":oops}\n[3]\n", []string{`line 1 @0 {"a":1}`,
			"line 2 @9+11 malformed-json: line 2, column 6 (byte 14): found 'o' where a value must stand; bytes 9 to 20 were not read", `line 3 [0] @21 3`}},
		{"broken first line", "{\"a\":oops}\n{\"b\":2}\n", []string{
			"line 1 @0+11 malformed-json: line 1, column 6 (byte 5): found 'o' where a value must stand; bytes 0 to 11 were not read", `line 2 @11 {"b":2}`}},
		{"line cut off", "{\"a\":1}\n{\"b\":[\n{\"c\":3}\n", []string{`line 1 @0 {"a":1}`,
			"line 2 @8+7 truncated-json: line 2 ends in the middle of its object; fetch it again if it was cut off", `line 3 @15 {"c":3}`}},
		{"line cut off in a string", "{\"a\":1}\n{\"b\":\"x\n{\"c\":3}\n", []string{`line 1 @0 {"a":1}`,
			"line 2 @8+8 malformed-json: line 2, column 8 (byte 15): found the end of the line where the end of the string (control characters must be escaped) must stand; bytes 8 to 16 were not read", `line 3 @16 {"c":3}`}},
		{"lines, then a document", "{\"a\":1}\n{\n \"b\": [\n  {}]}\n{\"c\":3}", []string{`line 1 @0 {"a":1}`, "line 2 @8 {\n \"b\": [\n  {}]}", `line 5 @25 {"c":3}`}},
		{"documents, one broken", "{\n \"a\": 1\n}\n{\n \"b\": oops\n}\n{\n \"c\": 3\n}\n", []string{"line 1 @0 {\n \"a\": 1\n}",
			"line 4 @12+15 malformed-json: line 5, column 7 (byte 20): found 'o' where a value must stand; bytes 12 to 27 were not read", "line 7 @27 {\n \"c\": 3\n}"}},
		{"broken element", `[{"a":1},{"b":{"c":oops,"d":"]"}},{"e":2}]`, []string{`[0] @1 {"a":1}`,
			"[1] @9+24 malformed-json: line 1, column 20 (byte 19): found 'o' where a value must stand", `[2] @34 {"e":2}`}},
		{"bad escape in an element", `[{"a":"\x}"},{"e":2}]`, []string{
			"[0] @1+11 malformed-json: line 1, column 9 (byte 8): found 'x' where one of \"\\/bfnrtu after a backslash must stand", `[1] @13 {"e":2}`}},
		{"brackets that do not match", `[{"a":1},{"b":[}},{"c":3}]`, []string{`[0] @1 {"a":1}`,
			"[1] @9+17 malformed-json: line 1, column 16 (byte 15): found '}' where a value must stand; bytes 9 to 26, the end of the input, were not read; the rest of the array that begins at line 1, column 1 (byte 0) is part of that"}},
		{"no comma", `[{"a":1} {"b":2},{"c":3}]`, []string{`[0] @1 {"a":1}`,
			"[1] @9+7 malformed-json: line 1, column 10 (byte 9): found '{' where a comma or the end of the array must stand", `[2] @17 {"c":3}`}},
		{"comma at the end", `[{"a":1},]`, []string{`[0] @1 {"a":1}`,
			"[1] @9+1 malformed-json: line 1, column 10 (byte 9): a comma stands before the end of the array; leave it out"}},
		{"array not ended", "[{\"a\":1},\n", []string{`[0] @1 {"a":1}`,
			"[1] @10+0 truncated-json: line 2, column 1 (byte 10): the input ends inside the array that begins at line 1, column 1 (byte 0); what came before was read. Fetch the file again if it was cut off"}},
		{"array not ended, no comma", `[{"a":1}`, []string{`[0] @1 {"a":1}`,
			"[1] @8+0 truncated-json: line 1, column 9 (byte 8): the input ends inside the array that begins at line 1, column 1 (byte 0); what came before was read. Fetch the file again if it was cut off"}},
		{"document cut off", `{"a":`, []string{"line 1 @0+5 truncated-json: line 1, column 6 (byte 5): the input ends where a value must stand. Fetch the file again if it was cut off"}},
		{"element cut off", `[{"a":`, []string{"[0] @1+5 truncated-json: line 1, column 7 (byte 6): the input ends where a value must stand. Fetch the file again if it was cut off; the rest of the array that begins at line 1, column 1 (byte 0) is part of that"}},
		{"NUL bytes", "{\"a\":\"\x00\"}\n\x00{\"b\":2}\n{\"c\":3}", []string{
			"line 1 @0+19 malformed-json: line 1, column 7 (byte 6): found byte 0x00 where the end of the string (control characters must be escaped) must stand; bytes 0 to 19 were not read", `line 3 @19 {"c":3}`}},
		{"not UTF-8", "{\"a\":\"\xff\"}\n{\"b\":2}", []string{"line 1 @0+9 malformed-json: byte 6 is not UTF-8; convert the input to UTF-8", `line 2 @10 {"b":2}`}},
		{"gzip", "\x1f\x8b\x08\x00", []string{"line 1 @0+4 not-json: the input is compressed or not UTF-8 text; unpack or convert it first; bytes 0 to 4, the end of the input, were not read"}},
		{"UTF-16", "\xff\xfe{\x00", []string{"line 1 @0+4 not-json: the input is compressed or not UTF-8 text; unpack or convert it first; bytes 0 to 4, the end of the input, were not read"}},
		{"too large", `{"a":"` + long + `"}` + "\n{\"b\":2}\n[\"" + long + `",3]`, []string{
			"line 1 @0+48 too-large: 48 bytes; the limit is 30. Raise the limit, or have the producer leave large facets out", `line 2 @49 {"b":2}`,
			"line 3 [0] @58+42 too-large: 42 bytes; the limit is 30. Raise the limit, or have the producer leave large facets out", `line 3 [1] @101 3`}},
		{"leading zero", `{"a":01}`, []string{"line 1 @0+8 malformed-json: line 1, column 7 (byte 6): found '1' where ',' or '}' must stand; bytes 0 to 8, the end of the input, were not read"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := strings.Join(c.want, "\n")
			if want != "" {
				want += "\n"
			}
			if diff := cmp.Diff(want, describe(t, strings.NewReader(c.in), 30+20*b2i(c.name != "too large"))); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(want, describe(t, iotest.OneByteReader(strings.NewReader(c.in)), 30+20*b2i(c.name != "too large"))); diff != "" {
				t.Errorf("byte by byte (-want +got)\n%s", diff)
			}
		})
	}
}

func b2i(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func TestSplitDepth(t *testing.T) {
	deep := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	got := describe(t, strings.NewReader(deep(MaxDepth)+"\n"+deep(100_000)+"\n["+deep(100_000)+",2]"), 10<<20)
	lines := strings.Split(strings.TrimSpace(got), "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[0], `line 1 @0 {"a":`) || !strings.Contains(lines[1], "too-deep") ||
		!strings.Contains(lines[2], "too-deep") || lines[3] != "line 3 [1] @1203079 2" {
		t.Errorf("got %.300q", lines)
	}
}

// TestSplitFailure: a failing reader ends the sequence with its error, after
// what was whole.
func TestSplitFailure(t *testing.T) {
	broken := errors.New("disk on fire")
	for _, in := range []string{"{\"a\":1}\n{\"b\"", "[{\"a\":1},", "[{\"a\":1},{\"b\"", "{\"a\":1}\n"} {
		var errs, values, faults int
		for v, err := range Split(io.MultiReader(strings.NewReader(in), iotest.ErrReader(broken)), 100) {
			switch {
			case errors.Is(err, broken):
				errs++
			case err != nil || errs > 0:
				t.Errorf("%q: %v after %d errors", in, err, errs)
			case v.Fault != nil:
				faults++
			default:
				values++
			}
		}
		if errs != 1 || values != 1 || faults != 0 {
			t.Errorf("%q: %d errors, %d values, %d faults", in, errs, values, faults)
		}
	}
}

// repeat reads n bytes of c.
type repeat struct {
	n int64
	c byte
}

func (r *repeat) Read(p []byte) (int, error) {
	if r.n == 0 {
		return 0, io.EOF
	}
	n := int(min(r.n, int64(len(p))))
	for i := range n {
		p[i] = r.c
	}
	r.n -= int64(n)
	return n, nil
}

// TestSplitBounded passes values of 200 MB by while holding no more than the
// limit and one buffer.
func TestSplitBounded(t *testing.T) {
	const size, limit = 200 << 20, 1 << 20
	for _, c := range []struct {
		name, before, after string
		c                   byte
	}{
		{"line", `{"a":"`, "\"}\n{\"b\":2}\n", 'x'},
		{"garbage line", "{\"z\":1}\n", "\n{\"b\":2}\n", 'x'},
		{"element", `[{"a":"`, "\"},{\"b\":2}]", 'x'},
		{"white space in a document", `{"a":`, "1}\n{\"b\":2}\n", ' '},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &splitter{r: io.MultiReader(strings.NewReader(c.before), &repeat{size, c.c}, strings.NewReader(c.after)),
				buf: make([]byte, 64<<10), line: 1, max: limit, mark: -1}
			most, faults, last := 0, 0, ""
			probe := s.r
			s.r = readerFunc(func(p []byte) (int, error) {
				most = max(most, cap(s.kept))
				return probe.Read(p)
			})
			s.run(func(v Value, err error) bool {
				if err != nil {
					t.Fatal(err)
				}
				if v.Fault != nil {
					faults++
					if v.Size < size {
						t.Errorf("the fault covers %d bytes", v.Size)
					}
				}
				last = string(v.Bytes)
				return true
			})
			if faults != 1 || last != `{"b":2}` || most > 2*limit+len(s.buf) {
				t.Errorf("%d faults, last value %q, %d bytes held", faults, last, most)
			}
		})
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// FuzzSplit: what Split yields is JSON, lies where it says, and is the same
// however the bytes arrive; a valid document is never refused.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{"", "[{},[]]", "{\"a\":1}\n{\"b\":2}\n", "[{\"a\":1},{\"b\":oops}]", "{\"a\":[\n{\"b\":2}", "\ufeff{\"\\ud800\":-0.1e5}", "[1 2", "{\"a\":\"\\", "[{]"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			t.Skip()
		}
		n, faults, at := 0, 0, int64(0)
		for v, err := range Split(bytes.NewReader(data), 1<<12) {
			if err != nil {
				t.Fatal(err)
			}
			n++
			if v.Offset < at || v.Offset+v.Size > int64(len(data)) {
				t.Fatalf("%+v lies outside or before byte %d", v, at)
			}
			at = v.Offset + v.Size
			if v.Fault != nil {
				faults++
				continue
			}
			if !bytes.Equal(v.Bytes, data[v.Offset:at]) {
				t.Fatalf("%q is not what stands at %d", v.Bytes, v.Offset)
			}
			if !jsontext.Value(v.Bytes).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) {
				t.Fatalf("%q is no JSON", v.Bytes)
			}
			checkDoc(t, Parse(v.Bytes))
		}
		if one := describe(t, bytes.NewReader(data), 1<<12); one != describe(t, iotest.OneByteReader(bytes.NewReader(data)), 1<<12) {
			t.Fatalf("byte by byte differs from\n%s", one)
		}
		first := bytes.TrimLeft(data, " \t\r\n")
		if len(first) > 0 && len(data) < 1<<12 && (first[0] == '{' || first[0] == '[') && jsontext.Value(data).IsValid() && faults > 0 {
			t.Fatalf("%q is JSON, but has %d faults", data, faults)
		}
	})
}

// checkDoc walks the whole tree and redacts it: redacting twice changes
// nothing more, and what is redacted is JSON.
func checkDoc(t testing.TB, d *Doc) {
	t.Helper()
	var walk func(Node)
	walk = func(n Node) {
		n.Text()
		for m := range n.All() {
			walk(m)
		}
	}
	walk(d.Root())
	wholly := func(key []byte) ([]string, bool) { return []string{"name"}, string(key) == "env" }
	out, paths := Redact(d, wholly)
	if len(paths) == 0 {
		if !bytes.Equal(out, d.Raw()) {
			t.Fatalf("%q changed without a path", d.Raw())
		}
		return
	}
	if !jsontext.Value(out).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) {
		t.Fatalf("%q became %q", d.Raw(), out)
	}
	if again, more := Redact(Parse(out), wholly); len(more) > 0 {
		t.Fatalf("%q became %q and then %q at %q", d.Raw(), out, again, more)
	}
}
