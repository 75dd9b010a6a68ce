package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stemma-lineage/stemma/internal/evlog"
	"github.com/stemma-lineage/stemma/internal/graph"
	"github.com/stemma-lineage/stemma/internal/keys"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
	"github.com/stemma-lineage/stemma/vindex"
)

// Wanted is what somebody wants erased.
type Wanted struct {
	Entries []uint64
	Blobs   []string // SHA-256 in hexadecimal
	// Evidence asks for the evidence of the entries too, where no other entry
	// rests on it.
	Evidence bool
	Hide     []prov.Ref // names to hide beside those of persons
	Reason   string
	Basis    string
	Request  string
	At       time.Time
}

// ErasurePlan is an order before it is signed, with what whoever signs must
// know.
type ErasurePlan struct {
	Order    *statement.Erasure
	Subjects []statement.Subject
	Entries  []PlannedEntry
	Blobs    []PlannedBlob
	// Elsewhere are names that the order hides, and other entries that name
	// them still.
	Elsewhere []Elsewhere
}

// PlannedEntry is an entry that an order erases.
type PlannedEntry struct {
	Entry      uint64
	Type       string // of its statement; empty when nobody understands it
	RecordedBy string
	Was        []byte   // its statement
	Kept       []byte   // what is left of it
	Evidence   []string // that it rests on and that stays, by SHA-256
}

// PlannedBlob is evidence that an order erases.
type PlannedBlob struct {
	Digest string
	Here   bool
	Cited  []uint64 // entries that rest on it
}

// Elsewhere says which other entries name a thing.
type Elsewhere struct {
	Ref     prov.Ref
	Entries []uint64
}

func (w *Workspace) clock() time.Time {
	if w.now != nil {
		return w.now()
	}
	return time.Now()
}

// PlanErasure works out an order: what it takes out, and what is kept. The
// pseudonyms are made with a salt that is kept nowhere.
func (w *Workspace) PlanErasure(ctx context.Context, x Wanted) (*ErasurePlan, error) {
	hide := statement.Hide{Salt: make([]byte, 32), Refs: x.Hide}
	if _, err := rand.Read(hide.Salt); err != nil {
		return nil, err
	}
	p := &ErasurePlan{Order: &statement.Erasure{Rule: statement.KeepCore, Reason: x.Reason, LegalBasis: x.Basis, RequestedBy: x.Request, Role: RolePrivacy, At: statement.NewTime(x.At)}}
	wanted := slices.Clone(x.Entries)
	slices.Sort(wanted)
	hidden := map[prov.Ref]bool{}
	evidence := map[string]bool{}
	for _, n := range slices.Compact(wanted) {
		if err := w.planEntry(ctx, p, n, hide, hidden, evidence); err != nil {
			return nil, err
		}
	}
	blobs := slices.Clone(x.Blobs)
	cited, err := w.scan(ctx, p, hidden, evidence, blobs)
	if err != nil {
		return nil, err
	}
	if x.Evidence {
		for d := range evidence {
			if !slices.ContainsFunc(cited[d], func(e uint64) bool { return !slices.Contains(wanted, e) }) && w.Blobs.Has(d) {
				blobs = append(blobs, d)
			}
		}
	}
	slices.Sort(blobs)
	for _, d := range slices.Compact(blobs) {
		b := PlannedBlob{d, w.Blobs.Has(d), cited[d]}
		if err := w.Blobs.Erased(d); err != nil {
			return nil, err
		}
		if !b.Here {
			return nil, fmt.Errorf("%w: no evidence is kept under sha256:%s", evlog.ErrNotFound, d)
		}
		p.Blobs = append(p.Blobs, b)
		p.Order.Blobs = append(p.Order.Blobs, d)
	}
	for i := range p.Entries {
		p.Entries[i].Evidence = slices.DeleteFunc(p.Entries[i].Evidence, func(d string) bool { return slices.Contains(p.Order.Blobs, d) })
	}
	for _, e := range p.Order.Entries {
		p.Subjects = append(p.Subjects, statement.Subject{Digest: statement.DigestSet{"sha256": e.Content}})
	}
	for _, d := range p.Order.Blobs {
		p.Subjects = append(p.Subjects, statement.Subject{Digest: statement.DigestSet{"sha256": d}})
	}
	return p, nil
}

func (w *Workspace) planEntry(ctx context.Context, p *ErasurePlan, n uint64, hide statement.Hide, hidden map[prov.Ref]bool, evidence map[string]bool) error {
	content, err := w.Log.Entry(ctx, n)
	if err != nil {
		return err
	}
	s, err := statement.ReadStored(content)
	if err != nil {
		return err
	}
	if s.Erased {
		return fmt.Errorf("entry %d: %w already, by entry %d; what that order keeps stays in the log", n, evlog.ErrErased, s.ErasedBy)
	}
	x, err := statement.Erase(n, content, hide)
	if err != nil {
		return err
	}
	x.Keys = indexKeys(content)
	p.Order.Entries = append(p.Order.Entries, x)
	e := PlannedEntry{Entry: n, RecordedBy: s.RecordedBy, Kept: x.Keep}
	if s.Parsed.Envelope != nil {
		e.Was = s.Parsed.Envelope.Payload
	}
	if st := s.Parsed.Statement; st != nil {
		e.Type = st.PredicateType
		for _, r := range statement.Names(st) {
			if hide.Ref(r) != r {
				hidden[r] = true
			}
		}
		for _, d := range evidenceOf(st) {
			evidence[d] = true
			if w.Blobs.Has(d) {
				e.Evidence = append(e.Evidence, d)
			}
		}
	}
	if r, err := prov.ParseRef(s.RecordedBy); err == nil && hide.Ref(r) != r {
		hidden[r] = true
	}
	p.Entries = append(p.Entries, e)
	return nil
}

func evidenceOf(s *statement.Statement) (out []string) {
	if s == nil || s.Predicate == nil {
		return nil
	}
	for _, e := range statement.EvidenceOf(s.Predicate) {
		if d := e.Digest["sha256"]; d != "" {
			out = append(out, d)
		}
	}
	return out
}

// scan looks through the whole log for other entries that name what is hidden,
// and for those that rest on evidence.
func (w *Workspace) scan(ctx context.Context, p *ErasurePlan, hidden map[prov.Ref]bool, evidence map[string]bool, blobs []string) (cited map[string][]uint64, err error) {
	cited = map[string][]uint64{}
	h, err := w.Log.Head(ctx)
	if err != nil {
		return nil, err
	}
	named := map[prov.Ref][]uint64{}
	for e, err := range w.Log.Entries(ctx, 0, uint64(h.Size)) {
		if err != nil {
			return nil, err
		}
		s, err := statement.ReadStored(e.Content)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", e.Index, err)
		}
		if s.Parsed.Statement == nil {
			continue
		}
		for _, d := range evidenceOf(s.Parsed.Statement) {
			if evidence[d] || slices.Contains(blobs, d) {
				cited[d] = append(cited[d], e.Index)
			}
		}
		if slices.ContainsFunc(p.Order.Entries, func(x statement.ErasedEntry) bool { return x.Entry == e.Index }) {
			continue
		}
		names := statement.Names(s.Parsed.Statement)
		if r, err := prov.ParseRef(s.RecordedBy); err == nil {
			names = append(names, r)
		}
		for _, r := range names {
			if hidden[r] && (len(named[r]) == 0 || named[r][len(named[r])-1] != e.Index) {
				named[r] = append(named[r], e.Index)
			}
		}
	}
	for r, es := range named {
		p.Elsewhere = append(p.Elsewhere, Elsewhere{r, es})
	}
	slices.SortFunc(p.Elsewhere, func(a, b Elsewhere) int { return strings.Compare(a.Ref.Key(), b.Ref.Key()) })
	return cited, nil
}

// Erase signs an order and carries it out.
func (w *Workspace) Erase(ctx context.Context, k keys.Key, p *ErasurePlan, more ...statement.Signer) (evlog.Appended, error) {
	return w.Say(ctx, k, p.Subjects, p.Order, more...)
}

// erase appends an order that is verified and carries it out: by who has
// standing, and of nothing that is held.
func (w *Workspace) erase(ctx context.Context, it evlog.Item, order *statement.Erasure) (evlog.Appended, error) {
	who, err := prov.ParseRef(it.RecordedBy)
	if err != nil {
		return evlog.Appended{}, err
	}
	for {
		h, err := w.Log.Head(ctx)
		if err != nil {
			return evlog.Appended{}, err
		}
		if err := w.MayErase(ctx, who, order); err != nil {
			return evlog.Appended{}, err
		}
		if err := w.checkKeys(ctx, order); err != nil {
			return evlog.Appended{}, err
		}
		out, err := w.Log.Erase(ctx, it, uint64(h.Size))
		if errors.Is(err, evlog.ErrGrew) {
			continue // a hold may have been set in between
		}
		if err != nil {
			return out, err
		}
		return out, w.FinishErasures(ctx)
	}
}

// checkKeys compares the keys that an order tells with those of the contents,
// so that the roots of the index that were given out stay as they are.
func (w *Workspace) checkKeys(ctx context.Context, order *statement.Erasure) error {
	for _, e := range order.Entries {
		content, err := w.Log.Entry(ctx, e.Entry)
		if err != nil {
			return err
		}
		if !slices.Equal(e.Keys, indexKeys(content)) {
			return fmt.Errorf("the order does not state entry %d truly: keys are not those under which the index lists it", e.Entry)
		}
	}
	return nil
}

// indexKeys gives the keys of an entry as orders of erasure write them.
func indexKeys(content []byte) []string {
	var out []string
	for _, k := range vindex.Keys(content) {
		out = append(out, hex.EncodeToString(k[:]))
	}
	return out
}

// MayErase tells whether an identity may order this erasure now.
func (w *Workspace) MayErase(ctx context.Context, who prov.Ref, order *statement.Erasure) error {
	if order.Role != RolePrivacy {
		return fmt.Errorf("%w: an erasure is ordered in the role %s, this one says %q", ErrStanding, RolePrivacy, order.Role)
	}
	if err := w.Standing(ctx, who, RolePrivacy); err != nil {
		return err
	}
	return w.held(ctx, order)
}

// held refuses what a hold covers, and says by which.
func (w *Workspace) held(ctx context.Context, order *statement.Erasure) error {
	g, h, err := w.Graph(ctx)
	if err != nil {
		return err
	}
	v := g.At(prov.Now)
	cs := covers(v, holdsIn(v))
	if len(cs) == 0 {
		return nil
	}
	var problems []string
	wanted, blobs := map[uint64]bool{}, map[string]bool{}
	for _, e := range order.Entries {
		wanted[e.Entry] = true
	}
	for _, d := range order.Blobs {
		blobs[d] = true
		for _, c := range cs {
			if c.All || slices.Contains(c.Blobs, d) || c.names[prov.DigestRef("sha256", d).Key()] {
				problems = append(problems, fmt.Sprintf("evidence sha256:%s is held by %s", d, c))
			}
		}
	}
	for e, err := range w.Log.Entries(ctx, 0, uint64(h.Size)) {
		if err != nil {
			return err
		}
		if !wanted[e.Index] && len(blobs) == 0 {
			continue
		}
		s, err := statement.ReadStored(e.Content)
		if err != nil {
			return err
		}
		var names []prov.Ref
		if s.Parsed.Statement != nil {
			names = statement.Names(s.Parsed.Statement)
		}
		if r, err := prov.ParseRef(s.RecordedBy); err == nil {
			names = append(names, r)
		}
		for _, c := range cs {
			if !c.entry(e.Index, names) {
				continue
			}
			if wanted[e.Index] {
				problems = append(problems, fmt.Sprintf("entry %d is held by %s", e.Index, c))
			}
			for _, d := range evidenceOf(s.Parsed.Statement) {
				if blobs[d] && !c.All {
					problems = append(problems, fmt.Sprintf("evidence sha256:%s, on which entry %d rests, is held by %s", d, e.Index, c))
				}
			}
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("%w; nothing was erased\n  %s\nstemma log hold lift ends a hold", ErrHeld, strings.Join(problems, "\n  "))
}

// FinishErasures carries out what is left of orders whose content is gone from
// the log: it removes the evidence and whatever was derived from the content,
// and writes the store anew. It is done again from the start when it was cut
// off.
func (w *Workspace) FinishErasures(ctx context.Context) error {
	list, err := w.Log.Unfinished(ctx)
	if err != nil || len(list) == 0 {
		return err
	}
	for _, u := range list {
		for _, d := range u.Blobs {
			if err := w.Blobs.Erase(d, fmt.Sprintf("by entry %d of %s", u.By, w.Log.Origin())); err != nil {
				return unfinished(u.By, err)
			}
		}
	}
	if err := w.dropSnapshots(); err != nil {
		return unfinished(list[0].By, err)
	}
	w.mu.Lock()
	w.graph, w.loaded = nil, 0
	w.mu.Unlock()
	if err := w.Log.Scrub(ctx); err != nil {
		return unfinished(list[0].By, err)
	}
	for _, u := range list {
		if err := w.Log.Finish(ctx, u.By); err != nil {
			return unfinished(u.By, err)
		}
	}
	return nil
}

func unfinished(by uint64, err error) error {
	return fmt.Errorf("entry %d: the content is erased from the log, but not all that is left of it is gone yet; the next stemma command here finishes that: %w", by, err)
}

// dropSnapshots removes the snapshot file, and what a process that was killed
// left of one.
func (w *Workspace) dropSnapshots() error {
	list, err := filepath.Glob(filepath.Join(w.Dir, ".snapshot-*"))
	if err != nil {
		return err
	}
	for _, name := range append(list, w.path()) {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// upToDate tells whether a graph holds nothing that was erased since it was
// folded.
func (w *Workspace) upToDate(ctx context.Context, g *graph.Graph) (bool, error) {
	n, err := w.Log.ErasedEntries(ctx, g.Size())
	return n == g.ErasedEntries(), err
}
