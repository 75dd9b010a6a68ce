package cyclonedx
import ("testing";"os";"fmt";"runtime";"github.com/stemma-lineage/stemma/internal/importer";"github.com/stemma-lineage/stemma/internal/importer/bom/bomtest"; _ "github.com/cockroachdb/datadriven")
func TestZZ(t *testing.T){ f:=os.Getenv("ZZ"); if f=="" {t.Skip()}; b,_:=os.ReadFile(f); fmt.Print(bomtest.Text(bomtest.Read(t,Importer{},b))) }
func TestZB(t *testing.T){ f:=os.Getenv("ZB"); if f=="" {t.Skip()}; r,_:=os.Open(f); for it,err:=range (Importer{}).Read(importer.Source{R:r}) { var m runtime.MemStats; runtime.ReadMemStats(&m); fmt.Println(err, it.Refusal, len(it.Statements), it.Notes, m.HeapAlloc>>20, m.Sys>>20) } }
