package prov

import (
	"net/url"
	"strings"
	"testing"
)

func TestRepository(t *testing.T) {
	const c = "0123456789abcdef0123456789abcdef01234567"
	for _, x := range []struct {
		address        string
		known          bool
		name, revision string
	}{
		{"https://github.com/acme/fraud", false, "https://github.com/acme/fraud", ""},
		{"https://github.com/acme/fraud.git", false, "https://github.com/acme/fraud", ""},
		{"https://github.com/acme/fraud/", false, "https://github.com/acme/fraud", ""},
		{"http://GitHub.com/acme/fraud", false, "https://github.com/acme/fraud", ""},
		{"https://ann:hunter2@github.com/acme/fraud.git?x=1#y", false, "https://github.com/acme/fraud", ""},
		{"https://[redacted]@github.com/acme/fraud.git", false, "https://github.com/acme/fraud", ""},
		{"git@github.com:acme/fraud.git", false, "https://github.com/acme/fraud", ""},
		{"github.com:acme/fraud.git", true, "https://github.com/acme/fraud", ""},
		{"github.com:443/acme/fraud.git", true, "https://github.com/acme/fraud", ""},
		{"ssh://git@github.com/acme/fraud", false, "https://github.com/acme/fraud", ""},
		{"ssh://git@git.acme.example:22/ml/fraud.git", false, "https://git.acme.example/ml/fraud", ""},
		{"ssh://git@git.acme.example:7999/ml/fraud.git", false, "https://git.acme.example:7999/ml/fraud", ""},
		{"https://git.acme.example:443/ml/fraud.git", false, "https://git.acme.example/ml/fraud", ""},
		{"git://git.acme.example/ml/fraud", false, "https://git.acme.example/ml/fraud", ""},
		{"git+ssh://git@github.com/acme/fraud.git", false, "https://github.com/acme/fraud", ""},
		{"git+https://github.com/acme/fraud@refs/heads/main", false, "https://github.com/acme/fraud", "refs/heads/main"},
		{"git+https://git.acme.example/ml/fraud.git@v1.2#sub", false, "https://git.acme.example/ml/fraud", "v1.2"},
		{"https://github.com/acme/fraud/commit/" + c, false, "https://github.com/acme/fraud", c},
		{"https://github.com/acme/fraud/tree/main/train", false, "https://github.com/acme/fraud", ""},
		{"https://github.com/acme/fraud/blob/" + c + "/a/b.py", true, "https://github.com/acme/fraud", c},
		{"https://github.com/acme/fraud/blob/main/a/b.py", false, "", ""},
		{"https://gitlab.com/group/sub/fraud/-/commit/" + c, false, "https://gitlab.com/group/sub/fraud", c},
		{"https://gitlab.acme.example/group/fraud/-/tree/main/x", false, "https://gitlab.acme.example/group/fraud", ""},
		{"https://gitlab.com/group/sub/fraud", true, "https://gitlab.com/group/sub/fraud", ""},
		{"https://gitlab.com/group/sub/fraud", false, "", ""},
		{"https://git.acme.example/group/@/-/tree/main", true, "", ""},
		{"https://git.acme.example/group/fraud/-/tree/@scope", true, "https://git.acme.example/group/fraud", ""},
		{"https://dev.azure.com/acme/ml/_git/fraud", false, "https://dev.azure.com/acme/ml/_git/fraud", ""},
		{"github.com/acme/fraud", true, "https://github.com/acme/fraud", ""},
		{"github.com/acme/fraud", false, "", ""},
		{"https://git.acme.example/r", true, "https://git.acme.example/r", ""},
		{"https://acme.example/a.tgz", false, "", ""},
		{"/srv/git/fraud.git", true, "", ""},
		{"file:///srv/git/fraud.git", true, "", ""},
		{"../fraud", true, "", ""},
		{`C:\work\fraud`, true, "", ""},
		{"https://github.com", true, "", ""},
		{"https://github.com//x", true, "https://github.com/x", ""},
		{"https://git.acme.example/a//b", true, "", ""},
		{"hg+https://acme.example/r", true, "", ""},
		{"", true, "", ""},
		{"pkg:github/acme/fraud", true, "", ""},
	} {
		name, revision, ok := Repository(x.address, x.known)
		if name != x.name || revision != x.revision || ok != (x.name != "") {
			t.Errorf("Repository(%q, %v) gives %q, %q, %v; want %q, %q", x.address, x.known, name, revision, ok, x.name, x.revision)
		}
	}
}

func FuzzRepository(f *testing.F) {
	for _, s := range []string{"git@github.com:a/b.git", "git+https://github.com/a/b@main", "https://x.example/-/-/tree/a", "ssh://[::1]:22/a.git", "a:b", "https://h/@", "git+https://h/a.git.git"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, s string, known bool) {
		name, _, ok := Repository(s, known)
		if !ok {
			return
		}
		u, err := url.Parse(name)
		if err != nil {
			t.Skip() // what the address held of odd signs is in the name as well
		}
		if again, _, ok := Repository(name, true); !ok || again != name {
			t.Errorf("Repository(%q) gives %q, and of that %q", s, name, again)
		}
		if u.User != nil || u.Scheme != "https" || strings.HasSuffix(name, "/") {
			t.Errorf("Repository(%q) gives %q", s, name)
		}
	})
}
