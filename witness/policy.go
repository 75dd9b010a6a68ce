package witness

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
)

// Witness is a line of the policy.
type Witness struct {
	Name string // in the policy only
	Key  string // verifier key, type 4 (C2SP tlog-cosignature, Ed25519)
	URL  string // submission prefix (C2SP tlog-witness), "" if none is given

	verifier *torchwood.CosignatureVerifier
}

// Verifier gives the verifier of the witness's cosignatures.
func (w Witness) Verifier() note.Verifier { return w.verifier }

// Group is a set of witnesses and groups of which Need must have cosigned.
type Group struct {
	Name    string
	Need    int
	Members []string
}

// Policy says which witnesses are known and which of them together suffice
// (C2SP tlog-policy). A nil policy knows no witness and its quorum is never
// met; the quorum "none" is met by nothing at all.
type Policy struct {
	Logs      []string // verifier keys; empty: the log is known from elsewhere
	Witnesses []Witness
	Groups    []Group
	Quorum    string
}

// NoQuorum is the quorum that asks for no cosignature.
const NoQuorum = "none"

const maxPolicy = 1 << 20

// ParsePolicy reads a policy (C2SP tlog-policy). Errors name the line.
func ParsePolicy(text []byte) (*Policy, error) {
	p := &Policy{}
	if len(text) > maxPolicy {
		return nil, fmt.Errorf("%w: it is larger than %d bytes", ErrPolicy, maxPolicy)
	}
	r := &policyReader{p: p, keys: map[string]bool{}, names: map[string]bool{NoQuorum: true}, used: map[string]bool{}}
	for i, line := range strings.Split(string(text), "\n") {
		if strings.IndexFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) >= 0 {
			return nil, fmt.Errorf("%w: line %d: it holds a control character (lines end with a newline alone)", ErrPolicy, i+1)
		}
		fields := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if err := r.line(fields); err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrPolicy, i+1, err)
		}
	}
	if p.Quorum == "" {
		return nil, fmt.Errorf("%w: it has no line quorum; write quorum NAME, or quorum none", ErrPolicy)
	}
	return p, nil
}

type policyReader struct {
	p     *Policy
	keys  map[string]bool // public keys, of logs and of witnesses each
	names map[string]bool // of witnesses and groups
	used  map[string]bool // as members
}

func (r *policyReader) line(f []string) error {
	switch f[0] {
	case "log":
		if len(f) < 2 || len(f) > 3 {
			return fmt.Errorf("write log KEY [URL]")
		}
		if _, err := note.NewVerifier(f[1]); err != nil {
			return fmt.Errorf("log key %q: %w", f[1], err)
		}
		r.p.Logs = append(r.p.Logs, f[1])
		return r.once("log", f[1])
	case "witness":
		if len(f) < 3 || len(f) > 4 {
			return fmt.Errorf("write witness NAME KEY [URL]")
		}
		return r.witness(f)
	case "group":
		if len(f) < 4 {
			return fmt.Errorf("write group NAME any|all|NUMBER MEMBER…")
		}
		return r.group(f)
	case "quorum":
		if len(f) != 2 {
			return fmt.Errorf("write quorum NAME")
		}
		if r.p.Quorum != "" {
			return fmt.Errorf("there is a quorum already")
		}
		if !r.names[f[1]] {
			return fmt.Errorf("quorum %q is no witness or group of the lines before", f[1])
		}
		r.p.Quorum = f[1]
		return nil
	}
	return fmt.Errorf("%q is none of log, witness, group, quorum", f[0])
}

func (r *policyReader) witness(f []string) error {
	w, err := NewWitness(f[1], f[2], strings.Join(f[3:], ""))
	if err != nil {
		return err
	}
	r.p.Witnesses = append(r.p.Witnesses, w)
	if err := r.name(f[1]); err != nil {
		return err
	}
	return r.once("witness", f[2])
}

func (r *policyReader) group(f []string) error {
	g := Group{Name: f[1], Members: f[3:]}
	for _, m := range g.Members {
		switch {
		case m == NoQuorum || !r.names[m]:
			return fmt.Errorf("member %q is no witness or group of the lines before", m)
		case r.used[m]:
			return fmt.Errorf("%q is a member already; each counts in one way only", m)
		}
		r.used[m] = true
	}
	switch f[2] {
	case "any":
		g.Need = 1
	case "all":
		g.Need = len(g.Members)
	default:
		n, err := strconv.Atoi(f[2])
		if err != nil || n < 1 || n > len(g.Members) || strconv.Itoa(n) != f[2] {
			return fmt.Errorf("%q is not any, all or a number from 1 to %d", f[2], len(g.Members))
		}
		g.Need = n
	}
	r.p.Groups = append(r.p.Groups, g)
	return r.name(f[1])
}

func (r *policyReader) name(s string) error {
	if r.names[s] {
		return fmt.Errorf("the name %q is taken", s)
	}
	r.names[s] = true
	return nil
}

// once refuses a second line with the same public key under another name.
func (r *policyReader) once(what, vkey string) error {
	key := what + " " + strings.SplitN(vkey, "+", 3)[2] // base64, which has '+' too
	if r.keys[key] {
		return fmt.Errorf("this %s has a line already, with the same public key", what)
	}
	r.keys[key] = true
	return nil
}

// NewWitness checks the parts of a witness.
func NewWitness(name, vkey, prefix string) (Witness, error) {
	v, err := torchwood.NewCosignatureVerifier(vkey)
	if err != nil {
		if _, logErr := note.NewVerifier(vkey); logErr == nil {
			err = fmt.Errorf("it is the key of a log, not of a witness")
		} else if strings.Contains(err.Error(), "unknown verifier algorithm") {
			err = fmt.Errorf("it is of a kind that is not understood here; Ed25519 cosignature keys (type 4) are")
		}
		return Witness{}, fmt.Errorf("witness key %q: %w", vkey, err)
	}
	if v.String() != vkey {
		return Witness{}, fmt.Errorf("witness key %q: it is not in its one written form", vkey)
	}
	if name == "" || name == NoQuorum || strings.ContainsAny(name, " \t\r\n#") {
		return Witness{}, fmt.Errorf("%q is no name for a witness; use letters, digits, '.', '/' and '-'", name)
	}
	if prefix != "" {
		u, err := url.Parse(prefix)
		switch {
		case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
			return Witness{}, fmt.Errorf("%q is no http or https address", prefix)
		case u.User != nil:
			return Witness{}, fmt.Errorf("the address of %s holds a user or password; a witness asks for none", name)
		case u.RawQuery != "" || u.Fragment != "":
			return Witness{}, fmt.Errorf("%q is no prefix: it has a query or fragment", prefix)
		}
	}
	return Witness{Name: name, Key: vkey, URL: prefix, verifier: v}, nil
}

// Met tells whether the witnesses for which has is true meet the quorum.
func (p *Policy) Met(has func(name string) bool) bool {
	if p == nil {
		return false
	}
	met := map[string]bool{NoQuorum: true}
	for _, w := range p.Witnesses {
		met[w.Name] = has(w.Name)
	}
	for _, g := range p.Groups { // members stand before their group
		n := 0
		for _, m := range g.Members {
			if met[m] {
				n++
			}
		}
		met[g.Name] = n >= g.Need
	}
	return met[p.Quorum]
}

// String gives the policy as text that ParsePolicy reads.
func (p *Policy) String() string {
	var b strings.Builder
	for _, l := range p.Logs {
		fmt.Fprintf(&b, "log %s\n", l)
	}
	for _, w := range p.Witnesses {
		fmt.Fprintln(&b, strings.TrimSpace("witness "+w.Name+" "+w.Key+" "+w.URL))
	}
	for _, g := range p.Groups {
		fmt.Fprintf(&b, "group %s %d %s\n", g.Name, g.Need, strings.Join(g.Members, " "))
	}
	fmt.Fprintf(&b, "quorum %s\n", p.Quorum)
	return b.String()
}

// Describe tells the quorum in words.
func (p *Policy) Describe() string {
	if p == nil || len(p.Witnesses) == 0 {
		return "no witness is known"
	}
	if p.Quorum == NoQuorum {
		return "no cosignature is asked for"
	}
	for _, g := range p.Groups {
		if g.Name == p.Quorum {
			return fmt.Sprintf("%d of %s", g.Need, strings.Join(g.Members, ", "))
		}
	}
	return p.Quorum
}

func (p *Policy) find(name string, hash uint32) *Witness {
	if p == nil {
		return nil
	}
	for i, w := range p.Witnesses {
		if w.verifier.Name() == name && w.verifier.KeyHash() == hash {
			return &p.Witnesses[i]
		}
	}
	return nil
}

func (p *Policy) order(name string) int {
	if p == nil {
		return -1
	}
	return slices.IndexFunc(p.Witnesses, func(w Witness) bool { return w.Name == name })
}
