package awsauth

import (
	"strings"
	"testing"
)

// A key of aws-auth in binaryData is one that the authenticator cannot read, whatever
// it says; the reason names how it is encoded, and the key takes no edit.
func TestParseConfigMap(t *testing.T) {
	const text = "- rolearn: arn:aws:iam::111122223333:role/a\n  username: a\n"
	for body, why := range map[string]string{
		"\xff\xfe-\x00\n\x00": "UTF-16", "\xfe\xff\x00-\x00\n": "UTF-16", "-\x00\n\x00": "UTF-16",
		"- caf\xe9\n": "not in UTF-8", text: "belongs under data", "": "belongs under data",
	} {
		for _, kind := range Kinds() {
			data := map[string]string{"mapRoles": text, "other": "x"}
			d := ParseConfigMap(data, map[string][]byte{kind.Key(): []byte(body), "more": {0xff}})
			broken := d.Unreadable()
			if len(broken) != 1 || broken[0].Key != kind.Key() || !strings.Contains(broken[0].Error(), "binaryData") || !strings.Contains(broken[0].Reason, why) {
				t.Errorf("%s %q: unreadable are %v, want one of %q", kind.Key(), body, broken, why)
			}
			if _, err := d.Edit(map[Kind]*Edit{kind: {Add: []Entry{{Kind: kind, ARN: "x"}}}}); err == nil {
				t.Errorf("%s %q: it takes an edit", kind.Key(), body)
			}
		}
	}
	if d := ParseConfigMap(map[string]string{"mapRoles": text}, map[string][]byte{"more": {0xff}}); len(d.Unreadable()) != 0 || len(d.Entries()) != 1 {
		t.Errorf("another key in binaryData: unreadable are %v, entries %v", d.Unreadable(), d.Entries())
	}
}
