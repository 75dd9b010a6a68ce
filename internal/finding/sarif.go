package finding

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// WriteSARIF writes findings as SARIF 2.1.0 (OASIS), for tools that show the
// results of scanners. The subject is a logical location (section 3.33), the
// witness are related locations (3.27.22), a waiver is an accepted suppression
// (3.35), and first and last seen are the provenance (3.48). What is unknown is of the kind "open", which the standard has for
// what a tool could not decide (3.27.9).
func WriteSARIF(out io.Writer, fs []Finding, version string) error {
	index := map[string]int{}
	driver := sarifDriver{Name: "stemma", Version: version}
	for i, d := range detectors {
		index[d.ID] = i
		driver.Rules = append(driver.Rules, sarifRule{ID: d.ID, Name: d.Name, Short: sarifText{d.Says}, Help: sarifText{"To mend it: " + d.Mend + "."},
			Default: map[string]string{"level": sarifLevels[d.Severity]}, Properties: map[string]any{"tags": d.Controls, "security-severity": sarifScores[d.Severity]}})
	}
	run := sarifRun{Tool: sarifTool{driver}, Results: []sarifResult{}}
	for _, f := range fs {
		r := sarifResult{Rule: f.Detector, Index: index[f.Detector], Message: sarifText{f.text()}, Kind: "fail", Level: sarifLevels[f.Severity],
			Locations:    []sarifLocation{{Logical: []sarifLogical{{f.Subject, "object"}}}},
			Fingerprints: map[string]string{"stemmaFinding/v1": f.Fingerprint}, Properties: map[string]any{"entries": f.Entries}}
		switch f.Outcome {
		case Unknown:
			r.Kind, r.Level = "open", "none"
		case Clear:
			r.Kind, r.Level = "pass", "none"
		}
		if f.Severity != "" {
			r.Properties["severity"], r.Properties["security-severity"] = f.Severity, sarifScores[f.Severity]
		}
		if f.First != nil {
			r.Properties["firstSeen"] = f.First
			r.Provenance = &sarifProvenance{First: f.First.RecordedAt, Last: f.Last}
		}
		if f.Inputs != nil {
			r.Properties["severityInputs"] = f.Inputs
		}
		if len(f.Reasons) > 0 {
			r.Properties["reasons"] = f.Reasons
		}
		if len(f.NotWaived) > 0 {
			r.Properties["notWaived"] = f.NotWaived
		}
		if len(f.Controls) > 0 {
			r.Properties["controls"] = f.Controls
		}
		if f.Hidden > 0 {
			r.Properties["hidden"] = f.Hidden
		}
		for k, text := range map[string]string{"owner": f.Owner, "environment": f.Environment, "weakestGrade": f.Grade, "digest": f.Digest, "known": f.Known} {
			if text != "" {
				r.Properties[k] = text
			}
		}
		for i, h := range f.Witness {
			text := fmt.Sprintf("%s (entry %d)", h.Text(), h.Entry)
			r.Related = append(r.Related, sarifLocation{ID: i + 1, Message: &sarifText{text}, Logical: []sarifLogical{{h.To, "object"}}})
		}
		if w := f.Waiver; w != nil {
			r.Suppressions = []sarifSuppression{{"external", "accepted", w.By + " until " + w.Until + ": " + w.Reason}}
		}
		run.Results = append(run.Results, r)
	}
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(sarifLog{"https://json.schemastore.org/sarif-2.1.0.json", "2.1.0", []sarifRun{run}})
}

// Text gives a hop in one line.
func (h Hop) Text() string { return h.From + " " + h.Relation + " " + h.To }

func (f *Finding) text() string {
	var b strings.Builder
	b.WriteString(f.Subject + " is " + string(f.Outcome))
	for i, r := range f.Reasons {
		b.WriteString(map[bool]string{true: ": ", false: "; "}[i == 0] + r.Detail)
	}
	return b.String()
}

var (
	sarifLevels = map[Severity]string{Low: "note", Medium: "warning", High: "error", Critical: "error"}
	sarifScores = map[Severity]string{Low: "3.0", Medium: "5.5", High: "8.0", Critical: "9.5"}
)

type sarifLog struct {
	Schema  string     `json:"$schema"`
	Version string     `json:"version"`
	Runs    []sarifRun `json:"runs"`
}

type sarifRun struct {
	Tool    sarifTool     `json:"tool"`
	Results []sarifResult `json:"results"`
}

type sarifTool struct {
	Driver sarifDriver `json:"driver"`
}

type sarifDriver struct {
	Name    string      `json:"name"`
	Version string      `json:"version,omitempty"`
	Rules   []sarifRule `json:"rules"`
}

type sarifRule struct {
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	Short      sarifText         `json:"shortDescription"`
	Help       sarifText         `json:"help"`
	Default    map[string]string `json:"defaultConfiguration"`
	Properties map[string]any    `json:"properties"`
}

type sarifText struct {
	Text string `json:"text"`
}

type sarifResult struct {
	Rule         string             `json:"ruleId"`
	Index        int                `json:"ruleIndex"`
	Kind         string             `json:"kind"`
	Level        string             `json:"level"`
	Message      sarifText          `json:"message"`
	Locations    []sarifLocation    `json:"locations"`
	Related      []sarifLocation    `json:"relatedLocations,omitempty"`
	Fingerprints map[string]string  `json:"partialFingerprints"`
	Suppressions []sarifSuppression `json:"suppressions,omitempty"`
	Provenance   *sarifProvenance   `json:"provenance,omitempty"`
	Properties   map[string]any     `json:"properties"`
}

type sarifLocation struct {
	ID      int            `json:"id,omitempty"`
	Message *sarifText     `json:"message,omitempty"`
	Logical []sarifLogical `json:"logicalLocations"`
}

type sarifLogical struct {
	Name string `json:"fullyQualifiedName"`
	Kind string `json:"kind"`
}

type sarifProvenance struct {
	First string `json:"firstDetectionTimeUtc"`
	Last  string `json:"lastDetectionTimeUtc,omitempty"`
}

type sarifSuppression struct {
	Kind          string `json:"kind"`
	Status        string `json:"status"`
	Justification string `json:"justification"`
}
