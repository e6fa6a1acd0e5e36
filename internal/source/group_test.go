package source

import (
	"errors"
	"testing"
	"time"

	"github.com/rolecall/rolecall/config"
)

// An answer about a group that is older than one that was acted on, by when the group or
// one of its users was created, undoes nothing for a while; then it is taken for true. An
// answer that tells nothing of its age counts.
func TestOlderAnswerAboutAGroup(t *testing.T) {
	day := func(n int) time.Time { return start.AddDate(0, 0, n) }
	user := func(path, name string, created int) IAMUser {
		return IAMUser{Name: name, ARN: "arn:aws:iam::111122223333:user/" + path + name, Created: day(created)}
	}
	type answer struct {
		made  int // the day; 0: unknown
		users []IAMUser
		err   error
	}
	before := answer{made: -9, users: []IAMUser{user("", "ann", -20), user("new/", "bob", -5)}}
	for _, tc := range []struct {
		name  string
		then  []answer // a minute apart each
		older bool
	}{
		{"the group was made anew, with others", []answer{{-30, []IAMUser{user("", "eve", -40)}, nil}}, true},
		{"the same, and empty", []answer{{-30, nil, nil}}, true},
		{"a user was made anew", []answer{{-9, []IAMUser{user("", "ann", -20), user("old/", "bob", -15)}, nil}}, true},
		{"a user was made anew, in another case", []answer{{-9, []IAMUser{user("old/", "BOB", -15)}, nil}}, true},
		{"older, after one that failed", []answer{{err: errors.New("throttled")}, {-30, nil, nil}}, true},
		{"older twice", []answer{{-30, nil, nil}, {-30, nil, nil}}, true},
		{"a member left", []answer{{-9, []IAMUser{user("", "ann", -20)}, nil}}, false},
		{"all left", []answer{{-9, nil, nil}}, false},
		{"a newer group", []answer{{-1, nil, nil}}, false},
		{"a newer user", []answer{{-9, []IAMUser{user("newest/", "bob", -1)}, nil}}, false},
		{"nothing is known of its age", []answer{{0, []IAMUser{{Name: "bob", ARN: "arn:aws:iam::111122223333:user/bob"}}, nil}}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld()
			c := &config.Config{RefreshInterval: time.Minute, IAMGroups: []config.IAMGroup{{Name: "g", Username: "{{UserName}}", Groups: []string{"x"}}}}
			s := w.set()
			ask := func(a answer) Asked {
				t.Helper()
				w.now = w.now.Add(time.Minute)
				w.made = map[string]time.Time{"g": day(a.made)}
				if a.made == 0 {
					w.made = nil
				}
				w.users, w.usersErr = map[string][]IAMUser{"g": a.users}, map[string]error{"g": a.err}
				if err := s.Refresh(t.Context(), c); !errors.Is(err, a.err) {
					t.Fatal(err)
				}
				return w.ask(s, c)
			}
			kept := []string{"user/ann", "user/new/bob"}
			wantEntries(t, "before", ask(before), map[string][]string{"group/g": kept})
			var asked Asked
			var last answer
			for _, last = range tc.then {
				asked = ask(last)
			}
			said := []string{}
			for _, u := range last.users {
				said = append(said, u.ARN[len("arn:aws:iam::111122223333:"):])
			}
			want := said
			if tc.older {
				want = kept
			}
			wantEntries(t, "after", asked, map[string][]string{"group/g": want})
			w.now = w.now.Add(staleFor)
			wantEntries(t, "much later", ask(last), map[string][]string{"group/g": said})
			if tc.older {
				wantEntries(t, "and back", ask(before), map[string][]string{"group/g": kept})
			}
		})
	}
}
