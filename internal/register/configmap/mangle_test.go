package configmap

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/test/corpus"
)

// TestPlansOnMangledTexts plans on documents pieced together from the lines of
// the corpus and from scraps of YAML. What of a plan
// cannot be done is left out there; the rest keeps the promises of the package.
func TestPlansOnMangledTexts(t *testing.T) {
	var texts []string
	documents := readCorpus(t)
	names := make([]string, 0, len(documents))
	for name := range documents {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, kind := range []awsauth.Kind{awsauth.Role, awsauth.User, awsauth.Account} {
			if text := documents[name][kind.Key()]; text != "" {
				texts = append(texts, text)
			}
		}
	}
	const parts = 4
	made := make([]int, parts)
	t.Run("parts", func(t *testing.T) {
		for part := range uint64(parts) {
			t.Run(fmt.Sprint(part), func(t *testing.T) {
				t.Parallel()
				for seed := part; seed < *mangled; seed += parts {
					if planOnMangled(t, texts, seed) {
						made[part]++
					}
				}
			})
		}
	})
	if sum := made[0] + made[1] + made[2] + made[3]; uint64(sum) < *mangled/4 {
		t.Errorf("only %d of %d documents came to a plan: the test sees too little", sum, *mangled)
	}
}

func planOnMangled(t *testing.T, texts []string, seed uint64) bool {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 3))
	data := map[string]string{}
	for _, kind := range []awsauth.Kind{awsauth.Role, awsauth.User} {
		data[kind.Key()] = corpus.Mangle(r, texts)
	}
	doc, err := awsauth.Parse(data)
	if err != nil {
		return false
	}
	state := randomLedger(r, doc)
	req := randomRequest(r, doc)
	planned := makePlan(doc, state, req)
	if p := broken(doc, state, req, planned); p != "" {
		t.Fatalf("seed %d: %s", seed, p)
	}
	return planned.Writes()
}
