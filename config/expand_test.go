package config

import "testing"

func TestExpand(t *testing.T) {
	for _, tc := range []struct{ text, account, partition, want, err string }{
		{"arn:$PARTITION:iam::$ACCOUNTID:role/a-$ACCOUNTID", "111122223333", "aws-cn", "arn:aws-cn:iam::111122223333:role/a-111122223333", ""},
		{"arn:aws:iam::111122223333:role/a", "", "", "arn:aws:iam::111122223333:role/a", ""},
		{"$ACCOUNTID", "111122223333", "", "111122223333", ""},
		{"$ACCOUNTID", "", "aws", "", `"$ACCOUNTID" needs the account id, which is not known`},
		{"arn:$PARTITION:", "111122223333", "", "", `"arn:$PARTITION:" needs the partition, which is not known`},
		{"$accountid", "111122223333", "aws", "", `"$accountid" holds an unknown placeholder: write $ACCOUNTID or $PARTITION`},
		{"${ACCOUNTID}", "111122223333", "aws", "", `"${ACCOUNTID}" holds an unknown placeholder: write $ACCOUNTID or $PARTITION`},
	} {
		got, err := Expand(tc.text, tc.account, tc.partition)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if got != tc.want || text != tc.err {
			t.Errorf("Expand(%q, %q, %q) = %q, %q; want %q, %q", tc.text, tc.account, tc.partition, got, text, tc.want, tc.err)
		}
	}
}
