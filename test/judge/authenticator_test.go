package judge

import (
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/sirupsen/logrus"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/aws-iam-authenticator/pkg/config"
	"sigs.k8s.io/aws-iam-authenticator/pkg/mapper/configmap"

	"github.com/rolecall/rolecall/awsauth"
)

func TestMain(m *testing.M) {
	// ParseMap warns of every entry that it drops.
	logrus.SetOutput(io.Discard)
	os.Exit(m.Run())
}

// reading is what the authenticator holds in memory of a document.
type reading struct {
	roles    []config.RoleMapping
	users    []config.UserMapping
	accounts []string
	lost     []string // keys that it could not read, which are empty to it
}

func read(data map[string]string) reading {
	var r reading
	r.users, r.roles, r.accounts, _ = configmap.ParseMap(data)
	// EKS does not switch the permission set matcher on: those never match.
	r.roles = slices.DeleteFunc(r.roles, func(m config.RoleMapping) bool { return m.SSO != nil })
	for _, key := range []string{"mapAccounts", "mapRoles", "mapUsers"} {
		if lost(key, data[key]) {
			r.lost = append(r.lost, key)
		}
	}
	return r
}

// lost reports whether a key that is not blank comes out as no list at all.
// ParseMap does not tell that from a list without a good entry, so this takes
// its first step alone (configmap.go:125 to 180).
func lost(key, text string) bool {
	switch strings.TrimSpace(text) {
	case "", "``", `""`, "''":
		return false
	}
	if key == "mapAccounts" {
		_, _, _, err := configmap.ParseMap(map[string]string{key: text})
		// An element of the wrong type is dropped alone.
		return err != nil && !strings.Contains(err.Error(), "into string")
	}
	body, err := yaml.ToJSON([]byte(text))
	if err != nil {
		return true
	}
	body = []byte(strings.TrimSpace(string(body)))
	return string(body) != "null" && !strings.HasPrefix(string(body), "[")
}

// resolve answers for an ARN by the code and the order of the authenticator
// (mapper.go:49 and saveMap, configmap.go:236): roles first, by lower-cased key,
// the last one wins. Of users that differ in case it takes a random one; here
// all are returned.
func (r reading) resolve(arn string) []awsauth.Entry {
	arn = strings.ToLower(arn)
	roles := map[string]config.RoleMapping{}
	for _, m := range r.roles {
		roles[m.Key()] = m
	}
	var found []awsauth.Entry
	for _, m := range roles {
		if m.Matches(arn) {
			found = append(found, awsauth.Entry{Kind: awsauth.Role, ARN: m.RoleARN, Username: m.Username, Groups: m.Groups})
		}
	}
	if len(found) > 0 {
		return found
	}
	users := map[string]config.UserMapping{}
	for _, m := range r.users {
		users[m.Key()] = m
	}
	for _, m := range users {
		if m.Matches(arn) {
			found = append(found, awsauth.Entry{Kind: awsauth.User, ARN: m.UserARN, Username: m.Username, Groups: m.Groups})
		}
	}
	return found
}

// entries lists the reading as awsauth does.
func (r reading) entries() []awsauth.Entry {
	var out []awsauth.Entry
	for _, m := range r.roles {
		out = append(out, awsauth.Entry{Kind: awsauth.Role, ARN: m.RoleARN, Username: m.Username, Groups: m.Groups})
	}
	for _, m := range r.users {
		out = append(out, awsauth.Entry{Kind: awsauth.User, ARN: m.UserARN, Username: m.Username, Groups: m.Groups})
	}
	for _, id := range r.accounts {
		out = append(out, awsauth.Entry{Kind: awsauth.Account, ARN: id})
	}
	return out
}

// differs says how awsauth reads a document otherwise than the authenticator,
// or "".
func differs(data map[string]string) string {
	r := read(data)
	doc, err := awsauth.Parse(data)
	var keys []string
	if err != nil {
		keys = malformed(err)
	}
	if !slices.Equal(keys, r.lost) {
		return fmt.Sprintf("the authenticator loses %q, awsauth says %v", r.lost, err)
	}
	if err != nil {
		return ""
	}
	var got []awsauth.Entry
	for _, l := range doc.Entries() {
		if l.Dropped == "" {
			got = append(got, l.Entry)
		}
	}
	if want := r.entries(); !reflect.DeepEqual(want, got) {
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			return "entries (-authenticator +awsauth):\n" + diff
		}
	}
	return ""
}

// malformed lists the keys of the parse errors that err joins, sorted.
func malformed(err error) []string {
	var keys []string
	var walk func(error)
	walk = func(err error) {
		switch e := err.(type) { //nolint:errorlint // it takes the tree of errors apart
		case *awsauth.ParseError:
			keys = append(keys, e.Key)
		case interface{ Unwrap() []error }:
			for _, err := range e.Unwrap() {
				walk(err)
			}
		}
	}
	walk(err)
	slices.Sort(keys)
	return keys
}
