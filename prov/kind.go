// Package prov is the vocabulary of Stemma: the kinds of things whose history
// is kept, their stable names, the typed ties between them and the two clocks
// of every question. It holds values only: no file, clock or randomness.
//
// Words follow W3C PROV-DM (entity, activity, plan, used, wasGeneratedBy …);
// where PROV says Agent, Stemma says Identity, because "agent" means an AI
// agent to its readers.
package prov

import (
	"sort"
	"strings"
)

// Class is the PROV class of a kind.
type Class uint8

// The classes. A plan and a credential are entities in PROV-DM section 5.1.
const (
	ClassEntity Class = iota + 1
	ClassActivity
	ClassIdentity
)

func (c Class) String() string {
	switch c {
	case ClassActivity:
		return "activity"
	case ClassIdentity:
		return "identity"
	}
	return "entity"
}

// Kind is the first part of a Ref and tells what sort of thing it names.
type Kind string

// The kinds that Stemma knows. A kind of one's own begins with "x-" and is an
// entity.
const (
	Dataset     Kind = "dataset"
	Column      Kind = "column"
	FeatureSet  Kind = "featureset"
	Prompt      Kind = "prompt"
	Model       Kind = "model"
	Code        Kind = "code"
	Image       Kind = "image"
	Agent       Kind = "agent"
	Tool        Kind = "tool"
	Policy      Kind = "policy"
	Document    Kind = "document"
	File        Kind = "file"
	Package     Kind = "pkg"
	Plan        Kind = "plan"
	Deployment  Kind = "deployment"
	Service     Kind = "service"
	Environment Kind = "env"
	Registry    Kind = "registry"
	Resource    Kind = "resource"
	Notice      Kind = "notice"
	Credential  Kind = "credential"
	Secret      Kind = "secret"
	Grant       Kind = "grant"

	Activity Kind = "activity"
	Approval Kind = "approval"

	Person         Kind = "person"
	Team           Kind = "team"
	ServiceAccount Kind = "sa"
	Workload       Kind = "workload"
	Subagent       Kind = "subagent"
	Role           Kind = "role"
	Org            Kind = "org"
)

type kindInfo struct {
	class Class
	// versioned kinds split "name@version"; in the others '@' is a letter of
	// the name, as in person:ann@acme.example.
	versioned bool
}

var kinds = map[Kind]kindInfo{
	Dataset: {ClassEntity, true}, Column: {ClassEntity, true}, FeatureSet: {ClassEntity, true},
	Prompt: {ClassEntity, true}, Model: {ClassEntity, true}, Code: {ClassEntity, true},
	Image: {ClassEntity, true}, Agent: {ClassEntity, true}, Tool: {ClassEntity, true},
	Policy: {ClassEntity, true}, Document: {ClassEntity, true}, File: {ClassEntity, true},
	Package: {ClassEntity, false}, Plan: {ClassEntity, true}, Deployment: {ClassEntity, true},
	Service: {ClassEntity, false}, Environment: {ClassEntity, false}, Registry: {ClassEntity, false},
	Resource: {ClassEntity, false}, Notice: {ClassEntity, false},
	Credential: {ClassEntity, true}, Secret: {ClassEntity, true}, Grant: {ClassEntity, false},
	Activity: {ClassActivity, false}, Approval: {ClassActivity, false},
	Person: {ClassIdentity, false}, Team: {ClassIdentity, false}, ServiceAccount: {ClassIdentity, false},
	Workload: {ClassIdentity, false}, Subagent: {ClassIdentity, false}, Role: {ClassIdentity, false},
	Org: {ClassIdentity, false},
}

// Kinds lists the kinds that Stemma knows, in alphabetical order.
func Kinds() []Kind {
	out := make([]Kind, 0, len(kinds))
	for k := range kinds {
		out = append(out, k)
	}
	sort.Slice(out, func(i, j int) bool { return out[i] < out[j] })
	return out
}

// Class tells which PROV class the kind belongs to. A kind of one's own is an
// entity.
func (k Kind) Class() Class {
	if i, ok := kinds[k]; ok {
		return i.class
	}
	return ClassEntity
}

// Versioned tells whether a name of this kind may carry "@version".
func (k Kind) Versioned() bool {
	if i, ok := kinds[k]; ok {
		return i.versioned
	}
	return k.own()
}

// Known tells whether the kind is one of Kinds or a kind of one's own (x-…).
func (k Kind) Known() bool {
	_, ok := kinds[k]
	return ok || k.own()
}

func (k Kind) own() bool {
	rest, ok := strings.CutPrefix(string(k), "x-")
	if !ok || rest == "" {
		return false
	}
	for _, r := range rest {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
			return false
		}
	}
	return true
}
