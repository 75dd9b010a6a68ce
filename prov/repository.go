package prov

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// forges are hosts whose first two path segments are a repository.
var forges = []string{"github.com", "gitlab.com", "bitbucket.org", "codeberg.org", "gitee.com"}

// Forge tells whether the host is one whose paths OWNER/NAME are repositories.
func Forge(host string) bool { return slices.Contains(forges, strings.ToLower(host)) }

var (
	scpAddress = regexp.MustCompile(`^(?:[A-Za-z0-9._-]+@)?([A-Za-z0-9.-]+):([^/].*)$`)
	commitName = regexp.MustCompile(`^(?:[0-9a-f]{40}|[0-9a-f]{64})$`)
)

// Repository gives the one name that a git repository has in a Ref of kind
// Code, https://host/path, out of any address of it. How it is fetched does
// not matter to which repository it is: the forms https, ssh, git, git+https
// (SPDX, pip), user@host:path (scp) and the pages of forges, with or without
// ".git", give one name, without a user, a password and the port that goes
// without saying. The host is in lower case, the path as it is
// written. The name of a name is itself.
//
// Of "…@revision" (SLSA, SPDX) and of a page of a commit the revision is
// given too. Known says that the address is known to be that of a repository;
// otherwise only those that show it are taken. Paths on a disk are none: they
// say nothing to anybody else.
func Repository(address string, known bool) (name, revision string, ok bool) {
	s := strings.TrimSpace(address)
	git := known
	if rest, found := strings.CutPrefix(s, "git+"); found {
		s, git = rest, true
	}
	if m := scpAddress.FindStringSubmatch(s); m != nil && !strings.Contains(s, "://") && (strings.Contains(s, "@") || known && strings.Contains(m[1], ".")) {
		if port, path, found := strings.Cut(m[2], "/"); known && found && Forge(m[1]) && strings.Trim(port, "0123456789") == "" {
			m[2] = path // github.com:443/owner/name
		}
		s, git = "ssh://"+m[1]+"/"+m[2], true
	} else if host, _, found := strings.Cut(s, "/"); known && found && Forge(host) {
		s = "https://" + s
	}
	if scheme, rest, found := strings.Cut(s, "://"); found {
		end := len(rest)
		if i := strings.IndexAny(rest, "/?#"); i >= 0 {
			end = i
		}
		s = scheme + "://" + rest[strings.LastIndexByte(rest[:end], '@')+1:]
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Opaque != "" {
		return "", "", false
	}
	switch strings.ToLower(u.Scheme) {
	case "git":
		git = true
	case "https", "http", "ssh":
	default:
		return "", "", false
	}
	host := strings.ToLower(u.Hostname())
	path := strings.Trim(u.EscapedPath(), "/")
	if i := strings.IndexByte(path, '@'); i > 0 && !strings.Contains(path, "/-/") {
		path, revision = strings.TrimRight(path[:i], "/"), path[i+1:]
	}
	parts := strings.Split(path, "/")
	if n, rev, page := pageOf(host, parts, known); page {
		if parts, git = parts[:n], true; revision == "" {
			revision = rev
		}
	}
	last := len(parts) - 1
	if strings.HasSuffix(parts[last], ".git") || Forge(host) && len(parts) == 2 || slices.Contains(parts, "_git") {
		git = true
	}
	for strings.HasSuffix(parts[last], ".git") {
		parts[last] = strings.TrimSuffix(parts[last], ".git")
	}
	// An @ that is left, beside a page of GitLab's, is part of no name.
	if !git || host == "" || slices.Contains(parts, "") || strings.IndexByte(strings.Join(parts, "/"), '@') > 0 {
		return "", "", false
	}
	if p := u.Port(); p != "" && p != map[string]string{"ssh": "22", "http": "80", "git": "9418"}[u.Scheme] && p != "443" {
		host += ":" + p
	} else if strings.Contains(host, ":") { // IPv6
		host = "[" + host + "]"
	}
	return "https://" + host + "/" + strings.Join(parts, "/"), revision, true
}

// pageOf tells how many segments of a page's path are those of the repository,
// and the revision where the page is that of a commit. A page of a file is a
// file, unless the address is known to tell a repository.
func pageOf(host string, parts []string, known bool) (n int, revision string, ok bool) {
	n = 2
	view := 2
	if i := slices.Index(parts, "-"); i >= 2 { // GitLab's, whose groups nest
		n, view = i, i+1
	} else if !Forge(host) {
		return 0, "", false
	}
	if view >= len(parts) {
		return 0, "", false
	}
	switch parts[view] {
	case "commit", "commits", "tree":
	case "blob", "raw", "src":
		if !known {
			return 0, "", false
		}
	default:
		return 0, "", false
	}
	if view+1 < len(parts) && commitName.MatchString(parts[view+1]) {
		revision = parts[view+1]
	}
	return n, revision, true
}
