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
	users []IAMUser
	err   error
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
			answer.users, answer.err = dir.GroupUsers(ctx, group.Name)
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
	if g.from == keyOf(c) {
		g.answers[name] = answer
	}
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
			entries, err := groupEntries(group, answer.users)
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
