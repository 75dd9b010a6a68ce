package controls

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/policy"
	"github.com/stemma-lineage/stemma/prov"
)

// question is one evidence query: it is asked of each thing of a population,
// and only yes is evidence for a control.
type question struct {
	asks string
	ask  func(*scope, *collector)
}

// What the questions hold to be recent. They are said in the questions.
const (
	inventoryDays  = 30
	credentialDays = 90
	day            = prov.Instant(24 * 3600 * 1e9)
)

var queries = map[string]question{
	// Questions that a policy of the library answers of everything deployed.
	"owned":         {"Does everything that is deployed have an owner?", byPolicy("owned")},
	"two-person":    {"Did two people who did not make it approve what is deployed, for security and for risk, and does that count now?", byPolicy("two-person")},
	"no-compromise": {"Is nothing that it was made with under a notice, and is it known where all of it came from?", byPolicy("no-compromise")},
	"evaluated":     {"Was an evaluation of what is deployed completed in the last 90 days?", byPolicy("evaluated")},
	"licences":      {"Do the models and datasets behind what is deployed have licences of the list?", byPolicy("licences")},
	"pinned-policy": {"Is what is deployed governed by a policy bundle that is named by its content?", byPolicy("pinned-policy")},
	"third-party":   {"Was everything from outside behind what is deployed approved for security?", byPolicy("third-party")},

	"content-pinned":        {"Does each live deployment name what it places by content?", askContentPinned},
	"tools-pinned":          {"Is each tool and prompt of a live deployment named by content?", askToolsPinned},
	"deployments-accounted": {"Does each deployment and rollback name a person who is responsible?", askDeploymentsAccounted},
	"rollback-faithful":     {"Did each rollback place the content of the deployment that it restores?", askRollbackFaithful},
	"lineage-known":         {"Is it recorded of everything behind what is deployed how it was made or where it came from?", askLineageKnown},
	"data-described":        {"Is each dataset behind what is deployed named by content, with its origin?", askDataDescribed},
	"activities-named":      {"Does each activity behind what is deployed name who ran it?", askActivitiesNamed},
	"inputs-observed":       {"Were the inputs of each activity behind what is deployed observed or enforced, not only declared?", askInputsObserved},
	"notices-contained":     {"Is nothing that is live made with what a notice speaks of?", askNoticesContained},

	"inventory-fresh":     {fmt.Sprintf("Did an inventory of the last %d days tell of each service account and workload?", inventoryDays), askInventoryFresh},
	"identities-owned":    {"Does each service account and workload have an owner who is still there?", askIdentitiesOwned},
	"credentials-in-date": {"Is each credential of what runs a live deployment within its dates?", askCredentialsInDate},
	"credentials-fresh":   {fmt.Sprintf("Was each credential of what runs a live deployment issued in the last %d days?", credentialDays), askCredentialsFresh},
	"environments-apart":  {"Does each identity and credential of a live deployment serve one environment only?", askEnvironmentsApart},
	"one-service":         {"Does each identity and credential of a live deployment serve one service only?", askOneService},
	"grants-narrow":       {"Are the grants of each identity of a live deployment known, and is none a wildcard?", askGrantsNarrow},
	"offboarded":          {"Is each identity and credential that was retired out of use?", askOffboarded},
	"delegations-rooted":  {"Does each delegation in effect lead back to a person, or to an identity with an owner?", askDelegationsRooted},
	"delegations-dated":   {"Does each delegation in effect end at a known time, no later than that of its parent?", askDelegationsDated},

	"approvals-independent": {"Was each approval made by a person in their role, under their own key, and not of their own work?", askApprovalsIndependent},
	"approvals-timely":      {"Was each approval recorded within a day of when it claims to be made?", askApprovalsTimely},
	"policy-in-force":       {"Is a policy in force in each environment with live deployments?", askPolicyInForce},
	"log-published":         {"Does a signed checkpoint cover every entry?", askLogPublished},
	"log-witnessed":         {"Did a witness cosign the checkpoint?", askLogWitnessed},
	"entries-usable":        {"Could every entry be used, and did the signatures of its evidence hold?", askEntriesUsable},
}

// Queries lists the questions, in alphabetical order.
func Queries() []string { return slices.Sorted(maps.Keys(queries)) }

var detectorNames = map[string]string{
	"L01": "stale credential inherited", "L02": "expired or revoked credential live", "L03": "overprivileged identity in chain",
	"L04": "orphaned owner", "L05": "unreviewed dependency", "L06": "deployed without valid approval",
	"L07": "approval expired, still deployed", "L08": "approved by author", "L09": "approval subject drift",
	"L10": "compromised input reused", "L11": "lineage gap", "L12": "subagent scope escalation", "L13": "unrooted delegation chain",
	"L14": "delegation lifetime, depth or cycle", "L15": "identity shared across boundaries", "L16": "leaked secret on live chain",
	"L17": "offboarding gap", "L18": "human uses NHI, or agent as human", "L19": "tool or policy drift", "L20": "weak trust binding",
	"L21": "unsafe rollback", "L22": "evidence integrity", "L23": "blast radius over budget",
}

// DetectorName gives what a detector looks for; "" when there is no such
// detector.
func DetectorName(id string) string { return detectorNames[id] }

// target is a thing that is deployed, in one environment.
type target struct {
	id  graph.ID
	env string
}

// targets gives what is live, each in its environments; of a release that is
// live nowhere, the release itself in the environment that was asked for.
func (s *scope) targets() []target {
	var out []target
	seen := map[target]bool{}
	add := func(t target) {
		if !seen[t] {
			seen[t] = true
			out = append(out, t)
		}
	}
	for _, d := range s.live() {
		for _, r := range d.placed {
			add(target{r.To, d.env})
		}
	}
	if len(out) == 0 && s.env != "" && len(s.o.Ref) > 0 {
		add(target{s.o.Ref[0], s.env})
	}
	return out
}

// byPolicy asks a policy of the library of everything that is deployed. Its
// verdict is the answer: allow is yes, deny no, undecided unknown.
func byPolicy(name string) func(*scope, *collector) {
	parsed := sync.OnceValues(func() (*policy.Policy, error) {
		text, err := policy.FromLibrary(name)
		if err != nil {
			return nil, err
		}
		p, err := policy.Parse(text)
		if err == nil {
			p.Source = "library:" + name
		}
		return p, err
	})
	return func(s *scope, c *collector) {
		p, err := parsed()
		if err != nil {
			c.err = err
			return
		}
		for _, t := range s.targets() {
			v, err := policy.Evaluate(p, s.v, policy.Question{Thing: t.id, Context: policy.Context{Log: s.o.Log.Origin, Environment: t.env, Stewards: s.o.Log.Stewards}})
			if err != nil {
				c.err = err
				return
			}
			it := verdictItem(v)
			it.Command = "stemma gate " + quote(v.Subject) + " --env " + quote(t.env) + " --policy " + p.Source + s.clocks()
			if !c.put(it) {
				return
			}
		}
	}
}

func verdictItem(v *policy.Verdict) Item {
	it := Item{Ref: v.Subject, Answer: Unknown, Says: "in " + v.Environment + ": "}
	switch v.Verdict {
	case policy.Allow:
		it.Answer = Yes
	case policy.Deny:
		it.Answer = No
	}
	why := ""
	for _, o := range v.Rules {
		it.Entries = append(it.Entries, o.Entries...)
		bad := o.Outcome == policy.Violated || o.Outcome == policy.Unknown && it.Answer != No
		switch {
		case o.Outcome == policy.Waived && it.Answer == Yes:
			it.Answer, why = Waived, o.Waiver
		case bad && why == "" && len(o.Reasons) > 0:
			why = o.Rule + ": " + o.Reasons[0]
		case bad && why == "":
			why = o.Rule
		}
	}
	if why == "" {
		why = v.Policy + " says " + v.Verdict
	}
	it.Says += why
	return it
}
