package policy

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"go.yaml.in/yaml/v3"

	"github.com/stemma-lineage/stemma/statement"
)

// MaxText is the largest text of a policy, in bytes, and maxRules how many
// rules one may have.
const (
	MaxText  = 256 << 10
	maxRules = 200
	// costLimit bounds the evaluation of one rule, in units of CEL's cost
	// model. A rule that goes beyond is unknown.
	costLimit = 2_000_000
	// policyCost bounds all rules of a policy together: those after it are
	// unknown.
	policyCost = 3 * costLimit
)

// Policy is a named set of rules.
type Policy struct {
	Name         string         `yaml:"name"`
	Description  string         `yaml:"description"`
	Environments []string       `yaml:"environments"` // without any: all
	Parameters   map[string]any `yaml:"parameters"`   // param.NAME in expressions
	Waivers      WaiverRules    `yaml:"waivers"`
	Rules        []Rule         `yaml:"rules"`
	Cases        []Case         `yaml:"cases"` // for stemma policy test

	Text   string `yaml:"-"` // as it was parsed
	Source string `yaml:"-"` // its Ref, or its file
}

// Case is a question with the verdict that is wanted.
type Case struct {
	Ref   string `yaml:"ref"`
	Env   string `yaml:"env"`
	At    string `yaml:"at"`    // without it: now
	Known uint64 `yaml:"known"` // a log size; 0: all
	Want  string `yaml:"want"`
}

// WaiverRules says whose waivers count. Without a role none does.
type WaiverRules struct {
	Role string `yaml:"role"` // role:risk-owner
}

// Rule is one condition. Require is a CEL expression that gives a bool; when
// it cannot be told for lack of evidence, the rule is unknown.
type Rule struct {
	ID       string   `yaml:"id"`
	Says     string   `yaml:"says"`    // the rule in a sentence
	Applies  string   `yaml:"applies"` // CEL; without it the rule always applies
	Require  string   `yaml:"require"`
	Mend     string   `yaml:"mend"`     // the command that would mend it; {ref} and {env} are filled in
	Controls []string `yaml:"controls"` // what it speaks to

	applies, require cel.Program
}

// Parse reads the YAML text of a policy and compiles its rules. An error names
// the line and the rule.
func Parse(text []byte) (*Policy, error) {
	if len(text) > MaxText {
		return nil, fmt.Errorf("policy: %d bytes, the limit is %d", len(text), MaxText)
	}
	p := &Policy{Text: string(text)}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(p); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("policy: the text is empty")
		}
		return nil, fmt.Errorf("policy: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, errors.New("policy: there is more than one document; write one policy a file")
	}
	if p.Name == "" {
		return nil, errors.New("policy: name is missing")
	}
	if len(p.Rules) == 0 || len(p.Rules) > maxRules {
		return nil, fmt.Errorf("policy %s: it has %d rules; write 1 to %d", p.Name, len(p.Rules), maxRules)
	}
	return p, p.compile()
}

func (p *Policy) compile() error {
	env, err := environmentOnce()
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for i := range p.Rules {
		r := &p.Rules[i]
		if r.ID == "" {
			return fmt.Errorf("policy %s: rules[%d]: id is missing", p.Name, i)
		}
		if seen[r.ID] {
			return fmt.Errorf("policy %s: rule %s is there twice", p.Name, r.ID)
		}
		seen[r.ID] = true
		if r.Require == "" {
			return fmt.Errorf("policy %s: rule %s: require is missing; write a CEL expression that gives true or false", p.Name, r.ID)
		}
		if r.require, err = program(env, r.Require); err != nil {
			return fmt.Errorf("policy %s: rule %s: require: %w", p.Name, r.ID, err)
		}
		if r.Applies != "" {
			if r.applies, err = program(env, r.Applies); err != nil {
				return fmt.Errorf("policy %s: rule %s: applies: %w", p.Name, r.ID, err)
			}
		}
	}
	return nil
}

func program(env *cel.Env, text string) (cel.Program, error) {
	ast, iss := env.Compile(text)
	if err := iss.Err(); err != nil {
		return nil, errors.New(strings.TrimSpace(err.Error()))
	}
	if t := ast.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("it gives %s; it must give true or false", t)
	}
	return env.Program(ast, cel.CostLimit(costLimit), cel.InterruptCheckFrequency(1000))
}

// Covers tells whether the policy is for an environment.
func (p *Policy) Covers(env string) bool {
	if len(p.Environments) == 0 {
		return true
	}
	for _, e := range p.Environments {
		if strings.TrimPrefix(e, "env:") == strings.TrimPrefix(env, "env:") {
			return true
		}
	}
	return false
}

// Statement gives the policy as what is logged.
func (p *Policy) Statement() *statement.Policy {
	return &statement.Policy{Name: p.Name, Text: p.Text, Environments: p.Environments}
}

//go:embed library/*.yaml
var library embed.FS

// Library lists the names of the policies that come with Stemma.
func Library() []string {
	files, err := library.ReadDir("library")
	if err != nil {
		panic("policy: the library that was built in cannot be read: " + err.Error())
	}
	var out []string
	for _, f := range files {
		out = append(out, strings.TrimSuffix(f.Name(), ".yaml"))
	}
	slices.Sort(out)
	return out
}

// FromLibrary gives the text of a policy that comes with Stemma.
func FromLibrary(name string) ([]byte, error) {
	b, err := library.ReadFile(path.Join("library", name+".yaml"))
	if err != nil {
		return nil, fmt.Errorf("the library has no policy %q; it has %s", name, strings.Join(Library(), ", "))
	}
	return b, nil
}

// Digest gives the SHA-256 of the policy's text.
func (p *Policy) Digest() []byte {
	sum := sha256.Sum256([]byte(p.Text))
	return sum[:]
}
