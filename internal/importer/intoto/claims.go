package intoto

import (
	"strconv"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// Predicates that say something of their subjects. None of them becomes an
// approval or a verdict of ours: a gate counts what its own people signed.

// verificationSummary reads a SLSA VSA, v0.1 to v1.
func (u *unit) verificationSummary() {
	p, t := u.predicate, u.claim()
	t.set("vsa.result", firstText(p, "verificationResult", "verification_result"))
	t.set("vsa.verifier", p.Get("verifier").Get("id").Text())
	t.flat("vsa.verifier.version", p.Get("verifier").Get("version"))
	t.set("vsa.resourceUri", firstText(p, "resourceUri", "resource_uri"))
	t.flat("vsa.policy", p.Get("policy"))
	t.flat("vsa.levels", p.Get("verifiedLevels"))
	t.set("vsa.levels", firstText(p, "policyLevel", "policy_level"))
	t.flat("vsa.dependencyLevels", p.Get("dependencyLevels"))
	t.set("vsa.slsaVersion", p.Get("slsaVersion").Text())
	inputs := p.Get("inputAttestations")
	if !inputs.Given() {
		inputs = p.Get("input_attestations")
	}
	t.flat("vsa.input", inputs)
	at := p.Get("timeVerified")
	if !at.Given() {
		at = p.Get("time_verified")
	}
	u.keptOnly("predicate.", p, "verifier", "timeVerified", "time_verified", "resourceUri", "resource_uri", "policy", "inputAttestations",
		"input_attestations", "verificationResult", "verification_result", "verifiedLevels", "policyLevel", "policy_level", "dependencyLevels", "slsaVersion")
	u.describeAt(t, u.time(at, "predicate.timeVerified"))
}

// verificationResult reads an SVR (in-toto predicate svr).
func (u *unit) verificationResult() {
	p, t := u.predicate, u.claim()
	t.set("svr.verifier", p.Get("verifier").Get("id").Text())
	t.flat("svr.policy", p.Get("verifier").Get("policies"))
	t.flat("svr.policy", p.Get("policies"))
	t.flat("svr.properties", p.Get("properties"))
	at := p.Get("timeCreated")
	if !at.Given() {
		at = p.Get("timeVerified")
	}
	u.keptOnly("predicate.", p, "verifier", "timeCreated", "timeVerified", "properties", "policies")
	u.describeAt(t, u.time(at, "predicate.timeCreated"))
}

// testResult reads the in-toto predicate test-result: the tests used the
// subjects and their configuration, and the subjects have the result.
func (u *unit) testResult() {
	p := u.predicate
	url := p.Get("url").Text()
	if url != "" {
		url += "#test" // the run at this URL may have done other things too
	}
	id := u.activityID("test", url)
	used, params := u.uses(), u.parameters()
	for _, s := range u.subjects {
		used.add(s, "tested")
	}
	used.all(p.Get("configuration"), "configuration", "predicate.configuration")
	params.set("result", p.Get("result").Text())
	t := u.claim()
	t.set("test-result.result", p.Get("result").Text())
	t.set("test-result.activity", id.String())
	for _, m := range []string{"passedTests", "warnedTests", "failedTests"} {
		if n := len(elements(p.Get(m))); n > 0 {
			params.set(m+".count", itoa(n))
			params.flat(m, p.Get(m))
			t.set("test-result."+m+".count", itoa(n))
		}
	}
	u.keptOnly("predicate.", p, "result", "configuration", "url", "passedTests", "warnedTests", "failedTests")
	u.add(&statement.Activity{Kind: "evaluate", ID: id.String(), Used: used.list, Parameters: params.done(), InputsCompleteness: statement.Declared},
		statement.NewSubject(id, nil))
	u.describe(t)
}

// scai reads the in-toto predicate SCAI attribute report.
func (u *unit) scai() {
	p, t := u.predicate, u.claim()
	for i, a := range elements(p.Get("attributes")) {
		name := a.Get("attribute").Text()
		if name == "" {
			u.note("predicate.attributes[%d] names no attribute; it is in the evidence only", i)
			continue
		}
		key := "scai." + rawjson.Clip(name, 200)
		t.set(key, "yes")
		t.flat(key+".target", a.Get("target"))
		t.flat(key+".conditions", a.Get("conditions"))
		t.flat(key+".evidence", a.Get("evidence"))
	}
	t.flat("scai.producer", p.Get("producer"))
	u.keptOnly("predicate.", p, "attributes", "producer")
	u.describe(t)
}

// release reads the in-toto predicate release: the subjects are part of it.
func (u *unit) release() {
	p, t := u.predicate, u.claim()
	t.set("release.packageId", firstText(p, "packageId", "releaseId"))
	purl := p.Get("purl").Text()
	t.set("release.purl", purl)
	t.flat("release.repository", p.Get("repository"))
	t.flat("release.tag", p.Get("tag"))
	u.keptOnly("predicate.", p, "packageId", "releaseId", "purl", "repository", "tag")
	e := &statement.Entity{State: "described", Attributes: t.done()}
	if r := named(purl, digests{}, ""); r.Kind == prov.Package && fits(r) {
		e.PartOf = []statement.Resource{statement.NewResource(r, nil)}
	}
	u.add(e, u.about()...)
}

// reference reads the in-toto predicate reference: documents about the
// subjects, such as a model card or a bill of materials.
func (u *unit) reference() {
	p, t := u.predicate, u.claim()
	t.set("reference.attester", p.Get("attester").Get("id").Text())
	t.flat("reference", p.Get("references"))
	u.keptOnly("predicate.", p, "attester", "references")
	u.describe(t)
	for i, n := range elements(p.Get("references")) {
		place := "predicate.references[" + itoa(i) + "]"
		r, ok := u.descriptor(n, place)
		if !ok {
			u.note("%s names nothing; it is in the evidence only", place)
			continue
		}
		if r.ref.Kind == prov.File {
			r.ref.Kind = prov.Document
		}
		d := u.texts()
		d.set("mediaType", n.Get("mediaType").Text())
		for k, s := range u.subjects {
			if k == 20 {
				u.note("%s speaks of more than 20 subjects; the rest is in the evidence only", place)
				break
			}
			d.set("about["+itoa(k)+"]", s.label())
		}
		u.add(&statement.Entity{State: "described", Attributes: d.done()}, r.subject())
	}
}

// label gives the text that finds the thing again.
func (t thing) label() string {
	if c := t.digest.Content(); !c.IsZero() {
		return c.String()
	}
	return t.ref.String()
}

// runtimeTrace reads the in-toto predicate runtime-trace: what a monitor saw
// of the activity that made the subjects.
func (u *unit) runtimeTrace() {
	p := u.predicate
	log, meta, proc := p.Get("monitorLog"), p.Get("metadata"), p.Get("monitoredProcess")
	used, params := u.uses(), u.parameters()
	outputs := map[string]bool{}
	for _, s := range u.subjects {
		outputs[s.label()] = true
	}
	for i, n := range elements(log.Get("fileAccess")) {
		place := "predicate.monitorLog.fileAccess[" + itoa(i) + "]"
		if t, ok := u.descriptor(n, place); !ok {
			u.note("%s names nothing; it is in the evidence only", place)
		} else if !outputs[t.label()] {
			used.add(t, "file")
		}
	}
	params.flat("monitor", p.Get("monitor"))
	params.flat("monitoredProcess", proc)
	for _, m := range []string{"process", "network"} {
		if n := log.Get(m); n.Given() {
			params.set(m+".count", itoa(len(elements(n))))
			u.note("kept in the evidence only: predicate.monitorLog.%s", m)
		}
	}
	u.keptOnly("predicate.", p, "monitor", "monitoredProcess", "monitorLog", "metadata")
	u.keptOnly("predicate.monitorLog.", log, "process", "network", "fileAccess")
	id := u.activityID(proc.Get("hostID").Text(), proc.Get("event").Text())
	a := &statement.Activity{Kind: "build", ID: id.String(), Used: used.list, Parameters: params.done(), InputsCompleteness: statement.BestEffort,
		Identities: u.party(prov.Workload, proc.Get("hostID").Text(), "builder")}
	// That everything was seen is believed of a monitor whose signature holds.
	if log.Get("fileAccess").Given() && u.check.Result == statement.CheckVerified {
		a.InputsCompleteness = statement.Observed
	}
	u.period(a, u.time(meta.Get("buildStartedOn"), "predicate.metadata.buildStartedOn"), u.time(meta.Get("buildFinishedOn"), "predicate.metadata.buildFinishedOn"))
	u.add(a, u.about()...)
}

// review reads reviews by people: crev, GUAC's certify, and the proposed
// human-review predicates. They describe the subjects; they approve nothing.
func (u *unit) review() {
	p, t := u.predicate, u.claim()
	at := statement.Time{}
	for m := range p.All() {
		switch m.Key() {
		case "date", "reviewTime":
			at = u.time(m, "predicate."+m.Key())
			t.set("review.date", m.Text())
		case "reviewer-id", "reviewer", "certifier":
			t.flat("review.reviewer", m)
		case "reviewers":
			t.flat("review.reviewer", m)
		case "full_review", "reviewLink":
			t.set("review.link", m.Text())
		default:
			t.flat("review."+m.Key(), m)
		}
	}
	u.describeAt(t, at)
}

// scorecard reads an OpenSSF Scorecard result as a predicate.
func (u *unit) scorecard() {
	t := u.claim()
	at := u.scores(t, u.predicate)
	u.describeAt(t, at)
}

// scorecardFile reads a Scorecard result by itself.
func (u *unit) scorecardFile(root rawjson.Node) {
	u.predicateType = "https://scorecard.dev/result"
	repo, commit := root.Get("repo").Get("name").Text(), root.Get("repo").Get("commit").Text()
	if repo == "" || len(commit) > 64 {
		u.refuse(MissingSubject, "repo.name", "is missing; a Scorecard result names the repository that it is about")
		return
	}
	if !strings.Contains(repo, "://") {
		repo = "https://" + repo
	}
	d := digests{set: statement.DigestSet{}, commit: strings.ToLower(commit)}
	name := named(repo, d, "")
	if !fits(name) {
		u.refuse(BadField, "repo.name", "is too long for a Ref")
		return
	}
	if name.Kind == prov.Code && d.commit != "" {
		d.set["gitCommit"] = d.commit
	}
	u.subjects = []thing{{ref: name, digest: d.set}}
	t := u.claim()
	at := u.scores(t, root)
	u.describeAt(t, at)
}

func (u *unit) scores(t *texts, n rawjson.Node) statement.Time {
	t.node("scorecard.score", n.Get("score"))
	t.set("scorecard.version", n.Get("scorecard").Get("version").Text())
	for _, c := range elements(n.Get("checks")) {
		if name := c.Get("name").Text(); name != "" {
			t.node("scorecard.check."+rawjson.Clip(name, 100), c.Get("score"))
		}
	}
	u.note("kept in the evidence only: the reasons and details of the checks")
	u.keptOnly("", n, "date", "repo", "scorecard", "score", "checks")
	return u.time(n.Get("date"), "date")
}

// maxNotices is how many vulnerabilities of one Statement become notices.
const maxNotices = 2000

// vulnerabilities reads in-toto vulns v0.1 and v0.2 and cosign's vuln: the
// scan describes the subjects, and each finding is a notice on them.
func (u *unit) vulnerabilities() {
	p, t := u.predicate, u.claim()
	scanner, meta := p.Get("scanner"), p.Get("metadata")
	t.set("vulns.scanner", scanner.Get("uri").Text())
	t.set("vulns.scanner.version", scanner.Get("version").Text())
	t.flat("vulns.scanner.db", scanner.Get("db"))
	t.flat("vulns.invocation", p.Get("invocation"))
	t.set("vulns.scanStartedOn", meta.Get("scanStartedOn").Text())
	at := u.time(meta.Get("scanFinishedOn"), "predicate.metadata.scanFinishedOn")
	found := u.findings(scanner.Get("result"))
	t.set("vulns.found", itoa(len(found)))
	u.keptOnly("predicate.", p, "scanner", "metadata", "invocation")
	u.keptOnly("predicate.scanner.", scanner, "uri", "version", "db", "result")
	var ids []string
	for _, f := range found {
		ids = append(ids, f.id)
	}
	t.set("vulns.ids", strings.Join(ids, ", "))
	u.describeAt(t, at)
	if u.check.Result == statement.CheckFailed && len(found) > 0 {
		u.note("the signatures do not hold, so the findings make no notices")
		return
	}
	for i, f := range found {
		if i == maxNotices {
			u.note("%d findings; those after the first %d are in the evidence only", len(found), maxNotices)
			break
		}
		id := prov.Ref{Kind: prov.Notice, Name: f.id}
		if !fits(id) {
			continue
		}
		u.add(&statement.Notice{Kind: "vulnerable", ID: id.String(), Severity: f.severity, Source: rawjson.Clip(scanner.Get("uri").Text(), 500), At: at}, u.about()...)
	}
}

type finding struct{ id, severity string }

// findings reads the list of findings, or a Trivy report in its place.
func (u *unit) findings(result rawjson.Node) []finding {
	var out []finding
	seen := map[string]bool{}
	add := func(n rawjson.Node) {
		id := firstText(n, "id", "vulnerability_id", "VulnerabilityID", "vulnerabilityId")
		if id == "" {
			id = n.Get("vulnerability").Get("id").Text()
		}
		if id == "" || len(id) > 500 {
			u.note("a finding without an id is in the evidence only")
			return
		}
		if !seen[id] {
			seen[id] = true
			out = append(out, finding{id, severity(n)})
		}
	}
	for _, n := range elements(result) {
		add(n)
	}
	for _, r := range elements(result.Get("Results")) {
		for _, n := range elements(r.Get("Vulnerabilities")) {
			add(n)
		}
	}
	for _, m := range elements(result.Get("matches")) { // Grype
		add(m.Get("vulnerability"))
	}
	if result.Kind() == '{' && len(out) == 0 {
		u.note("kept in the evidence only: predicate.scanner.result, whose form is not known")
	}
	return out
}

// severity reads a word, or a CVSS score by the bands of CVSS 3.1 section 5.
func severity(n rawjson.Node) string {
	words := []string{firstText(n, "severity", "Severity")}
	for _, s := range elements(n.Get("severity")) {
		words = append(words, s.Get("score").Text(), s.Get("rating").Text())
	}
	for _, w := range words {
		switch l := strings.ToLower(w); l {
		case "low", "medium", "high", "critical":
			return l
		case "moderate":
			return "medium"
		}
		f, err := strconv.ParseFloat(w, 64)
		switch {
		case err != nil || f <= 0 || f > 10:
		case f >= 9:
			return "critical"
		case f >= 7:
			return "high"
		case f >= 4:
			return "medium"
		default:
			return "low"
		}
	}
	return ""
}
