package provjson

import (
	"net/url"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
)

// maxText is the longest value of a parameter or attribute, in bytes, and
// maxAttributes how many one thing has.
const (
	maxText       = 4096
	maxAttributes = 200
)

func clip(s string) string { return rawjson.Clip(s, maxText-40) }

// attributes gives the attributes of a thing that are no formal ones of PROV,
// by their names as written; the values of one name are joined.
func (t *teller) attributes(name, section string) map[string]string {
	var out map[string]string
	left := 0
	for _, r := range t.d.thing(name).records {
		if r.bundle != t.bundle || r.section != section {
			continue
		}
		for m := range r.node.All() {
			key := attributeName(m.Key())
			if key == "" {
				continue
			}
			text, whole := joined(m)
			if !whole {
				t.d.note("%s: a value of %s is no literal; kept in the evidence only", name, m.Key())
			}
			if text == "" {
				continue
			}
			if len(text) > maxText || len(key) > 200 || len(out) >= maxAttributes {
				left++
				continue
			}
			if out == nil {
				out = map[string]string{}
			}
			if old, ok := out[key]; ok && old != text {
				if len(old)+len(text) > maxText {
					left++
					continue
				}
				text = old + ", " + text
			}
			out[key] = text
		}
	}
	if left > 0 {
		t.d.note("%s: %d attributes are too long or too many; kept in the evidence only", name, left)
	}
	return out
}

// attributeName gives the name of an attribute as statements carry it, or ""
// for one that is said otherwise.
func attributeName(key string) string {
	switch key {
	case "prov:startTime", "prov:endTime":
		return ""
	case "prov:type", "prov:label", "prov:value", "prov:location":
		return strings.TrimPrefix(key, "prov:")
	case "prov:atLocation":
		return "location"
	}
	if rest, ok := strings.CutPrefix(key, attrPrefix); ok {
		if s, err := url.PathUnescape(rest); err == nil {
			return s
		}
		return rest
	}
	if strings.HasPrefix(key, "stemma:") {
		return ""
	}
	return key
}

func joined(m rawjson.Node) (text string, whole bool) {
	var parts []string
	whole = true
	for _, v := range values(m) {
		if v.text == "" {
			whole = whole && m.Kind() == '"'
			continue
		}
		parts = append(parts, v.text)
	}
	return strings.Join(parts, ", "), whole
}

// parameters gives the attributes of an activity, those that package report
// wrote in their own places.
func (t *teller) parameters(name string) (parameters, environment map[string]string) {
	for k, v := range t.attributes(name, "activity") {
		to, key := &parameters, k
		if t.d.thing(name).attribute(RefAttribute) != "" {
			switch {
			case k == "activity" || k == "state" || k == "inputsCompleteness" || k == "type" || k == "label",
				k == "startedAt" || k == "endedAt" || k == "observedAt":
				continue
			case strings.HasPrefix(k, "environment."):
				to, key = &environment, strings.TrimPrefix(k, "environment.")
			default:
				key = strings.TrimPrefix(k, "parameter.")
			}
		}
		if *to == nil {
			*to = map[string]string{}
		}
		(*to)[key] = v
	}
	if t.name != "" && parameters != nil {
		parameters["bundle"] = clip(t.name)
	}
	return parameters, environment
}
