package intoto

import (
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// build is what the versions of SLSA provenance have in common.
type build struct {
	builder, invocation string
	plan                prov.Ref
	used                *uses
	parameters          *texts
	environment         *texts
	start, end          statement.Time
	completeness        string
	byproducts          rawjson.Node
}

// activity adds the activity whose outputs are the subjects, and what is said
// of its byproducts.
func (u *unit) activity(b build) {
	id := u.activityID(b.builder, b.invocation)
	a := &statement.Activity{Kind: "build", ID: id.String(), Used: b.used.list, InputsCompleteness: b.completeness,
		Identities: u.party(prov.Workload, b.builder, "builder"), Parameters: b.parameters.done(), Environment: b.environment.done()}
	if !b.plan.IsZero() && fits(b.plan) {
		p := statement.NewResource(b.plan, nil)
		a.Plan = &p
	}
	u.period(a, b.start, b.end)
	u.add(a, u.about()...)
	for i, n := range elements(b.byproducts) {
		place := "predicate.runDetails.byproducts[" + itoa(i) + "]"
		t, ok := u.descriptor(n, place)
		if !ok {
			u.note("%s names nothing; it is in the evidence only", place)
			continue
		}
		attrs := u.texts()
		attrs.set("byproductOf", id.String())
		attrs.set("mediaType", n.Get("mediaType").Text())
		u.add(&statement.Entity{State: "described", At: b.end, Attributes: attrs.done()}, t.subject())
	}
}

// provenanceV1 reads SLSA provenance v1 (slsa.dev/spec, build provenance).
func (u *unit) provenanceV1() {
	def, run := u.predicate.Get("buildDefinition"), u.predicate.Get("runDetails")
	meta := run.Get("metadata")
	b := build{builder: run.Get("builder").Get("id").Text(), invocation: meta.Get("invocationId").Text(),
		used: u.uses(), parameters: u.parameters(), environment: u.texts(), byproducts: run.Get("byproducts"),
		start: u.time(meta.Get("startedOn"), "predicate.runDetails.metadata.startedOn"),
		end:   u.time(meta.Get("finishedOn"), "predicate.runDetails.metadata.finishedOn"),
		// SLSA 1.x, resolvedDependencies: "best effort", up to build level 3.
		completeness: statement.BestEffort}
	buildType := def.Get("buildType").Text()
	b.parameters.set("buildType", buildType)
	external := def.Get("externalParameters")
	b.parameters.flat("externalParameters", external)
	b.environment.flat("internalParameters", def.Get("internalParameters"))
	b.environment.flat("builder.version", run.Get("builder").Get("version"))
	w := external.Get("workflow")
	b.plan = u.plan(w.Get("repository").Text(), w.Get("path").Text(), w.Get("ref").Text(), buildType)
	b.used.all(def.Get("resolvedDependencies"), "material", "predicate.buildDefinition.resolvedDependencies")
	b.used.all(run.Get("builder").Get("builderDependencies"), "builder", "predicate.runDetails.builder.builderDependencies")
	if src := external.Get("source"); src.Kind() == '{' {
		if t, ok := u.descriptor(src, "predicate.buildDefinition.externalParameters.source"); ok {
			b.used.add(t, "source-code")
		}
	}
	u.keptOnly("predicate.", u.predicate, "buildDefinition", "runDetails")
	u.keptOnly("predicate.buildDefinition.", def, "buildType", "externalParameters", "internalParameters", "resolvedDependencies")
	u.keptOnly("predicate.runDetails.", run, "builder", "metadata", "byproducts")
	u.keptOnly("predicate.runDetails.metadata.", meta, "invocationId", "startedOn", "finishedOn")
	u.keptOnly("predicate.runDetails.builder.", run.Get("builder"), "id", "version", "builderDependencies")
	u.activity(b)
}

// provenanceV02 reads SLSA provenance v0.2.
func (u *unit) provenanceV02() {
	p := u.predicate
	inv, meta := p.Get("invocation"), p.Get("metadata")
	src, env := inv.Get("configSource"), inv.Get("environment")
	b := build{builder: p.Get("builder").Get("id").Text(), used: u.uses(), parameters: u.parameters(), environment: u.texts(),
		start: u.time(meta.Get("buildStartedOn"), "predicate.metadata.buildStartedOn"),
		end:   u.time(meta.Get("buildFinishedOn"), "predicate.metadata.buildFinishedOn"),
	}
	b.invocation = firstText(meta, "buildInvocationId", "buildInvocationID")
	repo, _, _ := prov.Repository(src.Get("uri").Text(), true)
	if run := githubRun(env, repo); run != "" {
		b.invocation = run
	}
	b.completeness = completeness(meta.Get("completeness").Get("materials"))
	b.parameters.set("buildType", p.Get("buildType").Text())
	b.parameters.flat("parameters", inv.Get("parameters"))
	b.parameters.node("reproducible", meta.Get("reproducible"))
	b.environment.flat("", env)
	b.plan = u.plan(src.Get("uri").Text(), src.Get("entryPoint").Text(), "", p.Get("buildType").Text())
	if src.Get("uri").Text() != "" {
		if t, ok := u.descriptor(src, "predicate.invocation.configSource"); ok {
			b.used.add(t, "source-code")
		}
	}
	b.used.all(p.Get("materials"), "material", "predicate.materials")
	u.keptOnly("predicate.", p, "builder", "buildType", "invocation", "metadata", "materials")
	u.keptOnly("predicate.invocation.", inv, "configSource", "parameters", "environment")
	u.keptOnly("predicate.metadata.", meta, "buildInvocationId", "buildInvocationID", "buildStartedOn", "buildFinishedOn", "completeness", "reproducible")
	u.activity(b)
}

// provenanceV01 reads SLSA provenance v0.1 and the in-toto Provenance v0.1
// that it came from.
func (u *unit) provenanceV01() {
	p := u.predicate
	recipe, meta := p.Get("recipe"), p.Get("metadata")
	b := build{builder: p.Get("builder").Get("id").Text(), used: u.uses(), parameters: u.parameters(), environment: u.texts(),
		start:      u.time(meta.Get("buildStartedOn"), "predicate.metadata.buildStartedOn"),
		end:        u.time(meta.Get("buildFinishedOn"), "predicate.metadata.buildFinishedOn"),
		invocation: firstText(meta, "buildInvocationId", "buildInvocationID"),
	}
	materials := elements(p.Get("materials"))
	in := ""
	if i := index(recipe.Get("definedInMaterial").Text()); i >= 0 && i < len(materials) {
		in = materials[i].Get("uri").Text()
		if t, ok := u.descriptor(materials[i], "predicate.materials["+itoa(i)+"]"); ok {
			b.used.add(t, "source-code")
		}
	}
	repo, _, _ := prov.Repository(in, true)
	if run := githubRun(recipe.Get("environment"), repo); run != "" {
		b.invocation = run
	}
	complete := meta.Get("completeness").Get("materials")
	if !complete.Given() {
		complete = meta.Get("materialsComplete")
	}
	b.completeness = completeness(complete)
	buildType := recipe.Get("type").Text()
	b.parameters.set("buildType", buildType)
	b.parameters.flat("arguments", recipe.Get("arguments"))
	b.parameters.node("reproducible", meta.Get("reproducible"))
	b.environment.flat("", recipe.Get("environment"))
	b.plan = u.plan(in, recipe.Get("entryPoint").Text(), "", buildType)
	b.used.all(p.Get("materials"), "material", "predicate.materials")
	u.keptOnly("predicate.", p, "builder", "recipe", "metadata", "materials")
	u.keptOnly("predicate.recipe.", recipe, "type", "definedInMaterial", "entryPoint", "arguments", "environment")
	u.activity(b)
}

func index(s string) int {
	if s == "" || len(s) > 6 {
		return -1
	}
	n := 0
	for _, c := range s {
		if c < '0' || c > '9' {
			return -1
		}
		n = n*10 + int(c-'0')
	}
	return n
}

func firstText(n rawjson.Node, names ...string) string {
	for _, m := range names {
		if s := n.Get(m).Text(); s != "" {
			return s
		}
	}
	return ""
}

// completeness reads the claim that the materials are all. Only a plain yes
// is one.
func completeness(n rawjson.Node) string {
	if n.Kind() == 't' {
		return statement.Declared
	}
	return statement.BestEffort
}

// plan names what was followed: a file in a repository, else the build type.
func (u *unit) plan(repo, path, ref, buildType string) prov.Ref {
	if r, revision, ok := prov.Repository(repo, true); ok {
		repo = r
		if ref == "" && strings.HasPrefix(revision, "refs/") {
			ref = revision
		}
	} else {
		repo = bare(repo)
	}
	switch {
	case path != "" && repo != "" && !strings.Contains(path, "://"):
		return prov.Ref{Kind: prov.Plan, Name: strings.TrimRight(repo, "/") + "/" + strings.TrimLeft(path, "/"), Version: ref}
	case strings.Contains(path, "://"):
		return prov.Ref{Kind: prov.Plan, Name: bare(path), Version: ref}
	case repo != "":
		return prov.Ref{Kind: prov.Plan, Name: repo, Version: ref}
	case buildType != "":
		return prov.Ref{Kind: prov.Plan, Name: buildType}
	}
	return prov.Ref{}
}

// githubRun gives the URL of a GitHub Actions run, as provenance v1 names it,
// out of the variables that older versions hold.
func githubRun(env rawjson.Node, repo string) string {
	get := func(name string) string {
		if s := env.Get(name).Text(); s != "" {
			return s
		}
		return env.Get(strings.ToLower(name)).Text()
	}
	id := get("GITHUB_RUN_ID")
	if id == "" {
		return ""
	}
	if r := get("GITHUB_REPOSITORY"); r != "" {
		server := get("GITHUB_SERVER_URL")
		if server == "" {
			server = "https://github.com"
		}
		repo = bare(server) + "/" + r
	}
	if !strings.Contains(repo, "://") {
		return ""
	}
	attempt := get("GITHUB_RUN_ATTEMPT")
	if attempt == "" {
		attempt = "1"
	}
	return repo + "/actions/runs/" + id + "/attempts/" + attempt
}
