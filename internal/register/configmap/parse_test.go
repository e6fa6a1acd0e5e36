package configmap

import (
	"testing"

	"github.com/rolecall/rolecall/awsauth"
)

// A text that has been read is not read again; another one is, and one that
// cannot be read is never taken for the one before.
func TestTheSameTextIsNotReadAgain(t *testing.T) {
	var r Register
	read := func(text string) *awsauth.Document {
		t.Helper()
		return r.parse(version("1", text))
	}
	const one, other, broken = "- rolearn: a\n", "- rolearn: b\n", "- rolearn: {\n"
	first := read(one)
	if read(one) != first {
		t.Error("the same text was read again")
	}
	if doc := read(broken); len(doc.Unreadable()) != 1 || len(doc.Entries()) != 0 {
		t.Errorf("of a broken text it says %+v, unreadable are %v", doc.Entries(), doc.Unreadable())
	}
	if second := read(other); second == first || len(second.Unreadable()) != 0 || second.Entries()[0].ARN != "b" {
		t.Errorf("of another text it says %+v", second.Entries())
	}
}
