package cyclonedx
import ("testing";"os";"fmt";"github.com/stemma-lineage/stemma/internal/importer/bom/bomtest"; _ "github.com/cockroachdb/datadriven")
func TestZZ(t *testing.T){ f:=os.Getenv("ZZ"); if f=="" {t.Skip()}; b,_:=os.ReadFile(f); fmt.Print(bomtest.Text(bomtest.Read(t,Importer{},b))) }
