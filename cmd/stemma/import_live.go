package main

import (
	"fmt"
	"iter"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stemma-lineage/stemma/internal/importer"
	"github.com/stemma-lineage/stemma/internal/importer/formats"
	"github.com/stemma-lineage/stemma/internal/importer/mlflow"
	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// tokenEnv is where MLflow's own clients look for a token.
const tokenEnv = "MLFLOW_TRACKING_TOKEN"

func mlflowFlags(c *cobra.Command, live bool) {
	c.Flags().String("mlflow-name", "", "of MLflow: the name of the server, where there are several; its models, prompts and experiments are named within it")
	c.Flags().String("observed-at", "", "of MLflow: when the files were as they are, for aliases and stages of which MLflow tells no time")
	if live {
		c.Flags().String("token-env", tokenEnv, "of MLflow: the environment variable that holds the server's token")
	}
}

func mlflowOptions(c *cobra.Command) (o mlflow.Options, err error) {
	o.Server, _ = c.Flags().GetString("mlflow-name")
	if s, _ := c.Flags().GetString("observed-at"); s != "" {
		t, err := prov.ParseTime(s)
		if err != nil {
			return o, usage("--observed-at: %v", err)
		}
		o.ObservedAt = statement.NewTime(t)
	}
	return o, nil
}

// isServer tells whether an argument is the address of a server.
func isServer(arg string) bool {
	return strings.HasPrefix(arg, "http://") || strings.HasPrefix(arg, "https://")
}

// server gives what a server is read by. Only MLflow's are.
func (i *importing) server(arg string, ims []importer.Importer, sure bool) (*fileImport, error) {
	im, ok := ims[0].(mlflow.Importer)
	if !sure || !ok {
		return nil, usage("%s is the address of a server, and only those of MLflow are read, with stemma import mlflow", arg)
	}
	u, err := url.Parse(arg)
	if err != nil || u.Host == "" {
		return nil, usage("the address of the server cannot be read; write https://host:port")
	}
	if u.User != nil {
		return nil, usage("a user and password stand in the address, where others can see them; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or the variable of --token-env")
	}
	u.RawQuery, u.Fragment = "", ""
	env, _ := i.c.Flags().GetString("token-env")
	client, err := mlflowClient(u, env, i.c.Flags().Changed("token-env"))
	if err != nil {
		return nil, err
	}
	f := &fileImport{refused: map[string]int{}, first: map[string]string{}}
	f.Path, f.Format = u.String(), im
	f.read = func() iter.Seq2[importer.Item, error] { return im.Live(i.c.Context(), u, client) }
	return f, nil
}

// mlflowClient gives a client that waits no longer than a page may take, and
// tells the server, and no other that it leads to, who is asking.
func mlflowClient(base *url.URL, env string, must bool) (*http.Client, error) {
	token := os.Getenv(env)
	if token == "" && must {
		return nil, usage("--token-env: the environment variable %s is not set", env)
	}
	user, password := os.Getenv("MLFLOW_TRACKING_USERNAME"), os.Getenv("MLFLOW_TRACKING_PASSWORD")
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:   15 * time.Second,
		ResponseHeaderTimeout: time.Minute,
		IdleConnTimeout:       time.Minute,
		ForceAttemptHTTP2:     true,
	}
	return &http.Client{Timeout: 5 * time.Minute, Transport: asking(func(r *http.Request) (*http.Response, error) {
		if r.URL.Scheme == base.Scheme && r.URL.Host == base.Host && (token != "" || user != "") {
			r = r.Clone(r.Context())
			if token != "" {
				r.Header.Set("Authorization", "Bearer "+token)
			} else {
				r.SetBasicAuth(user, password)
			}
		}
		return t.RoundTrip(r)
	})}, nil
}

type asking func(*http.Request) (*http.Response, error)

func (a asking) RoundTrip(r *http.Request) (*http.Response, error) { return a(r) }

// known tells what the aliases of a series point at, as far as the log says.
func (i *importing) known() (importer.Known, error) {
	g, _, err := i.w.Graph(i.c.Context())
	if err != nil {
		return nil, fmt.Errorf("reading what aliases point at: %w", err)
	}
	return func(registry string, series prov.Ref, at prov.Instant) map[string]prov.Ref {
		v := g.At(prov.AsOf{Valid: at, Known: prov.AllKnown})
		out := map[string]prov.Ref{}
		for _, a := range v.Aliases(registry, series) {
			if !a.Stage {
				out[a.Name] = v.Ref(a.To)
			}
		}
		return out
	}, nil
}

// options gives what the importers are told.
func (i *importing) options() (o formats.Options, err error) {
	if o.MLflow, err = mlflowOptions(i.c); err != nil {
		return o, err
	}
	if err = inventoryOptions(i.c, &o); err != nil {
		return o, err
	}
	return o, addTrust(i.c, i.w, &o)
}
