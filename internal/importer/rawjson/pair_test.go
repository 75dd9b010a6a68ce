package rawjson

import "testing"

func TestRedactPairs(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`{"params": [{"key": "db_password", "value": "hunter2"}, {"key": "lr", "value": "0.1"}]}`, `{"params": [{"key": "db_password", "value": "[redacted]"}, {"key": "lr", "value": "0.1"}]}`},
		{`[{"value": 1234, "key": "api.token"}]`, `[{"value": "[redacted]", "key": "api.token"}]`},
		{`[{"key": "token", "value": ""}, {"key": "token"}, {"key": 1, "value": 2}]`, `[{"key": "token", "value": ""}, {"key": "token"}, {"key": 1, "value": 2}]`},
		{`[{"key": "secret", "value": {"key": "password", "value": "x"}}]`, `[{"key": "secret", "value": {"key": "password", "value": "[redacted]"}}]`},
		{`[{"key": "token", "value": "a", "value": "b"}]`, `[{"key": "token", "value": "[redacted]", "value": "[redacted]"}]`},
	} {
		got, paths := RedactPairs(Parse([]byte(c.in)), "key", "value")
		if string(got) != c.want || (len(paths) > 0) != (c.in != c.want) {
			t.Errorf("%s\ngives %s (%v)\nwant  %s", c.in, got, paths, c.want)
		}
	}
}
