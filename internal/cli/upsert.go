package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/aws"
	"github.com/rolecall/rolecall/internal/migrate"
	"github.com/rolecall/rolecall/internal/serviceaccess"
)

// entryFlags name entries, in the spellings of keikoproj/aws-auth and of eksctl
// too.
type entryFlags struct {
	roleARN, userARN, arn string
	accounts              []string
	username              string
	groups                []string
	mapRoles, mapUsers    bool

	bare bareArgs
}

func (f *entryFlags) addTo(cmd *cobra.Command, objects *objectFlags) {
	flags := cmd.Flags()
	flags.StringVar(&f.roleARN, "role-arn", "", "ARN of an IAM role")
	flags.StringVar(&f.userARN, "user-arn", "", "ARN of an IAM user")
	flags.StringVar(&f.arn, "arn", "", "ARN of either")
	flags.StringSliceVar(&f.accounts, "account", nil, "id of an AWS account; may be repeated")
	flags.StringVar(&f.username, "username", "", "username in Kubernetes")
	flags.StringSliceVar(&f.groups, "groups", nil, "groups in Kubernetes: a,b or repeated or --groups a b")
	flags.BoolVar(&f.mapRoles, "maproles", false, "as aws-auth has it; --role-arn says it already")
	flags.BoolVar(&f.mapUsers, "mapusers", false, "as aws-auth has it; --user-arn says it already")
	flags.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		switch name {
		case "rolearn", "role": // keikoproj's aws-auth, eksctl
			name = "role-arn"
		case "userarn":
			name = "user-arn"
		case "group":
			name = "groups"
		case "config-file": // eksctl's create; its delete finds the cluster in it
			if cmd.Name() == "upsert" {
				name = "filename"
			}
		}
		return pflag.NormalizedName(name)
	})
	for name, complete := range map[string]cobra.CompletionFunc{
		"role-arn": completeKind(objects, awsauth.Role), "user-arn": completeKind(objects, awsauth.User), "account": completeKind(objects, awsauth.Account),
		"arn": completeEntries(objects, false), "username": completeUsernames(objects),
	} {
		_ = cmd.RegisterFlagCompletionFunc(name, complete) // it fails where there is no such flag
	}
}

// check holds the flags against each other.
func (f *entryFlags) check() error {
	given := 0
	for _, is := range []bool{f.roleARN != "", f.userARN != "", f.arn != "", len(f.accounts) > 0} {
		if is {
			given++
		}
	}
	switch {
	case given > 1:
		return errors.New("--role-arn, --user-arn, --arn and --account exclude each other: write one of them")
	case f.mapRoles && f.mapUsers:
		return errors.New("--maproles and --mapusers exclude each other: write one of them")
	case f.mapRoles && f.roleARN == "" && f.arn == "":
		return errors.New("--maproles: write the role with --role-arn")
	case f.mapUsers && f.userARN == "" && f.arn == "":
		return errors.New("--mapusers: write the user with --user-arn")
	}
	return nil
}

// kindOf tells what an ARN is of. What is neither is taken for a role, whose
// check then says what is wrong.
func kindOf(arn string) awsauth.Kind {
	if f := strings.SplitN(arn, ":", 6); len(f) == 6 && strings.HasPrefix(f[5], "user/") {
		return awsauth.User
	}
	return awsauth.Role
}

// entries are those that the flags name.
func (f *entryFlags) entries() []awsauth.Entry {
	of := func(kind awsauth.Kind, arn string) []awsauth.Entry {
		return []awsauth.Entry{{Kind: kind, ARN: arn, Username: f.username, Groups: f.groups}}
	}
	switch {
	case f.roleARN != "":
		return of(awsauth.Role, f.roleARN)
	case f.userARN != "":
		return of(awsauth.User, f.userARN)
	case f.arn != "" && f.mapUsers:
		return of(awsauth.User, f.arn)
	case f.arn != "":
		return of(kindOf(f.arn), f.arn)
	}
	var list []awsauth.Entry
	for _, id := range f.accounts {
		list = append(list, awsauth.Entry{Kind: awsauth.Account, ARN: id, Username: f.username, Groups: f.groups})
	}
	return list
}

type upsertFlags struct {
	edit  editFlags
	entry entryFlags

	file           string
	append         bool
	updateUsername bool
	noDuplicates   bool
	force          bool

	service, serviceNamespace string
}

func newUpsert() *cobra.Command {
	var f upsertFlags
	cmd := &cobra.Command{
		Use:   "upsert",
		Short: "Add entries to aws-auth, or change those that are there",
		Long: `Bring a role, a user, accounts, or all entries of a file into force in aws-auth,
in one write. What stands in it already is not written again; what else stands
in it stays byte for byte, comments, unknown fields and the order of groups too.
A missing aws-auth is made.

Of an entry that is there, --groups replaces the groups, or with --append adds
to them; without --groups they stay. --username replaces the username, unless
--update-username=false. Where an ARN stands several times, the entry that the
authenticator goes by is changed, the last one. A role is written without its
path, since the authenticator never matches one.

An AWS service is let into a namespace by --service-name and --service-namespace,
as eksctl does it: beside the entry of its role, a Role and a RoleBinding of the
service's name are made there, before aws-auth is written. A Role of that name
that grants as much stays; one with other rules is shown and asked for. The
role's account is that of the AWS credentials found here, or --role-arn says it.

A file (-f) is a config of rolecall's, an aws-auth ConfigMap or the text of its
keys, eksctl's ClusterConfig with iamIdentityMappings, or objects of another
controller that "rolecall import" reads, such as IAMIdentityMapping. $ACCOUNTID
and $PARTITION in it are those of the AWS credentials found here.

An entry of rolecall's own is put back by its agent: the command tells so and
asks, and so it does where the last of system:masters or of the nodes' roles
would go. Conflicts with other writers are always tried again.

The exit status is 0 if aws-auth is as asked, else 1: also if the answer is no.`,
		Example: `  rolecall upsert --role-arn arn:aws:iam::111122223333:role/nodes \
    --username 'system:node:{{EC2PrivateDNSName}}' --groups system:bootstrappers,system:nodes
  rolecall upsert --user-arn arn:aws:iam::111122223333:user/ana --groups viewers --append
  rolecall upsert --account 444455556666
  rolecall upsert --service-name emr-containers --service-namespace emr
  rolecall upsert -f mappings.yaml --dry-run=server --diff
  rolecall upsert --maproles --rolearn arn:aws:iam::111122223333:role/ops --username ops \
    --groups system:masters --retry --retry-max-count 5`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              f.run,
	}
	f.edit.addTo(cmd)
	f.entry.addTo(cmd, &f.edit.objects)
	flags := cmd.Flags()
	flags.StringVarP(&f.file, "filename", "f", "", "file with entries, - for standard input")
	flags.StringVar(&f.service, "service-name", "", "AWS service to let into --service-namespace: "+strings.Join(serviceaccess.Services(), ", "))
	flags.StringVar(&f.serviceNamespace, "service-namespace", "", "namespace that --service-name may work in")
	flags.BoolVar(&f.append, "append", false, "add the groups to those that an entry has")
	flags.BoolVar(&f.updateUsername, "update-username", true, "whether an entry that is there gets the username")
	flags.BoolVar(&f.noDuplicates, "no-duplicate-arns", false, "refuse to change an entry that is there and otherwise than asked")
	flags.BoolVar(&f.force, "force", false, "do not ask, and write ARNs and account ids that no identity can have")
	f.entry.bare.watch(flags)
	for name, complete := range map[string]cobra.CompletionFunc{
		"service-name":      cobra.FixedCompletions(serviceaccess.Services(), cobra.ShellCompDirectiveNoFileComp),
		"service-namespace": completeNamespace,
	} {
		_ = cmd.RegisterFlagCompletionFunc(name, complete) // it fails where there is no such flag
	}
	return cmd
}

func (f *upsertFlags) run(cmd *cobra.Command, args []string) error {
	groups, _, err := f.entry.bare.split(args, nil)
	if err != nil {
		return err
	}
	f.entry.groups = append(f.entry.groups, groups...)
	if err := f.entry.check(); err != nil {
		return err
	}
	h, err := f.edit.newHandEdit(cmd)
	if err != nil {
		return err
	}
	h.force = f.force
	opts := awsauth.UpsertOptions{
		Append: f.append, KeepUsername: !f.updateUsername, KeepGroups: f.file == "" && !cmd.Flags().Changed("groups"),
		NoDuplicates: f.noDuplicates, AnyARN: f.force,
	}
	entries := f.entry.entries()
	var grants []serviceaccess.Grant
	switch {
	case f.service != "" || f.serviceNamespace != "":
		entry, err := f.serviceEntry(cmd.Context())
		if err != nil {
			return err
		}
		entries, grants = []awsauth.Entry{entry}, []serviceaccess.Grant{f.grant()}
	case f.file != "" && (len(entries) > 0 || f.entry.username != "" || len(f.entry.groups) > 0):
		return errors.New("--filename: entries stand in the file: write no flags for one beside it")
	case f.file != "":
		if entries, grants, err = f.read(cmd.Context(), h, cmd.InOrStdin()); err != nil {
			return err
		}
	case len(entries) == 0:
		return errors.New("nothing to upsert: write --role-arn, --user-arn, --account, --service-name or -f FILE")
	}
	for _, e := range entries {
		if bare, err := awsauth.RoleARN(e.ARN); e.Kind == awsauth.Role && err == nil && bare != e.ARN {
			complainUnless(f.edit.quiet, h.stderr, fmt.Sprintf("%s is written as %s: the authenticator never matches a path", e.ARN, bare))
		}
	}
	if len(grants) > 0 {
		if h.services, err = newServiceEdit(cmd.Context(), h, "upsert", grants); err != nil {
			return err
		}
	}
	edited, err := h.editor("upsert").Upsert(cmd.Context(), opts, entries...)
	if err == nil && len(edited.Changes) == 0 && h.services != nil {
		err = h.review(cmd.Context(), edited) // an editor that has nothing to write asks nobody
	}
	if err != nil {
		return h.explain(f.hint(err))
	}
	return h.report(edited)
}

func (f *upsertFlags) grant() serviceaccess.Grant {
	return serviceaccess.Grant{Service: f.service, Namespace: f.serviceNamespace}
}

// serviceEntry is the entry of the service's role. Its account is asked of STS
// unless the ARN is given.
func (f *upsertFlags) serviceEntry(ctx context.Context) (awsauth.Entry, error) {
	none := awsauth.Entry{}
	switch {
	case f.file != "":
		return none, errors.New("--filename: a service stands in the file, as eksctl's serviceName: write no --service-name beside it")
	case f.service == "":
		return none, errors.New("--service-namespace: write the service with --service-name")
	case f.serviceNamespace == "" && f.edit.objects.kube.namespace != "":
		return none, fmt.Errorf("--service-name: --namespace is that of the agents here: write --service-namespace %s", f.edit.objects.kube.namespace)
	case f.serviceNamespace == "":
		return none, errors.New("--service-name: write the namespace that the service may work in with --service-namespace")
	case f.entry.userARN != "", len(f.entry.accounts) > 0, f.entry.username != "", len(f.entry.groups) > 0:
		return none, errors.New("--service-name: who the service is stands fast: write --role-arn at most beside it")
	}
	if err := serviceaccess.CheckService(f.service); err != nil {
		return none, fmt.Errorf("--service-name: %w", err)
	}
	if err := serviceaccess.CheckNamespace(f.serviceNamespace); err != nil {
		return none, fmt.Errorf("--service-namespace: %w", err)
	}
	entry, role := f.grant().Entry(), f.grant().RoleName()
	if arn := f.entry.roleARN + f.entry.arn; arn != "" {
		if !strings.HasSuffix(arn, "/"+role) {
			return none, fmt.Errorf("--role-arn: %s is not the role of %s, which is named %s", arn, f.service, role)
		}
		entry.ARN = arn
		return entry, nil
	}
	var err error
	if entry.ARN, err = ownAccount(ctx)(entry.ARN); err != nil {
		return none, fmt.Errorf("the account of the role %s is not known: %w; or write it: --role-arn arn:aws:iam::111122223333:role/%s", role, err, role)
	}
	return entry, nil
}

// ownAccount fills in the account of the AWS credentials found here. STS is asked
// when the first placeholder is met, and once.
func ownAccount(ctx context.Context) func(string) (string, error) {
	caller := sync.OnceValues(func() (aws.Caller, error) {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		dir, err := aws.New(ctx, aws.Options{})
		if err != nil {
			return aws.Caller{}, err
		}
		return dir.Caller(ctx)
	})
	return func(text string) (string, error) {
		who, err := caller()
		if err != nil {
			return "", err
		}
		return config.Expand(text, who.AccountID, who.Partition)
	}
}

// hint says which flag an error is about.
func (f *upsertFlags) hint(err error) error {
	var arn *awsauth.ARNError
	if errors.As(err, &arn) && !f.force && strings.Contains(arn.Reason, "12 digits") {
		return fmt.Errorf("%w; --force writes it as it is", err)
	}
	return err
}

// read reads the entries of a file. A file that was read from standard input
// leaves nobody to ask.
func (f *upsertFlags) read(ctx context.Context, h *handEdit, stdin io.Reader) ([]awsauth.Entry, []serviceaccess.Grant, error) {
	var data []byte
	var err error
	name := f.file
	if name == "-" {
		name = "standard input"
		data, err = io.ReadAll(stdin)
	} else {
		data, err = os.ReadFile(f.file)
	}
	if err != nil {
		return nil, nil, err
	}
	in, err := migrate.Read(name, data, ownAccount(ctx))
	if err != nil {
		return nil, nil, err
	}
	for _, n := range in.Notes {
		complainUnless(f.edit.quiet, h.stderr, n.String())
	}
	if len(in.Entries) == 0 {
		if len(in.Notes) == 0 {
			return nil, nil, fmt.Errorf("%s has no entries, so there is nothing to upsert: write some under mapRoles, mapUsers or mapAccounts; to take entries away: rolecall remove", name)
		}
		return nil, nil, fmt.Errorf("%s: it has no entries that could be written: what is left out is told above; give the file to the agent", name)
	}
	h.concerns = func(planned *awsauth.Edited) ([]concern, error) {
		for i := range planned.Changes {
			c := &planned.Changes[i]
			if c.Before != nil && slices.ContainsFunc(in.NoDuplicateARNs, func(arn string) bool { return awsauth.SameARN(arn, c.Entry.ARN) }) {
				return nil, &awsauth.ExistsError{Entry: *c.Before}
			}
		}
		return nil, nil
	}
	return in.Entries, in.Services, nil
}
