// Package story is the reference history: a fraud model from its data to a
// poisoned dataset, a rollback and a backdated approval. It is told once and
// feeds the demo, the tests and the docs.
package story

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/stemma-lineage/stemma/internal/app"
	"github.com/stemma-lineage/stemma/internal/keys"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// Step is one statement of the story and when it was recorded.
type Step struct {
	Recorded  time.Time
	Tells     string // for people
	Subjects  []statement.Subject
	Predicate statement.Predicate
}

// day gives a moment of March 2026.
func day(d, hour int) time.Time { return time.Date(2026, 3, d, hour, 0, 0, 0, time.UTC) }

func at(d, hour int) statement.Time { return statement.NewTime(day(d, hour)) }

// Digest gives a digest that stands for the content of a thing in the story.
func Digest(name string) statement.DigestSet {
	sum := sha256.Sum256([]byte("story: " + name))
	return statement.DigestSet{"sha256": hex.EncodeToString(sum[:])}
}

func ref(s string) prov.Ref {
	r, err := prov.ParseRef(s)
	if err != nil {
		panic(err)
	}
	return r
}

func subject(s string) []statement.Subject {
	return []statement.Subject{statement.NewSubject(ref(s), Digest(s))}
}

func named(s string) []statement.Subject {
	return []statement.Subject{statement.NewSubject(ref(s), nil)}
}

func thing(s string) statement.Resource { return statement.NewResource(ref(s), Digest(s)) }

func use(s, role string) statement.Use {
	return statement.Use{Resource: thing(s), Role: role}
}

func name(s string) statement.Resource { return statement.NewResource(ref(s), nil) }

func by(s, role string) []statement.Party { return []statement.Party{{Ref: s, Role: role}} }

func activity(kind, id string, d, from, to int, plan string, used []statement.Use) *statement.Activity {
	p := name(plan)
	return &statement.Activity{Kind: kind, ID: "activity:" + id, StartedAt: at(d, from), EndedAt: at(d, to), State: "completed",
		Plan: &p, Used: used, Identities: by("sa:ml/trainer", "operator"), InputsCompleteness: statement.Declared}
}

// Names of the story, for those who ask about it.
const (
	Dataset1    = "dataset:transactions@2026-02"
	Dataset2    = "dataset:transactions@2026-03"
	Features1   = "featureset:fraud-features@1"
	Features2   = "featureset:fraud-features@2"
	Prompt      = "prompt:scoring-template@3"
	Base        = "model:base-encoder@2.1"
	Model1      = "model:fraud@1"
	Model2      = "model:fraud@2"
	Service     = "service:fraud-scoring"
	Deployment1 = "deployment:prod/fraud-scoring@v1"
	Deployment2 = "deployment:prod/fraud-scoring@v2"
	Rollback    = "deployment:prod/fraud-scoring@v1-restored"
	NoticeRef   = "notice:poisoned-transactions-2026-03"
	Backdated   = "approval:risk-fraud-2"
)

// Steps tells the story in the order in which it was recorded.
func Steps() []Step {
	reg := func(owner string) *statement.Entity {
		return &statement.Entity{State: "registered", At: at(1, 8), Owner: owner}
	}
	base := &statement.Entity{State: "registered", At: at(1, 8), Origin: "unknown", Licence: "apache-2.0"}
	inventory := &statement.Identity{Mode: "event", Source: "cmdb", At: at(1, 7), Items: []statement.IdentityItem{
		{Ref: "sa:ml/trainer", Owner: "team:ml-platform"},
		{Ref: "sa:prod/scorer", Owner: "team:ml-platform", Credentials: []statement.CredentialItem{
			{Ref: "credential:vault/prod/scorer@4", IssuedAt: at(1, 7), ExpiresAt: statement.NewTime(day(90, 7))}}},
		{Ref: "person:mia@acme.example", MemberOf: []string{"team:ml-platform"}},
		{Ref: "person:sam@acme.example", MemberOf: []string{"team:security"}, Roles: []statement.RoleItem{{Role: "role:security-reviewer"}}},
		{Ref: "person:rita@acme.example", MemberOf: []string{"team:risk"}, Roles: []statement.RoleItem{{Role: "role:risk-reviewer"}}},
	}}
	approve := func(model, review, who, id string, d, hour int) Step {
		a := &statement.Approval{Decision: "approve", ID: id, Approver: who, Review: review, Role: "role:" + review + "-reviewer",
			Environments: []string{"env:prod"}, DecidedAt: at(d, hour), Comment: "reviewed against checklist 12", Log: Origin}
		a.Text = statement.ApprovalText(subject(model), a)
		return Step{day(d, hour), review + " review approves " + model, subject(model), a}
	}
	steps := []Step{
		{day(1, 7), "inventory of the service accounts", named("sa:prod/scorer"), inventory},
		{day(1, 8), "the transactions of February", subject(Dataset1), &statement.Activity{Kind: "collect", ID: "activity:collect-feb",
			StartedAt: at(1, 6), EndedAt: at(1, 7), State: "completed", Identities: by("sa:ml/trainer", "operator"),
			Used: []statement.Use{{Resource: name("resource:payments-db"), Role: "source"}}}},
		{day(1, 9), "a base model of unknown origin", subject(Base), base},
		{day(1, 10), "a prompt template", subject(Prompt), reg("person:ann@acme.example")},
		{day(1, 10), "a policy bundle", subject("policy:prod-bundle@9"), reg("team:risk")},
		{day(1, 10), "a tool for agents", subject("tool:case-lookup@2"), reg("team:fraud-ops")},
		{day(2, 10), "features out of February", subject(Features1), activity("transform", "features-1", 2, 8, 9, "plan:build-features", []statement.Use{use(Dataset1, "input")})},
		{day(3, 12), "model 1 is trained", subject(Model1), activity("train", "train-1", 3, 8, 11, "plan:train-fraud", []statement.Use{use(Features1, "training"), use(Base, "base")})},
		{day(3, 15), "model 1 is evaluated", subject("document:eval-fraud-1@1"), activity("evaluate", "eval-1", 3, 13, 14, "plan:evaluate", []statement.Use{use(Model1, "subject")})},
		approve(Model1, "security", "person:sam@acme.example", "approval:security-fraud-1", 4, 9),
		approve(Model1, "risk", "person:rita@acme.example", "approval:risk-fraud-1", 4, 10),
		deploy("deploy", Deployment1, Model1, 5, "", "", "first release"),
		{day(8, 8), "the transactions of March, poisoned as nobody knows yet", subject(Dataset2), &statement.Activity{Kind: "collect", ID: "activity:collect-mar",
			StartedAt: at(8, 6), EndedAt: at(8, 7), State: "completed", Identities: by("sa:ml/trainer", "operator"),
			Used: []statement.Use{{Resource: name("resource:payments-db"), Role: "source"}}}},
		{day(8, 10), "features out of March", subject(Features2), activity("transform", "features-2", 8, 8, 9, "plan:build-features", []statement.Use{use(Dataset2, "input")})},
		{day(9, 12), "model 2 is trained", subject(Model2), activity("train", "train-2", 9, 8, 11, "plan:train-fraud", []statement.Use{use(Features2, "training"), use(Base, "base")})},
		approve(Model2, "security", "person:sam@acme.example", "approval:security-fraud-2", 9, 15),
		deploy("deploy", Deployment2, Model2, 10, Deployment1, "", "second release"),
	}
	late := approve(Model2, "risk", "person:rita@acme.example", Backdated, 9, 16)
	late.Recorded, late.Tells = day(12, 9), "a risk approval that claims to be of the 9th, recorded on the 12th"
	return append(steps, late,
		Step{day(15, 9), "a notice: the March transactions were poisoned since the 7th", subject(Dataset2), &statement.Notice{Kind: "compromised", ID: NoticeRef,
			Since: at(7, 0), At: at(15, 9), Severity: "critical", Source: "person:sam@acme.example", Description: "labels of 2 % of the rows were flipped at the source"}},
		deploy("rollback", Rollback, Model1, 15, Deployment2, Deployment1, "incident 481: March data poisoned"))
}

func deploy(action, id, model string, d int, supersedes, restores, reason string) Step {
	policy := thing("policy:prod-bundle@9")
	return Step{day(d, 12), action + ": " + model + " into production", subject(model), &statement.Deployment{Action: action, ID: id,
		Environment: "env:prod", Service: Service, At: at(d, 12), Supersedes: supersedes, Restores: restores,
		RunsAs: []string{"sa:prod/scorer"}, Credentials: []statement.Resource{name("credential:vault/prod/scorer@4")},
		Secrets: []statement.Resource{name("secret:vault/prod/payments-api@7")}, Tools: []statement.Resource{thing("tool:case-lookup@2")},
		Prompts: []statement.Resource{thing(Prompt)}, PolicyBundle: &policy,
		Identities: by("person:dev@acme.example", "release manager"), Reason: reason}}
}

// Clock is a clock that the story sets.
type Clock struct{ T time.Time }

// Now gives the time that was set last.
func (c *Clock) Now() time.Time { return c.T }

// Tell records the story in a workspace whose clock is c.
func Tell(ctx context.Context, w *app.Workspace, k keys.Key, c *Clock, told func(index uint64, s Step)) error {
	for _, s := range Steps() {
		c.T = s.Recorded
		signer := k
		if a, ok := s.Predicate.(*statement.Approval); ok {
			var err error
			if signer, err = reviewer(w, a.Approver); err != nil {
				return err
			}
		}
		out, err := w.Say(ctx, signer, s.Subjects, s.Predicate)
		if err != nil {
			return fmt.Errorf("telling %q: %w", s.Tells, err)
		}
		if told != nil {
			told(out.Index, s)
		}
	}
	return nil
}

// reviewer gives the key of a person who decides, and has the log trust it.
func reviewer(w *app.Workspace, who string) (keys.Key, error) {
	seed := sha256.Sum256([]byte("story: " + who))
	k := keys.Key{Name: who, Principal: ref(who), Private: ed25519.NewKeyFromSeed(seed[:])}
	trusted, err := k.Trusted()
	if err != nil {
		return k, err
	}
	if _, ok := w.Trust.Find(trusted.Public.KeyID()); ok {
		return k, nil
	}
	return k, w.AddTrust(trusted)
}

// Origin is the name of the story's log.
const Origin = "stemma.example/story"

// Keys gives keys that are made of fixed seeds, so that the story has the same
// bytes every time. They protect nothing.
func Keys() (k keys.Key, log note.Signer, vkey string, err error) {
	seed := sha256.Sum256([]byte("story: person"))
	k = keys.Key{Name: "story", Principal: ref("sa:acme/recorder"), Private: ed25519.NewKeyFromSeed(seed[:])}
	skey, vkey, err := note.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{7}, 64)), Origin)
	if err != nil {
		return k, nil, "", err
	}
	log, err = note.NewSigner(skey)
	return k, log, vkey, err
}
