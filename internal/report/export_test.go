package report

// For tests from outside.
var (
	OLPair  = olPair
	OLRunID = olRunID
)
