package mlflow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
	"github.com/stemma-lineage/stemma/statement"
)

// pageTimeout is how long one page may take.
const pageTimeout = 60 * time.Second

// maxPages is how many pages of one list are read before the list is taken to
// have no end.
const maxPages = 1_000_000

// Live reads a tracking server over HTTP (MLflow REST API 2.0, and 3.0 for
// traces), page by page, and yields the same Items as the saved responses
// give. It asks only; nothing is changed at the server. The client brings what
// the server wants to know of the caller, such as a token. The state of
// aliases and stages is dated by the Date that the server sends.
//
// Lists that the server does not have, such as logged models before MLflow 3,
// are told as refused Items. The error is for a server that cannot be reached,
// that denies access, or that fails in the middle, and ends the sequence.
func (im Importer) Live(ctx context.Context, base *url.URL, client *http.Client) iter.Seq2[importer.Item, error] {
	return func(yield func(importer.Item, error) bool) {
		l := &live{ctx: ctx, base: base, client: client, absent: map[string]bool{}, r: &reader{Options: im.Options, yield: yield}}
		if err := l.read(); err != nil && !l.r.done {
			yield(importer.Item{}, fmt.Errorf("reading the MLflow server %s: %w", base.Redacted(), err))
		}
	}
}

type live struct {
	ctx    context.Context
	base   *url.URL
	client *http.Client
	r      *reader
	absent map[string]bool // lists that the server said it does not have
}

// query is a list of the API. Its body is sent as JSON with POST, or as the
// URL's query with GET.
type query struct {
	path     string
	list     string
	post     bool
	body     map[string]any
	optional bool   // servers of some versions do not have it
	older    *query // what to ask instead where this is not served
}

// errNotServed says that the server does not know the list.
var errNotServed = errors.New("not served")

func (l *live) read() error {
	var experiments []string
	err := l.pages(query{path: "2.0/mlflow/experiments/search", list: "experiments", post: true,
		body: map[string]any{"max_results": 1000, "view_type": "ALL"}}, func(root rawjson.Node) {
		for x := range root.Get("experiments").All() {
			if id := x.Get("experiment_id").Text(); id != "" {
				experiments = append(experiments, id)
			}
		}
	})
	if err != nil {
		return err
	}
	for _, id := range experiments {
		location := map[string]any{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": map[string]any{"experiment_id": id}}
		for _, q := range []query{
			{path: "2.0/mlflow/runs/search", list: "runs", post: true, body: map[string]any{"experiment_ids": []string{id}, "max_results": 500, "run_view_type": "ALL"}},
			{path: "2.0/mlflow/logged-models/search", list: "models", post: true, optional: true, body: map[string]any{"experiment_ids": []string{id}, "max_results": 50}},
			{path: "3.0/mlflow/traces/search", list: "traces", post: true, body: map[string]any{"locations": []any{location}, "max_results": 500},
				older: &query{path: "2.0/mlflow/traces", list: "traces", optional: true, body: map[string]any{"experiment_ids": id, "max_results": 500}}},
		} {
			if err := l.pages(q, nil); err != nil {
				return err
			}
			if l.r.done {
				return nil
			}
		}
	}
	for _, q := range []query{
		{path: "2.0/mlflow/registered-models/search", list: "registered_models", body: map[string]any{"max_results": 100}},
		{path: "2.0/mlflow/registered-models/search", list: "registered_models", optional: true, body: map[string]any{"max_results": 100, "filter": "tags.`" + tagIsPrompt + "` = 'true'"}},
		{path: "2.0/mlflow/model-versions/search", list: "model_versions", body: map[string]any{"max_results": 1000}},
		{path: "2.0/mlflow/model-versions/search", list: "model_versions", optional: true, body: map[string]any{"max_results": 1000, "filter": "tags.`" + tagIsPrompt + "` = 'true'"}},
	} {
		if err := l.pages(q, nil); err != nil {
			return err
		}
		if l.r.done {
			return nil
		}
	}
	return nil
}

// pages reads a list to its end.
func (l *live) pages(q query, see func(root rawjson.Node)) error {
	token := ""
	if l.absent[q.path] {
		if q.older != nil {
			return l.pages(*q.older, see)
		}
		return nil
	}
	for n := 0; ; n++ {
		if n == maxPages {
			return fmt.Errorf("%s: more than %d pages; the server's paging has no end, ask who runs it", q.path, maxPages)
		}
		raw, at, err := l.page(q, token)
		if errors.Is(err, errNotServed) && q.older != nil && n == 0 {
			l.absent[q.path] = true
			return l.pages(*q.older, see)
		}
		if errors.Is(err, errNotServed) && q.optional && n == 0 {
			l.absent[q.path] = q.body["filter"] == nil
			l.r.refuse(q.path, 0, NotServed, "the server does not have this list, which is right for an older MLflow: %v", err)
			return nil
		}
		if err != nil {
			return err
		}
		next, err := l.take(q, raw, at, see)
		if err != nil || l.r.done || next == "" {
			return err
		}
		if next == token {
			return fmt.Errorf("%s: page %d names itself as the next; the server or a proxy before it repeats answers, turn its cache off", q.path, n+1)
		}
		token = next
	}
}

// take yields the Items of a page and gives the token of the next.
func (l *live) take(q query, raw []byte, at statement.Time, see func(rawjson.Node)) (next string, err error) {
	if l.r.Options.ObservedAt.IsZero() {
		l.r.Options.ObservedAt = at
		defer func() { l.r.Options.ObservedAt = statement.Time{} }()
	}
	text, quoted := quoteNumbers(raw)
	for v, err := range rawjson.Split(bytes.NewReader(text), l.r.maxDocument()+1<<20) {
		if err != nil {
			return "", err
		}
		if v.Fault != nil {
			return "", fmt.Errorf("%s: the answer is no JSON (%s: %s); is this the address of an MLflow server, and not of a page to sign in?", q.path, v.Fault.Reason, v.Fault.Detail)
		}
		root := rawjson.Parse(v.Bytes).Root()
		if root.Kind() != '{' {
			return "", fmt.Errorf("%s: the answer is no object; is this the address of an MLflow server?", q.path)
		}
		if see != nil {
			see(root)
		}
		v.Place = q.path
		if list := root.Get(q.list); list.Kind() == '[' && !emptyList(list) {
			l.r.page(v, []rawjson.Node{list}, quoted)
		}
		return root.Get("next_page_token").Text(), nil
	}
	return "", fmt.Errorf("%s: the answer is empty; is this the address of an MLflow server?", q.path)
}

func emptyList(n rawjson.Node) bool {
	for range n.All() {
		return false
	}
	return true
}

// page asks for one page.
func (l *live) page(q query, token string) (raw []byte, at statement.Time, err error) {
	ctx, cancel := context.WithTimeout(l.ctx, pageTimeout)
	defer cancel()
	req, err := l.request(ctx, q, token)
	if err != nil {
		return nil, at, err
	}
	resp, err := l.client.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // its URL may hold a password
		}
		if l.ctx.Err() != nil {
			return nil, at, l.ctx.Err()
		}
		return nil, at, fmt.Errorf("%s: %w; check that the server runs and that its address is right", q.path, err)
	}
	defer resp.Body.Close()
	limit := l.r.maxDocument()
	raw, err = io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, at, fmt.Errorf("%s: the answer broke off: %w; import again", q.path, err)
	}
	if err := l.status(q, resp, raw); err != nil {
		return nil, at, err
	}
	if int64(len(raw)) > limit {
		return nil, at, fmt.Errorf("%s: a page of more than %d bytes; export this experiment with mlflow-export-import instead", q.path, limit)
	}
	if t, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		at = statement.NewTime(t)
	}
	return raw, at, nil
}

func (l *live) request(ctx context.Context, q query, token string) (*http.Request, error) {
	u := l.base.JoinPath("api", q.path)
	var body io.Reader
	method := http.MethodGet
	if q.post {
		m := map[string]any{}
		for k, v := range q.body {
			m[k] = v
		}
		if token != "" {
			m["page_token"] = token
		}
		b, err := json.Marshal(m, json.Deterministic(true))
		if err != nil {
			return nil, err
		}
		method, body = http.MethodPost, bytes.NewReader(b)
	} else {
		v := url.Values{}
		for k, x := range q.body {
			v.Set(k, fmt.Sprint(x))
		}
		if token != "" {
			v.Set("page_token", token)
		}
		u.RawQuery = v.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if q.post {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

// status makes an error of an answer that is none.
func (l *live) status(q query, resp *http.Response, raw []byte) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	said := rawjson.Secrets(rawjson.Clip(strings.Join(strings.Fields(string(raw[:min(len(raw), 2000)])), " "), 300))
	what := q.path + ": the server answers " + strconv.Itoa(resp.StatusCode) + " " + http.StatusText(resp.StatusCode)
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%s; give a token or a user that may read all experiments and models", what)
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusBadRequest:
		return fmt.Errorf("%s (%w: %s); check the address, and that the server is MLflow 1.28 or newer", what, errNotServed, said)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return fmt.Errorf("%s (%s); it is busy, import again later", what, said)
	}
	return fmt.Errorf("%s (%s); look into the server's own messages", what, said)
}
