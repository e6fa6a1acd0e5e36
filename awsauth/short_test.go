package awsauth

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// TestMain has -short make fewer random documents, unless flags say how many.
func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		for name, few := range map[string]string{"mangled": "200"} {
			if f := flag.Lookup(name); f.Value.String() == f.DefValue {
				if err := f.Value.Set(few); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
			}
		}
	}
	os.Exit(m.Run())
}
