package agent

import (
	"testing"

	"github.com/rolecall/rolecall/awsauth"
)

// A text that has been read is not read again; another one is, and one that
// cannot be read is never taken for the one before.
func TestTheSameTextIsNotReadAgain(t *testing.T) {
	var l Leader
	read := func(text string) *awsauth.Document {
		t.Helper()
		doc, err := l.parse(map[string]string{"mapRoles": text})
		if (err != nil) != (doc == nil) {
			t.Fatalf("a document and an error, or neither: %v", err)
		}
		return doc
	}
	const one, other, broken = "- rolearn: a\n", "- rolearn: b\n", "- rolearn: {\n"
	first := read(one)
	if read(one) != first {
		t.Error("the same text was read again")
	}
	if read(broken) != nil {
		t.Error("a broken text was read")
	}
	if second := read(other); second == first || second.Entries()[0].ARN != "b" {
		t.Errorf("of another text it says %+v", second.Entries())
	}
}
