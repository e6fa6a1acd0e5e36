package source

import (
	"context"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
)

// file is what the config names by its ARN or account id.
type file struct{}

func newFile(Env) Source { return file{} }

func (file) Refresh(context.Context, *config.Config) error { return nil }

func (file) Want(m *Moment) []Answer {
	var failed items
	var out []awsauth.Entry
	add := func(e awsauth.Entry, check func(string) (string, error)) {
		text := e.ARN
		var err error
		if e.ARN, err = expand(text, m.Account); err == nil {
			e.ARN, err = check(e.ARN)
		}
		if err != nil {
			failed.fail(text, err)
			return
		}
		out = append(out, e)
	}
	for _, r := range m.Config.Roles {
		if r.PermissionSet == "" {
			add(awsauth.Entry{Kind: awsauth.Role, ARN: r.ARN, Username: r.Username, Groups: r.Groups}, awsauth.RoleARN)
		}
	}
	for _, u := range m.Config.Users {
		add(awsauth.Entry{Kind: awsauth.User, ARN: u.ARN, Username: u.Username, Groups: u.Groups}, awsauth.UserARN)
	}
	for _, id := range m.Config.Accounts {
		add(awsauth.Entry{Kind: awsauth.Account, ARN: id}, func(id string) (string, error) { return id, awsauth.CheckAccountID(id) })
	}
	return []Answer{{Name: "file", Entries: out, Err: failed.err()}}
}
