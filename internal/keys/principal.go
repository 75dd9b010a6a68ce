package keys

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/stemma-lineage/stemma/prov"
	"github.com/stemma-lineage/stemma/statement"
)

// DefaultPrincipal gives who the user is: STEMMA_PRINCIPAL, else the address
// that git knows, else the login name at the name of the host.
func DefaultPrincipal() (prov.Ref, error) {
	if p := os.Getenv("STEMMA_PRINCIPAL"); p != "" {
		if err := statement.CheckPrincipal(p); err != nil {
			return prov.Ref{}, fmt.Errorf("reading STEMMA_PRINCIPAL: %w", err)
		}
		return prov.ParseRef(p)
	}
	if email := gitEmail(); email != "" {
		return prov.Ref{Kind: prov.Person, Name: email}, nil
	}
	user := os.Getenv("USER")
	if user == "" {
		user = os.Getenv("LOGNAME")
	}
	host, err := os.Hostname()
	if user == "" || err != nil {
		return prov.Ref{}, fmt.Errorf("finding out who you are: git has no user.email and the login or host name is not known; set STEMMA_PRINCIPAL=person:you@example.org")
	}
	return prov.Ref{Kind: prov.Person, Name: user + "@" + host}, nil
}

// gitEmail asks git; no git and no answer in time are no answer.
func gitEmail() string {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "git", "config", "--get", "user.email").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}
