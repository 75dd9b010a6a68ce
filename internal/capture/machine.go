package capture

import (
	"os"
	"runtime"
	"strings"

	"github.com/stemma-lineage/stemma/internal/importer/rawjson"
)

var containerID = lazily(`(docker|libpod|cri-containerd|crio|containerd|kubepods|lxc)[^\n]*?([0-9a-f]{64})`)

// imageVariables name the image that a container was started from, where
// whoever started it says so.
var imageVariables = []string{"STEMMA_IMAGE", "CONTAINER_IMAGE", "IMAGE_DIGEST", "CI_JOB_IMAGE"}

// machine tells what the run ran on: never a host's, user's or network's name.
func machine(root string, get func(string) string) (env map[string]string, image string) {
	env = map[string]string{"os": runtime.GOOS, "arch": runtime.GOARCH}
	read := func(name string) string {
		b, err := os.ReadFile(root + name)
		if err != nil || len(b) > 1<<16 {
			return ""
		}
		return string(b)
	}
	for line := range strings.Lines(read("/etc/os-release")) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
			env["system"] = strings.Trim(v, `"'`)
		}
	}
	if v := strings.TrimSpace(read("/proc/sys/kernel/osrelease")); v != "" {
		env["kernel"] = v
	}
	if m := containerID().FindStringSubmatch(read("/proc/self/cgroup")); m != nil {
		env["container"] = m[1] + " " + m[2][:12]
	} else if _, err := os.Stat(root + "/.dockerenv"); err == nil {
		env["container"] = "docker"
	}
	if text := read("/run/.containerenv"); text != "" || exists(root+"/run/.containerenv") {
		if env["container"] == "" {
			env["container"] = "podman"
		}
		for line := range strings.Lines(text) {
			k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
			switch v = strings.Trim(v, `"`); {
			case k == "image" && v != "":
				image = v
			case k == "imageid" && len(v) == 64:
				env["imageID"] = "sha256:" + v
			}
		}
	}
	if get("KUBERNETES_SERVICE_HOST") != "" {
		env["orchestrator"] = "kubernetes"
	}
	for _, name := range imageVariables {
		if v := get(name); v != "" && image == "" && len(v) < 1000 {
			image = rawjson.Secrets(v)
		}
	}
	return env, image
}

func exists(p string) bool {
	_, err := os.Stat(p)
	return err == nil
}
