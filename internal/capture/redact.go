package capture

import (
	"math"
	"net"
	"path"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
)

// secretFlag finds a flag that names a secret with its value in one text, as
// in the argument of sh -c.
var secretFlag = lazily(`(?i)((?:^|\s)--?[a-z0-9_-]*(?:password|passwd|pwd|passphrase|secret|token|api[_-]?key|access[_-]?key|account[_-]?key|private[_-]?key|credential)s?[ =]+)('[^']*'|"[^"]*"|[^\s'"]+)`)

// Redact takes secrets out of a command line: what has the shape of one, and
// the values of flags that are named after one.
func Redact(argv []string) []string {
	out := make([]string, len(argv))
	value := false // the argument before was a flag that names a secret
	for i, a := range argv {
		switch {
		case value && a != "":
			out[i] = rawjson.Redacted
		case tokenShaped(a):
			out[i] = rawjson.Redacted
		default:
			out[i] = secretFlag().ReplaceAllString(rawjson.Secrets(a), "${1}"+rawjson.Redacted)
		}
		value = false
		if strings.HasPrefix(a, "-") && !strings.ContainsAny(a, "= ") {
			value = rawjson.Secrets(a+"=abcdefgh") != a+"=abcdefgh" || userFlag(argv[0], a) && i+1 < len(argv) && strings.Contains(argv[i+1], ":")
		}
	}
	return out
}

// userFlag tells whether a flag of a program takes user:password.
func userFlag(program, flag string) bool {
	switch path.Base(program) {
	case "curl":
		return flag == "-u" || flag == "--user" || flag == "-U" || flag == "--proxy-user"
	case "http", "https":
		return flag == "-a" || flag == "--auth"
	}
	return false
}

// tokenShaped tells whether an argument as a whole looks like a token of no
// known issuer: long, of both cases and digits, without the marks of a path,
// a name or a number, and with the spread of letters that chance gives.
func tokenShaped(s string) bool {
	if _, v, ok := strings.Cut(s, "="); ok {
		s = v
	}
	if len(s) < 32 || len(s) > 4096 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=") != "" {
		return false
	}
	var upper, lower, digits int
	var count [128]int
	for _, c := range []byte(s) {
		count[c]++
		switch {
		case c >= 'A' && c <= 'Z':
			upper++
		case c >= 'a' && c <= 'z':
			lower++
		case c >= '0' && c <= '9':
			digits++
		}
	}
	bits := 0.0
	for _, n := range count {
		if n > 0 {
			p := float64(n) / float64(len(s))
			bits -= p * math.Log2(p)
		}
	}
	return upper >= 3 && lower >= 3 && digits >= 3 && bits > 4
}

// quoteArgv writes a command line so that a shell would read it back.
func quoteArgv(argv []string) string {
	out := make([]string, len(argv))
	for i, a := range argv {
		switch {
		case a == "":
			out[i] = "''"
		case strings.Trim(a, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%[]…") == "":
			out[i] = a
		default:
			out[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.ToValidUTF8(strings.Join(out, " "), "�")
}

// local tells whether an address is on this machine or a name server's.
func local(addr string) bool {
	proto, host, _ := strings.Cut(addr, " ")
	if strings.HasPrefix(proto, "unix") || proto == "netlink" {
		return true
	}
	h, port, err := net.SplitHostPort(host)
	if err != nil {
		return false
	}
	ip := net.ParseIP(h)
	return ip != nil && (ip.IsLoopback() || ip.IsUnspecified()) || port == "53" || port == "0"
}
