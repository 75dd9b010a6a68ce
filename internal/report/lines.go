package report

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/stemma-lineage/stemma/internal/query"
)

// Line writes one line of an answer that is given piece by piece.
func Line(w io.Writer, l *query.Line) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	if err := e.Encode(l); err != nil {
		return fmt.Errorf("writing answer: %w", err)
	}
	return nil
}
