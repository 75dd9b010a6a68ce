package proof

import (
	"fmt"
	"strings"
)

// Log names the log and the checkpoint under which an answer was proved.
type Log struct {
	Origin    string
	Size      uint64 // of the checkpoint
	Root      string // of the log, in hexadecimal
	IndexRoot string // in hexadecimal
}

// Text gives the answer in words that somebody can sign. It depends on nothing
// but the answer and the log, so that a verifier can write it anew.
func (a *Answer) Text(l Log) string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-10s %s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(&b, "%s\n", a.Verdict)
	line("question", "%s", a.Question.text())
	line("answer", "%s", a.sentence())
	line("covers", "%s of log %s: what was recorded, and nothing else", count(int(a.Covered), "the 1 entry", "all %d entries"), l.Origin)
	line("checkpoint", "%d entries, root %s; index root %s", l.Size, l.Root, l.IndexRoot)
	if x := a.After; x != nil {
		line("T", "%s", x.text())
	}
	if a.Question.Verb != Approvals {
		line("inputs", "%s", a.inputs())
	}
	if !a.Named {
		line("name", "no entry names %s; is it written as it was recorded?", a.Question.Thing.Ref)
	}
	if len(a.Doubts) == 0 {
		line("doubts", "none")
	}
	a.details(&b)
	return b.String()
}

func count(n int, one, many string) string {
	if n == 1 {
		return one
	}
	if strings.Contains(many, "%d") {
		return fmt.Sprintf(many, n)
	}
	return fmt.Sprintf("%d %s", n, many)
}

func (q Question) text() string {
	name := q.Thing.Ref
	if q.Thing.Namespace != "" {
		name += " (namespace " + q.Thing.Namespace + ")"
	}
	if q.Versions {
		name += " (all versions)"
	}
	switch q.Verb {
	case Unused:
		t := q.After
		switch {
		case t == "" && q.Size == 0:
			return fmt.Sprintf("was %s, or anything made with it, ever used?", name)
		case t == "":
			t = fmt.Sprintf("the moment at which the log had %s", count(int(q.Size), "1 entry", "entries"))
		}
		return fmt.Sprintf("was %s, or anything made with it, used at or after T, %s?", name, t)
	case Blast:
		return fmt.Sprintf("what was made with %s?", name)
	case Why:
		return fmt.Sprintf("what was %s made from?", name)
	}
	return fmt.Sprintf("which decisions were made on %s?", name)
}

func (x *After) text() string {
	if x.Size == 0 && x.Time == "" {
		return "the beginning of the log"
	}
	s := fmt.Sprintf("%s; %s recorded before it", x.Time, count(int(x.Size), "1 entry was", "%d entries were"))
	if x.Before != "" {
		s += ", the last at " + x.Before
	}
	if x.Next != "" {
		s += ", the next at " + x.Next
	} else {
		s += "; none was recorded later"
	}
	return s + ", by the clock of the log's operator"
}

// sentence says the verdict in a sentence.
func (a *Answer) sentence() string {
	n := 0
	for _, u := range a.Uses {
		if u.When == after {
			n++
		}
	}
	uses := count(len(a.Uses), "1 relation is recorded", "%d relations are recorded")
	doubts := count(len(a.Doubts), "see the 1 doubt below", "see the %d doubts below")
	switch {
	case a.Verdict == Inconclusive && a.Question.Verb == Why:
		return fmt.Sprintf("%s; whether there are others, it cannot be said: %s", uses, doubts)
	case a.Verdict == Inconclusive && a.Question.Verb == Approvals:
		return fmt.Sprintf("%s; whether there are others, it cannot be said: %s", count(len(a.Decisions), "1 decision is recorded", "%d decisions are recorded"), doubts)
	case a.Verdict == Inconclusive:
		return fmt.Sprintf("it cannot be said: %s", doubts)
	case a.Question.Verb == Approvals && a.Verdict == ProvenAbsent:
		return "no entry decides on it"
	case a.Question.Verb == Approvals:
		return fmt.Sprintf("%s, and no other entry decides on it", count(len(a.Decisions), "the 1 decision below is recorded", "the %d decisions below are recorded"))
	case a.Question.Verb == Why && a.Verdict == ProvenAbsent:
		return "no entry says what it was made from"
	case a.Question.Verb == Why:
		return fmt.Sprintf("%s, and no other entry says what it was made from", uses)
	case a.Verdict == ProvenAbsent:
		return "no entry says that it, or anything made with it, was used"
	case a.Verdict == ProvenNotAfter:
		return fmt.Sprintf("%s, each recorded before T and dated before T; no entry says that it, or anything made with it, was used at or after T", uses)
	case a.Question.Verb == Unused && a.After.Time != "":
		return fmt.Sprintf("yes: %s recorded at or after T and dated then", count(n, "1 use was", "%d uses were"))
	}
	return fmt.Sprintf("yes: %s", uses)
}

func (a *Answer) inputs() string {
	if a.Weakest == "" {
		return "no activity was met; taken as complete: " + a.Question.Accept + " or stronger"
	}
	n := map[string]int{}
	for _, m := range a.Members {
		n[m.Inputs]++
	}
	var parts []string
	for _, c := range Classes {
		if n[c] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[c], c))
		}
	}
	return fmt.Sprintf("the weakest class of the activities met is %s (%s); taken as complete: %s or stronger", a.Weakest, strings.Join(parts, ", "), a.Question.Accept)
}

// names gives, for content that has one name, that name.
func (a *Answer) names() map[string]string {
	out := map[string]string{}
	for _, m := range a.Members {
		if len(m.Names) == 1 {
			out[m.Ref] = m.Names[0]
		}
	}
	return out
}

func (a *Answer) details(b *strings.Builder) {
	names := a.names()
	name := func(ref string) string {
		if n := names[ref]; n != "" {
			return n
		}
		return ref
	}
	if len(a.Doubts) > 0 {
		b.WriteString("doubts\n")
		for _, d := range a.Doubts {
			fmt.Fprintf(b, "  %s: %s%s\n", d.Code, d.Text, cite(d.Entries))
		}
	}
	if len(a.Decisions) > 0 {
		b.WriteString("decisions\n")
		for _, m := range a.Decisions {
			fmt.Fprintf(b, "  entry %d  recorded %s  %s\n", m.Entry, m.Recorded, m.text())
		}
	}
	if len(a.Uses) > 0 {
		b.WriteString("relations\n")
		for _, u := range a.Uses {
			at := ""
			if u.At != "" {
				at = "  dated " + u.At
			}
			when := ""
			if u.When != "" {
				when = "  " + u.When
			}
			fmt.Fprintf(b, "  entry %d  recorded %s%s%s  %s %s %s\n", u.Entry, u.Recorded, at, when, name(u.From), u.Type, name(u.To))
		}
	}
	if len(a.Retracted) > 0 {
		b.WriteString("retracted, and not counted\n")
		for _, r := range a.Retracted {
			fmt.Fprintf(b, "  entry %d%s\n", r.Entry, strings.Replace(cite(r.By), " (", " (by ", 1))
		}
	}
}

func (m Made) text() string {
	s := fmt.Sprintf("%s: %s, %s review, by %s", m.Ref, m.Decision, m.Review, m.Approver)
	if m.Role != "" {
		s += " as " + m.Role
	}
	if len(m.Environments) > 0 {
		s += " for " + strings.Join(m.Environments, ", ")
	}
	if m.At != "" {
		s += ", dated " + m.At
	}
	if m.Until != "" {
		s += ", until " + m.Until
	}
	s += ", of " + strings.Join(m.Of, ", ")
	if len(m.RevokedBy) > 0 {
		s += "; taken back or replaced" + strings.Replace(cite(m.RevokedBy), " (", " (by ", 1)
	}
	return s
}

// maxCited is how many entries a line of text names; the answer names all.
const maxCited = 8

func cite(entries []uint64) string {
	if len(entries) == 0 {
		return ""
	}
	var list []string
	for i, e := range entries {
		if i == maxCited {
			list = append(list, fmt.Sprintf("and %d more, in answer.json", len(entries)-i))
			break
		}
		list = append(list, fmt.Sprint(e))
	}
	return fmt.Sprintf(" (%s %s)", plural(len(entries)), strings.Join(list, ", "))
}

func plural(n int) string {
	if n == 1 {
		return "entry"
	}
	return "entries"
}
