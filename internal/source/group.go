package source

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
)

// groups is the users of IAM groups.
type groups struct {
	env Env

	mu      sync.Mutex
	from    directoryKey           // which IAM gave the answers
	answers map[string]groupAnswer // by group
}

type groupAnswer struct {
	at    time.Time
	group IAMGroup
	err   error

	// What this term knows of the group, through answers that failed or were older.
	good  time.Time // when the newest answer came; zero: none has
	older time.Time // since when answers are older than that; zero: they are not
}

func newGroups(env Env) Source { return &groups{env: env} }

// Refresh asks for each group by itself: one that fails fails alone.
func (g *groups) Refresh(ctx context.Context, c *config.Config) error {
	g.start(c)
	if len(c.IAMGroups) == 0 {
		return nil
	}
	var errs []error
	asked := map[string]bool{}
	dir, openErr := g.env.Directory(ctx, c.AWS.Region, c.AWS.RoleARN)
	for _, group := range c.IAMGroups {
		if asked[group.Name] {
			continue
		}
		asked[group.Name] = true
		answer := groupAnswer{at: g.env.Now(), err: openErr}
		if openErr == nil {
			answer.group, answer.err = dir.GroupUsers(ctx, group.Name)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		g.keep(c, group.Name, answer)
		g.env.Answered()
		if openErr == nil {
			errs = append(errs, answer.err)
		}
	}
	return errors.Join(append(errs, openErr)...)
}

// start forgets what another IAM said, and groups that the config no longer names.
func (g *groups) start(c *config.Config) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.answers == nil || g.from != keyOf(c) {
		g.from, g.answers = keyOf(c), map[string]groupAnswer{}
	}
	maps.DeleteFunc(g.answers, func(name string, _ groupAnswer) bool {
		return !slices.ContainsFunc(c.IAMGroups, func(group config.IAMGroup) bool { return group.Name == name })
	})
}

func (g *groups) keep(c *config.Config, name string, answer groupAnswer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.from != keyOf(c) {
		return
	}
	was := g.answers[name]
	switch {
	case answer.err != nil: // what was known is known still
		answer.group, answer.good, answer.older = was.group, was.good, was.older
	case !was.good.IsZero() && was.group.newerThan(&answer.group) && (was.older.IsZero() || answer.at.Sub(was.older) < staleFor):
		older := was.older
		if older.IsZero() {
			older = answer.at
			g.env.Logger.Warn("an answer of iam is older than one that was acted on", "group", name)
		}
		answer = groupAnswer{at: was.good, group: was.group, good: was.good, older: older}
	default:
		answer.good = answer.at
	}
	g.answers[name] = answer
}

// newerThan reports whether an answer must be newer than another one, by what was created
// when: the group of that name was made anew, or one of its users was. Who is a member
// has no time of its own.
func (g *IAMGroup) newerThan(other *IAMGroup) bool {
	if other.Created.Before(g.Created) && !other.Created.IsZero() {
		return true
	}
	created := map[string]time.Time{}
	for _, u := range g.Users {
		created[strings.ToLower(u.Name)] = u.Created
	}
	return slices.ContainsFunc(other.Users, func(u IAMUser) bool {
		return !u.Created.IsZero() && u.Created.Before(created[strings.ToLower(u.Name)])
	})
}

func (g *groups) Want(m *Moment) []Answer {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []Answer
	at := map[string]int{} // in out, by group
	for _, group := range m.Config.IAMGroups {
		i, again := at[group.Name]
		if !again {
			i = len(out)
			at[group.Name] = i
			out = append(out, Answer{Name: "group/" + group.Name})
		}
		answer, ok := g.answers[group.Name]
		switch {
		case !ok || g.from != keyOf(m.Config):
			out[i].Err = ErrNotAsked
		case answer.err != nil:
			out[i].Err, out[i].Asked = answer.err, answer.at
		default:
			entries, err := groupEntries(group, answer.group.Users)
			out[i].Entries = append(out[i].Entries, entries...)
			out[i].Err, out[i].Asked = errors.Join(out[i].Err, err), answer.at
		}
	}
	return out
}

func groupEntries(group config.IAMGroup, users []IAMUser) ([]awsauth.Entry, error) {
	var failed items
	out := make([]awsauth.Entry, 0, len(users))
	for _, u := range users {
		arn, err := awsauth.UserARN(u.ARN)
		id, _ := awsauth.ARNAccount(arn)
		username := strings.NewReplacer("{{UserName}}", u.Name, "{{AccountID}}", id).Replace(group.Username)
		if err == nil {
			err = awsauth.CheckUsername(username)
		}
		if err != nil {
			failed.fail(u.ARN, err)
			continue
		}
		out = append(out, awsauth.Entry{Kind: awsauth.User, ARN: arn, Username: username, Groups: group.Groups})
	}
	return out, failed.err()
}
