package finding

import (
	"strings"

	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/prov"
)

// Detector looks for one thing that can be wrong.
type Detector struct {
	ID, Name string
	Says     string // what is wrong when it is violated
	Severity Severity
	Mend     string
	Controls []string

	of    []prov.Kind // kinds of its subjects
	check func(s *scope, id graph.ID) *result
}

// Detectors lists the detectors in the order of their ids.
func Detectors() []Detector { return detectors }

// Find finds a detector by its id or name, without regard to case.
func Find(text string) (Detector, bool) {
	for _, d := range detectors {
		if strings.EqualFold(d.ID, text) || strings.EqualFold(d.Name, text) {
			return d, true
		}
	}
	return Detector{}, false
}

var (
	deployments = []prov.Kind{prov.Deployment}
	approvals   = []prov.Kind{prov.Approval}
	credentials = []prov.Kind{prov.Credential, prov.Secret}
	accounts    = []prov.Kind{prov.ServiceAccount, prov.Workload, prov.Subagent, prov.Role, prov.Agent}
	actors      = []prov.Kind{prov.Subagent, prov.Agent, prov.Workload, prov.ServiceAccount, prov.Tool}
	made        = []prov.Kind{prov.Dataset, prov.FeatureSet, prov.Model, prov.Code, prov.Image, prov.Activity}
	held        = []prov.Kind{prov.ServiceAccount, prov.Workload, prov.Subagent, prov.Role, prov.Credential, prov.Secret}
)

func list(s string) []string { return strings.Split(s, ", ") }

var detectors = []Detector{
	{"L01", "stale-credential-inherited", "A live deployment authenticates with a credential that is too old or long unused.", High, "rotate the credential, then record the new version and deploy with it",
		list("NHI7:2025, NHI1:2025, ASI03, PR.AA-01, ID.AM-08, MAP 4.2, MEASURE 2.7, MANAGE 4.1"), credentials, staleCredential},
	{"L02", "expired-or-revoked-credential-live", "A credential that expired or was revoked is on a live deployment, or was used after its end.", Medium, "rotate the credential, and look at what used it after its end",
		list("NHI1:2025, NHI4:2025, ASI03, PR.AA-01, PR.AA-03, RS.MI-01, MEASURE 2.7, MANAGE 2.4"), credentials, endedCredential},
	{"L03", "overprivileged-identity-in-chain", "An identity of a live deployment holds a grant without bounds.", High, "grant only what is used",
		list("NHI5:2025, ASI03, PR.AA-05, MAP 4.2, MEASURE 2.7"), accounts, overprivileged},
	{"L04", "orphaned-owner", "Something that a live deployment rests on has no active person who answers for it.", High, "name an owner who is an active person, or a team with members",
		list("NHI1:2025, ASI10, GV.RR-02, ID.AM-08, GOVERN 2.1, GOVERN 1.6"), deployments, orphaned},
	{"L05", "unreviewed-dependency", "Something from outside that a live deployment rests on was not reviewed before it went live.", High, "stemma approve the dependency for a review",
		list("NHI3:2025, ASI04, GV.SC-07, ID.RA-09, PR.PS-06, GOVERN 6.1, MAP 4.1, MANAGE 3.2"), deployments, unreviewed},
	{"L06", "deployed-without-valid-approval", "It was deployed when no approval of its content counted there.", Critical, "stemma approve the content for the environment, or take it down",
		list("ID.RA-07, PR.PS-01, PR.PS-05, MANAGE 1.1, GOVERN 1.4"), deployments, unapproved},
	{"L07", "approval-expired-still-deployed", "It is live, and the approval with which it was deployed counts no more.", Medium, "stemma approve the content again, or take it down",
		list("ID.RA-07, ID.AM-08, GOVERN 1.5, MANAGE 4.1"), deployments, lapsed},
	{"L08", "approved-by-author", "Who approved it made it, or was no person with the right to approve.", High, "have somebody else approve it",
		list("NHI10:2025, ASI09, PR.AA-05, GV.RR-02, MEASURE 1.3, GOVERN 3.2"), approvals, ownWork},
	{"L09", "approval-subject-drift", "What is live is not the content that was approved.", High, "approve the content that is live, by its digest",
		list("ASI04, ID.RA-07, PR.PS-01, PR.DS-01, MEASURE 2.4, MANAGE 4.1"), deployments, drifted},
	{"L10", "compromised-input-reused", "Something under a notice was used after it went bad.", High, "stemma blast lists what was made with it; make that anew",
		list("NHI3:2025, ASI06, ID.AM-07, RS.AN-03, RS.AN-08, DE.AE-04, MAP 2.3, MANAGE 2.3, MANAGE 4.3"), []prov.Kind{prov.Notice}, reused},
	{"L11", "lineage-gap", "No entry says how it was made or where it came from.", Medium, "record the activity that made it, or its origin",
		list("ID.AM-02, ID.AM-07, GOVERN 1.6, MEASURE 2.8, MAP 4.1"), made, lineageGap},
	{"L12", "subagent-scope-escalation", "A delegation gives more than who gave it had.", Critical, "delegate no more than the parent's scope",
		list("NHI5:2025, ASI03, PR.AA-05, PR.AA-04, GOVERN 3.2, MAP 3.5"), actors, escalated},
	{"L13", "unrooted-delegation-chain", "A chain of delegations leads back to no active person.", High, "record the missing hop, or name an owner who is an active person",
		list("NHI10:2025, NHI1:2025, ASI03, ASI10, PR.AA-04, GV.RR-02, GOVERN 2.1, MAP 3.5, MEASURE 2.8"), actors, unrooted},
	{"L14", "delegation-lifetime-depth-cycle", "A delegation outlives its parent, was given outside its time, is too deep, or leads back to itself.", High, "end the delegation no later than its parent",
		list("NHI7:2025, ASI08, PR.AA-01, PR.AA-04, MANAGE 2.4, MAP 3.5"), actors, outlives},
	{"L15", "shared-identity-across-boundaries", "One identity or credential serves production and other environments, many services, or both ends of a delegation.", High, "give each environment, service and agent an identity of its own",
		list("NHI8:2025, NHI9:2025, ASI03, PR.AA-05, PR.IR-01, MAP 4.2, MEASURE 2.7"), append([]prov.Kind{prov.Agent, prov.Tool}, held...), shared},
	{"L16", "leaked-secret-on-live-chain", "A secret that leaked is on a live deployment and was not rotated since.", Critical, "rotate the secret now",
		list("NHI2:2025, PR.DS-01, PR.AA-01, DE.CM-09, MEASURE 2.7, MEASURE 2.10, MANAGE 2.3"), credentials, leaked},
	{"L17", "offboarding-gap", "Who owned it left or was retired, and it is still in use.", High, "give it another owner, or take it away",
		list("NHI1:2025, ASI10, ID.AM-08, GV.SC-10, PR.AA-01, GOVERN 1.7, MANAGE 2.4"), held, offboarded},
	{"L18", "human-use-of-nhi-or-agent-as-human", "An agent acted as a person, or a person as an account, without a delegation.", Medium, "record for whom the agent acts, and give it an identity of its own",
		list("NHI10:2025, ASI03, ASI09, PR.AA-03, DE.CM-03, GOVERN 3.2, MEASURE 2.8"), []prov.Kind{prov.Activity}, disguised},
	{"L19", "tool-or-policy-drift", "What runs under a live deployment called a tool that was not deployed with it, or other content of one that was.", High, "deploy with the tools that are called, by their digests",
		list("NHI3:2025, ASI02, ASI04, PR.PS-01, PR.PS-05, DE.CM-09, MEASURE 2.4, MANAGE 3.1"), deployments, toolDrift},
	{"L20", "weak-trust-binding", "Anybody, or a federated party without a condition, may act as an identity of a live deployment.", High, "bind the trust to a subject and an audience",
		list("NHI4:2025, NHI6:2025, ASI03, PR.AA-02, PR.AA-03, PR.AA-05, MEASURE 2.7, MAP 4.2"), accounts, weakTrust},
	{"L21", "unsafe-rollback", "A rollback brought back content that is not approved or is under a notice, or other identities, credentials or policy than it had.", High, "approve what was brought back, with what it runs with",
		list("RC.RP-05, ID.RA-07, MANAGE 2.4, MANAGE 4.1"), deployments, unsafeRollback},
	{"L22", "evidence-integrity", "An approval was backdated, recorded too late, or made of evidence whose check failed.", Critical, "have the decision made and recorded before it is needed",
		list("RS.AN-06, RS.AN-07, PR.PS-04, MEASURE 2.8, GOVERN 1.4"), approvals, backdated},
	{"L23", "blast-radius-budget", "More live deployments in production depend on one identity or credential than the budget allows.", High, "split the identity or credential",
		list("NHI5:2025, NHI9:2025, ASI08, ID.AM-05, DE.AE-04, RS.AN-08, MAP 5.1, MANAGE 1.2"), held, overBudget},
}

// byKind gives the positions of the detectors of each kind of subject.
var byKind = func() map[prov.Kind][]int {
	out := map[prov.Kind][]int{}
	for i, d := range detectors {
		for _, k := range d.of {
			out[k] = append(out[k], i)
		}
	}
	return out
}()
