package cli

import (
	"flag"
	"os"
	"testing"

	"github.com/rolecall/rolecall/test/trial"
)

// update has golden files, and the pages of docs, written anew.
var update = flag.Bool("update", false, "write golden files and the pages of docs anew")

func TestMain(m *testing.M) { os.Exit(trial.Main(m)) }
