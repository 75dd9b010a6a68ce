package rawjson

import "testing"

func TestRedactPairs(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`{"params": [{"key": "db_password", "value": "hunter2"}, {"key": "lr", "value": "0.1"}]}`, `{"params": [{"key": "db_password", "value": "[redacted]"}, {"key": "lr", "value": "0.1"}]}`},
		{`[{"value": 1234, "key": "api.token"}]`, `[{"value": "[redacted]", "key": "api.token"}]`},
		{`[{"key": "token", "value": ""}, {"key": "token"}, {"key": 1, "value": 2}]`, `[{"key": "token", "value": ""}, {"key": "token"}, {"key": 1, "value": 2}]`},
		{`[{"key": "secret", "value": {"stringValue": "x"}}]`, `[{"key": "secret", "value": {"stringValue": "[redacted]"}}]`},
		{`[{"name": "", "key": "secret", "value": ["x", true, null, 7, ""]}]`, `[{"name": "", "key": "secret", "value": ["[redacted]", true, null, "[redacted]", ""]}]`},
		{`[{"name": "lr", "key": "secret", "value": {"key": "token", "value": "x"}}]`, `[{"name": "lr", "key": "secret", "value": {"key": "token", "value": "[redacted]"}}]`},
		{`{"token": "x", "headers": {"cookie": ["a", {"b": "c"}]}}`, `{"token": "x", "headers": {"cookie": ["a", {"b": "c"}]}}`},
		{`[{"key": "token", "value": "a", "value": "b"}]`, `[{"key": "token", "value": "[redacted]", "value": "[redacted]"}]`},
	} {
		got, paths := RedactPairs(Parse([]byte(c.in)), Pairs{Names: []string{"name", "key"}, Value: "value"})
		if string(got) != c.want || (len(paths) > 0) != (c.in != c.want) {
			t.Errorf("%s\ngives %s (%v)\nwant  %s", c.in, got, paths, c.want)
		}
	}
}

func TestRedactMembers(t *testing.T) {
	in := `{"headers": {"cookie": ["a", {"b": "c"}], "accept": "x"}, "attributes": [{"key": "cookie", "value": {"stringValue": "y"}}]}`
	want := `{"headers": {"cookie": ["[redacted]", {"b": "[redacted]"}], "accept": "x"}, "attributes": [{"key": "cookie", "value": {"stringValue": "[redacted]"}}]}`
	got, paths := RedactPairs(Parse([]byte(in)), Pairs{Names: []string{"key"}, Value: "value", Members: true, Secret: func(n string) bool { return n == "cookie" }})
	if string(got) != want || len(paths) != 3 || paths[0] != "headers.cookie[0]" {
		t.Errorf("%s %v\nwant %s", got, paths, want)
	}
}

func TestRedactBy(t *testing.T) {
	raw := `{"mountToken":"false","token":"x","accessKeyId":"AKIAAAAAAAAAAAAAAAAA","other":"AKIAAAAAAAAAAAAAAAAA","value":1,"data":{"a":[1]},"list":["y"]}`
	got, paths := RedactBy(Parse([]byte(raw)), Rules{
		Wholly:  func(k []byte) ([]string, bool) { return nil, string(k) == "data" },
		Dropped: func(k []byte) bool { return string(k) == "value" },
		Public:  func(k []byte, text string) bool { return string(k) == "accessKeyId" && len(text) == 20 },
	})
	want := `{"mountToken":"false","token":"[redacted]","accessKeyId":"AKIAAAAAAAAAAAAAAAAA","other":"[redacted]","value":"[redacted]","data":{"a":["[redacted]"]},"list":["y"]}`
	if string(got) != want || len(paths) != 4 {
		t.Errorf("got %s, %q", got, paths)
	}
}
