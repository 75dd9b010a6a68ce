package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// canary is a value that must never be kept. It looks like no secret, so that
// only its place gives it away.
func canary(n int) string { return fmt.Sprintf("canarybird%04dofthecoalmine", n) }

// planted are inventories with canaries in every place that holds a secret, %s
// for the canary and %b for its base64.
var planted = map[string]string{
	"list.json": `{"apiVersion":"v1","kind":"List","items":[
{"kind":"ServiceAccount","metadata":{"name":"keptmarker","namespace":"prod","uid":"1"}},
{"kind":"Secret","metadata":{"name":"s","namespace":"prod","uid":"2","annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{\"data\":{\"k\":\"%b\"}}"}},"data":{"k":"%b","n":{"m":["%s"]}},"stringData":{"k":"%s"}},
{"kind":"ConfigMap","metadata":{"name":"c","namespace":"prod"},"data":{"k":"%s"},"binaryData":{"k":"%b"}},
{"kind":"Pod","metadata":{"name":"p","namespace":"prod","uid":"3"},"spec":{"containers":[{"name":"c","image":"img:1","command":["%s"],"args":["--password","%s"],"env":[{"name":"K","value":"%s"}],"livenessProbe":{"httpGet":{"httpHeaders":[{"name":"Authorization","value":"%s"}]}}}]}}]}`,
	"secret.json": `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"one","namespace":"prod","uid":"4"},"data":"%b"}`,
	"manifest.yaml": "# %s\napiVersion: v1\nkind: Secret\nmetadata: {name: y, namespace: prod}\nstringData:\n  a: \"%s\"\n  b: |\n    %s\n---\n" +
		"apiVersion: v1\nkind: Secret\nmetadata: {name: z}\ndata: {k: &k %b, l: *k}\n---\nkind: [%s\n",
	"broken.json":  `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"},"data":{"k":"%s"`,
	"details.json": `{"UserDetailList":[{"Arn":"arn:aws:iam::123456789012:user/u","SecretAccessKey":"%s"}]}`,
	"trail.json": `{"Records":[
{"eventVersion":"1.08","eventTime":"2026-01-01T00:00:00Z","eventSource":"sts.amazonaws.com","eventName":"AssumeRole","recipientAccountId":"123456789012","userIdentity":{"type":"IAMUser","userName":"u"},"requestParameters":{"roleArn":"arn:aws:iam::123456789012:role/r","roleSessionName":"s"},"responseElements":{"credentials":{"accessKeyId":"ASIAAAAAAAAAAAAAAAAA","secretAccessKey":"%s","sessionToken":"%s"}}},
{"eventVersion":"1.08","eventTime":"2026-01-01T00:00:01Z","eventSource":"secretsmanager.amazonaws.com","eventName":"CreateSecret","recipientAccountId":"123456789012","userIdentity":{"type":"IAMUser","userName":"u"},"requestParameters":{"name":"n","secretString":"%s","secretBinary":"%b"}},
{"eventVersion":"1.08","eventTime":"2026-01-01T00:00:02Z","eventSource":"iam.amazonaws.com","eventName":"CreateLoginProfile","recipientAccountId":"123456789012","userIdentity":{"type":"IAMUser","userName":"u"},"requestParameters":{"userName":"u","password":"%s"}}]}`,
	"workloads.json": `{"apiVersion":"v1","kind":"List","items":[
{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d","namespace":"prod","uid":"9","annotations":{"note/url":"https://u:%s@h.example/x?token=%s","kubectl.kubernetes.io/last-applied-configuration":"{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"env\":[{\"name\":\"K\",\"value\":\"%s\"}]}]}}}}"}},"spec":{"template":{"spec":{"serviceAccountName":"keptmarker","containers":[{"name":"c","image":"img:1","env":[{"name":"K","value":"%s"}]}],"initContainers":[{"name":"i","image":"img:1","env":[{"name":"K","value":"%s"}]}]}}}},
{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"noted","namespace":"prod","uid":"10","annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{\"metadata\":{\"annotations\":{\"k\":\"%s\"}}}"}}}]}`,
	"trail2.json": `{"Records":[
{"eventVersion":"1.08","eventTime":"2026-01-01T00:00:03Z","eventSource":"ec2.amazonaws.com","eventName":"RunInstances","recipientAccountId":"123456789012","userIdentity":{"type":"IAMUser","userName":"u"},"requestParameters":{"userData":"%b","instancesSet":{"items":[{"userData":"%s"}]}}},
{"eventVersion":"1.08","eventTime":"2026-01-01T00:00:04Z","eventSource":"lambda.amazonaws.com","eventName":"UpdateFunctionConfiguration20150331v2","recipientAccountId":"123456789012","userIdentity":{"type":"IAMUser","userName":"u"},"requestParameters":{"functionName":"f","environment":{"variables":{"K":"%s"}}}},
{"eventVersion":"1.08","eventTime":"2026-01-01T00:00:05Z","eventSource":"ssm.amazonaws.com","eventName":"PutParameter","recipientAccountId":"123456789012","userIdentity":{"type":"IAMUser","userName":"u"},"requestParameters":{"name":"n","value":"%s"}},
{"eventVersion":"1.08","eventTime":"2026-01-01T00:00:06Z","eventSource":"iam.amazonaws.com","eventName":"CreateAccessKey","recipientAccountId":"123456789012","userIdentity":{"type":"IAMUser","userName":"u"},"requestParameters":{"userName":"u"},"responseElements":{"accessKey":{"userName":"u","accessKeyId":"AKIAAAAAAAAAAAAAAAAA","status":"Active","secretAccessKey":"%s"}}}]}`,
	"compute.json": `[{"asset_type":"compute.googleapis.com/Instance","name":"//compute.googleapis.com/projects/p/zones/z/instances/i","resource":{"data":{"metadata":{"items":[{"key":"startup-script","value":"K=%s"}]}}}},{"asset_type":"iam.googleapis.com/ServiceAccount","name":"//iam.googleapis.com/projects/p/serviceAccounts/b@p.iam.gserviceaccount.com","resource":{"data":{"email":"b@p.iam.gserviceaccount.com"}}}]`,
	"remote.json":  `{"mcpServers":{"b":{"type":"sse","url":"https://h.example/sse?api_key=%s","headers":{"Authorization":"Bearer %s"}},"c":{"command":"sh","args":["-c","K=%s run"],"env":{"A":"%s"}}}}`,
	"carded.json":  `{"name":"b","version":"1","url":"https://u:%s@b.example/?key=%s","protocolVersion":"0.2.5","capabilities":{},"securitySchemes":{"k":{"type":"apiKey","name":"X","in":"header"}},"skills":[{"id":"s"}],"x-note":"https://h.example/?a=b&key=%s"}`,
	"key.json":     `{"type":"service_account","client_email":"a@p.iam.gserviceaccount.com","private_key_id":"k","private_key":"%s"}`,
	"assets.json":  `[{"asset_type":"iam.googleapis.com/ServiceAccountKey","name":"//iam.googleapis.com/projects/p/serviceAccounts/a@p/keys/k","resource":{"data":{"privateKeyData":"%b"}}}]`,
	"github.json":  `{"graph":{"nodes":[{"id":"U","kinds":["GH_User"],"properties":{"login":"u"}},{"id":"A","kinds":["GH_SecretScanningAlert"],"properties":{"secret":"%s","created_at":"2026-01-01T00:00:00Z"}},{"id":"W","kinds":["GH_Workflow"],"properties":{"contents":"K: %s"}}],"edges":[]}}`,
	"mcp.json":     `{"mcpServers":{"a":{"command":"x","args":["--key","%s"],"env":{"K":"%s"},"headers":{"X":"%s"},"url":"https://u:%s@h.example/"}}}`,
	"server.json":  `{"$schema":"https://static.modelcontextprotocol.io/x","name":"io.x/y","version":"1","packages":[{"registryType":"npm","identifier":"x","version":"1","environmentVariables":[{"name":"K","value":"%s","default":"%s"}],"runtimeArguments":[{"type":"named","name":"--k","value":"%s"}]}],"remotes":[{"type":"sse","url":"https://h","headers":[{"name":"A","value":"%s"}]}]}`,
	"card.json":    `{"name":"a","version":"1","url":"https://a.example","capabilities":{"token":"%s"},"skills":[{"id":"s"}]}`,
	"scim.json":    `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"1","password":"%s","clientSecret":"%s"}`,
	"entries.json": `{"entries":[{"spiffe_id":"spiffe://a.example/x","parent_id":"spiffe://a.example/p","selectors":[{"type":"a","value":"b"}],"join_token":"%s"}]}`,
	"audit.ndjson": `{"time":"2026-01-01T00:00:00Z","type":"response","auth":{"client_token":"%s","accessor":"acc","entity_id":"e"},"request":{"operation":"read","path":"secret/data/x","mount_type":"kv","data":{"k":"%s"},"headers":{"x":["%s"]}},"response":{"data":{"data":{"k":"%s"}},"wrap_info":{"token":"%s"}}}`,
	"token.jwt":    "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIiwiYXpwIjoiYiIsImV4cCI6MTc4NjAwMTgwMH0.%b",
	"claims.json":  `{"iss":"https://i.example","sub":"s","aud":"a","exp":1786001800,"client_id":"c","access_token":"%s"}`,
}

// forms gives how a value can stand in bytes: as it is, in hexadecimal, and in
// base64 at each of the three places where it can begin.
func forms(s string) [][]byte {
	out := [][]byte{[]byte(s), []byte(hex.EncodeToString([]byte(s))), []byte(strings.ToUpper(hex.EncodeToString([]byte(s))))}
	for pad := range 3 {
		for _, e := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
			enc := e.EncodeToString([]byte(strings.Repeat("x", pad) + s))
			out = append(out, []byte(enc[(pad*8+5)/6:len(enc)-4]))
		}
	}
	return out
}

// TestNoSecretIsKept imports inventories with secrets in them and searches
// everything that is then on disk or was written to the terminal.
func TestNoSecretIsKept(t *testing.T) {
	in, dir := t.TempDir(), t.TempDir()
	t.Setenv("STEMMA_CONFIG", filepath.Join(dir, "config"))
	t.Setenv("STEMMA_PRINCIPAL", "person:test@example.org")
	var wanted []string
	for name, text := range planted {
		var b strings.Builder
		for {
			i := strings.IndexByte(text, '%')
			if i < 0 {
				break
			}
			b.WriteString(text[:i])
			s := canary(len(wanted))
			wanted = append(wanted, s)
			if text[i+1] == 'b' {
				s = base64.StdEncoding.EncodeToString([]byte(s))
			}
			b.WriteString(s)
			text = text[i+2:]
		}
		b.WriteString(text)
		if err := os.WriteFile(filepath.Join(in, name), []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stemma(t, "init", "--dir", dir)
	said := stemmaSays(t, "import", "auto", "--dir", dir, in)
	for _, name := range []string{"list.json", "broken.json", "manifest.yaml"} { // also where the format is told
		said += stemmaSays(t, "import", "kubernetes", "--dir", dir, filepath.Join(in, name))
	}
	said += stemmaSays(t, "show", "--dir", dir, "secret:prod/s")
	for _, f := range []string{"text", "json", "csv", "sarif"} {
		said += stemmaSays(t, "findings", "--dir", dir, "--outcome", "violated,unknown,clear", "-o", f)
	}
	for _, f := range []string{"text", "json", "csv", "oscal", "poam"} {
		said += stemmaSays(t, "controls", "--dir", dir, "--framework", "nhi", "-o", f)
	}
	said += stemmaSays(t, "search", "--dir", dir, "a")
	search(t, "what was said", []byte(said), wanted)
	seen := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		seen += bytes.Count(data, []byte("keptmarker"))
		search(t, path, data, wanted)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen == 0 {
		t.Error("a name that is kept was not found either: the search does not see what is stored")
	}
	if n := strings.Count(said, "not recognised"); n > 0 {
		t.Errorf("%d files were not recognised:\n%s", n, said)
	}
}

func search(t *testing.T, where string, data []byte, wanted []string) {
	t.Helper()
	for _, s := range wanted {
		for _, f := range forms(s) {
			if i := bytes.Index(data, f); i >= 0 {
				t.Errorf("%s holds %s: …%q…", where, s, data[max(0, i-80):min(len(data), i+60)])
				break
			}
		}
	}
}

// stemmaSays gives all that a command wrote; it may fail.
func stemmaSays(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("stemma", args...).CombinedOutput()
	if err != nil {
		t.Logf("stemma %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}
