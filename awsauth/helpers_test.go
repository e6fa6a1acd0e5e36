package awsauth

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var (
	update  = flag.Bool("update", false, "write what comes of the archives of testdata anew")
	mangled = flag.Uint64("mangled", 2000, "how many mangled documents are edited")
)

// documents is the folder of the documents that the tests share.
const documents = "testdata/corpus"

func role(name, username string, groups ...string) Entry {
	return Entry{Role, "arn:aws:iam::111122223333:role/" + name, username, groups}
}

func user(name, username string) Entry {
	return Entry{User, "arn:aws:iam::111122223333:user/" + name, username, nil}
}

func account(id string) Entry { return Entry{Kind: Account, ARN: id} }

// list writes entries as a text of one key: those of ours with the mark.
func list(ours bool, entries ...Entry) string {
	var out strings.Builder
	for i := range entries {
		writeBlock(&out, &entries[i], "", "\n")
	}
	if ours {
		return out.String()
	}
	return strings.ReplaceAll(out.String(), "  syncedBy: rolecall\n", "")
}

func marked(entries ...Entry) string   { return list(true, entries...) }
func unmarked(entries ...Entry) string { return list(false, entries...) }

// show is an entry in short, for tables.
func show(e Entry) string {
	name := e.ARN[strings.LastIndexByte(e.ARN, ':')+1:]
	if e.Kind == Account {
		return "account/" + name
	}
	if !strings.HasPrefix(name, string(e.Kind)) {
		name = string(e.Kind) + " " + name
	}
	return fmt.Sprintf("%s %s%v", name, e.Username, e.Groups)
}

func parse(tb testing.TB, data map[string]string) *Document {
	tb.Helper()
	doc, err := Parse(data)
	if err != nil {
		tb.Fatal(err)
	}
	return doc
}

func dump(doc *Document) string {
	var out strings.Builder
	for _, k := range slices.Sorted(maps.Keys(doc.data)) {
		text := doc.data[k]
		if strings.ContainsAny(text, "\r\t\u0085\u2028\u2029\ufeff") {
			text = strconv.Quote(text)
		}
		fmt.Fprintf(&out, "-- %s --\n%s\n", k, text)
	}
	return out.String()
}

// resolve answers as the authenticator does: roles before users, the last of
// equal ones.
func resolve(doc *Document, arn string) (found Entry, ok bool) {
	for _, e := range doc.Entries() {
		if e.Dropped == "" && e.Kind != Account && strings.EqualFold(e.ARN, arn) && !(found.Kind == Role && e.Kind == User) {
			found, ok = e.Entry, true
		}
	}
	return found, ok
}
