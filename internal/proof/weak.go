package proof

import "github.com/stemma-lineage/stemma/statement"

// Unstated stands for the completeness of inputs that no entry states.
const Unstated = "unstated"

// Classes are the classes of completeness of an activity's inputs, strongest
// first.
var Classes = []string{statement.Enforced, statement.Observed, statement.Declared, statement.BestEffort, Unstated}

// rank is the place of a class in Classes: more is weaker.
func rank(class string) int {
	for i, c := range Classes {
		if c == class {
			return i
		}
	}
	return len(Classes) - 1
}

func (c *clock) class() string {
	if c.inputs == "" {
		return Unstated
	}
	return c.inputs
}
