package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rolecall/rolecall/awsauth"
)

type removeFlags struct {
	edit  editFlags
	entry entryFlags

	kinds          []string
	all, first     bool
	force          bool
	ignoreNotFound bool
}

func newRemove() *cobra.Command {
	var f removeFlags
	cmd := &cobra.Command{
		Use:   "remove [ARN|ACCOUNT...]",
		Short: "Remove entries from aws-auth",
		Long: `Remove entries from aws-auth by ARN or account id, in one write. With --username
and --groups only those go that have both as well, groups in any order. Where an
ARN stands several times, all of its entries go, unless --first is given. What
else stands in aws-auth stays byte for byte.

An entry of rolecall's own is put back by its agent: the command tells so and
asks. It asks too where the last of system:masters or of the nodes' roles would
go, and with --all without an ARN; on a terminal also for any role of nodes.

The exit status is 0 if aws-auth is as asked, else 1: also if there is no such
entry, unless --ignore-not-found or --all is given, and if the answer is no.`,
		Example: `  rolecall remove arn:aws:iam::111122223333:role/ops
  rolecall remove --user-arn arn:aws:iam::111122223333:user/ana --username admin --groups system:masters
  rolecall remove 444455556666                  # an account
  rolecall remove --all --kind user --dry-run --diff
  rolecall remove --mapusers --userarn arn:aws:iam::111122223333:user/ana --force`,
		ValidArgsFunction: completeEntries(&f.edit.objects, false),
		RunE:              f.run,
	}
	f.edit.addTo(cmd)
	f.entry.addTo(cmd, &f.edit.objects)
	addKind(cmd, &f.kinds, "only these kinds: role, user, account")
	flags := cmd.Flags()
	flags.BoolVar(&f.all, "all", false, "without an ARN: every entry, or every one of --kind, --username and --groups; with one: all of its entries, as is the default, and none is no error")
	flags.BoolVar(&f.first, "first", false, "of several entries that are meant, remove the first one only")
	flags.BoolVar(&f.force, "force", false, "do not ask, and take it for done where there is no such entry")
	flags.BoolVar(&f.ignoreNotFound, "ignore-not-found", false, "take it for done where there is no such entry")
	f.entry.bare.watch(flags)
	return cmd
}

func (f *removeFlags) run(cmd *cobra.Command, args []string) error {
	groups, arns, err := f.entry.bare.split(args, func(arg string) bool {
		return strings.HasPrefix(arg, "arn:") || awsauth.CheckAccountID(arg) == nil
	})
	if err != nil {
		return err
	}
	f.entry.groups = append(f.entry.groups, groups...)
	matches, err := f.matches(arns, cmd.Flags().Changed("groups"))
	if err != nil {
		return err
	}
	h, err := f.edit.newHandEdit(cmd)
	if err != nil {
		return err
	}
	h.force = f.force
	// With --all none left is what was asked for, as in eksctl.
	opts := awsauth.RemoveOptions{IgnoreNotFound: f.ignoreNotFound || f.force || f.all}
	if f.all && matches[0].ARN == "" {
		h.concerns = func(planned *awsauth.Edited) ([]concern, error) {
			return []concern{{fmt.Sprintf("%d of %s would go", len(planned.Changes), counted(len(planned.Before.Entries()), "entry", "entries")), true}}, nil
		}
	}
	edited, err := h.editor("remove").Remove(cmd.Context(), opts, matches...)
	if errors.Is(err, awsauth.ErrMissing) && opts.IgnoreNotFound {
		edited, err = &awsauth.Edited{}, nil
	}
	if err != nil {
		return h.explain(err)
	}
	if err := h.report(edited); err != nil {
		return err
	}
	f.tellOfMore(h, edited)
	h.tellOfServices(edited)
	return nil
}

// matches are what the flags and arguments mean.
func (f *removeFlags) matches(arns []string, groupsGiven bool) ([]awsauth.Match, error) {
	if err := f.entry.check(); err != nil {
		return nil, err
	}
	kinds, err := kindsOf(f.kinds)
	if err != nil {
		return nil, err
	}
	base := awsauth.Match{Username: f.entry.username, First: f.first}
	if groupsGiven {
		base.Groups = append([]string{}, f.entry.groups...)
	}
	var matches []awsauth.Match
	add := func(kind awsauth.Kind, arn string) {
		m := base
		m.Kind, m.ARN = kind, arn
		matches = append(matches, m)
	}
	for _, arn := range arns {
		add("", arn)
	}
	switch {
	case f.entry.roleARN != "":
		add(awsauth.Role, f.entry.roleARN)
	case f.entry.userARN != "":
		add(awsauth.User, f.entry.userARN)
	case f.entry.arn != "":
		add("", f.entry.arn)
	}
	for _, id := range f.entry.accounts {
		if base.Username != "" || base.Groups != nil {
			return nil, errors.New("--account: an account has no username and no groups: leave --username and --groups out")
		}
		add(awsauth.Account, id)
	}
	switch {
	case len(matches) > 0 && len(f.kinds) > 0:
		return nil, errors.New("--kind: the ARN says it already: leave it out, or write --all and no ARN")
	case len(matches) > 0:
		return matches, nil
	case !f.all && base.Username != "" && base.Groups == nil:
		return nil, fmt.Errorf("write the ARN, or: rolecall remove-by-username %s", base.Username)
	case !f.all:
		return nil, errors.New("nothing to remove: write an ARN, an account id or --all")
	}
	for _, kind := range kinds {
		add(kind, "")
	}
	return matches, nil
}

// tellOfMore says what --first leaves standing.
func (f *removeFlags) tellOfMore(h *handEdit, edited *awsauth.Edited) {
	if !f.first || edited.After == nil {
		return
	}
	for i := range edited.Changes {
		arn, left := edited.Changes[i].Entry.ARN, 0
		for _, l := range edited.After.Entries() {
			if awsauth.SameARN(l.ARN, arn) {
				left++
			}
		}
		if left > 0 {
			complainUnless(f.edit.quiet, h.stderr, fmt.Sprintf("%s stands in %s %d more times: without --first all of them go", arn, h.o.name(), left))
		}
	}
}

type removeByUsernameFlags struct {
	edit           editFlags
	username       string
	force          bool
	ignoreNotFound bool
}

func newRemoveByUsername() *cobra.Command {
	var f removeByUsernameFlags
	cmd := &cobra.Command{
		Use:   "remove-by-username USERNAME",
		Short: "Remove every role and user that is mapped to a username",
		Long: `Remove every role and user that is mapped to a username from aws-auth, in one
write. The username may be an argument or --username. It asks where remove asks.

The exit status is 0 if aws-auth is as asked, else 1: also if there is no such
entry, unless --ignore-not-found is given, and if the answer is no.`,
		Example: `  rolecall remove-by-username ops-user
  rolecall remove-by-username --username ops-user --dry-run --diff`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeUsernames(&f.edit.objects),
		RunE:              f.run,
	}
	f.edit.addTo(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.username, "username", "", "username in Kubernetes")
	flags.BoolVar(&f.force, "force", false, "do not ask, and take it for done where there is no such entry")
	flags.BoolVar(&f.ignoreNotFound, "ignore-not-found", false, "take it for done where there is no such entry")
	_ = cmd.RegisterFlagCompletionFunc("username", completeUsernames(&f.edit.objects)) // it fails where there is no such flag
	return cmd
}

func (f *removeByUsernameFlags) run(cmd *cobra.Command, args []string) error {
	if len(args) == 1 && f.username != "" {
		return errors.New("write the username once: as an argument or with --username")
	}
	for _, arg := range args {
		f.username = arg
	}
	if f.username == "" {
		return errors.New("nothing to remove: write a username")
	}
	h, err := f.edit.newHandEdit(cmd)
	if err != nil {
		return err
	}
	h.force = f.force
	opts := awsauth.RemoveOptions{IgnoreNotFound: f.ignoreNotFound || f.force}
	edited, err := h.editor("remove").RemoveByUsername(cmd.Context(), opts, f.username)
	if errors.Is(err, awsauth.ErrMissing) && opts.IgnoreNotFound {
		edited, err = &awsauth.Edited{}, nil
	}
	if err != nil {
		return h.explain(err)
	}
	if err := h.report(edited); err != nil {
		return err
	}
	h.tellOfServices(edited)
	return nil
}
