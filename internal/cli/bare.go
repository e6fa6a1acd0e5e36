package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// bareArgs tells which flag an argument that is none follows. aws-auth's README
// writes --groups system:bootstrappers system:nodes; but who writes
// --append true must not get a group of that name.
type bareArgs struct {
	last []mark
}

// mark is a flag and how many arguments stood before it.
type mark struct {
	flag string
	args int
}

// watch has every flag say when it is set. It must be called after all flags
// are there.
func (b *bareArgs) watch(flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		f.Value = &watched{f.Value, func() { b.last = append(b.last, mark{f.Name, flags.NArg()}) }}
	})
}

type watched struct {
	pflag.Value
	seen func()
}

func (w *watched) Set(s string) error {
	w.seen()
	return w.Value.Set(s)
}

// before is the flag after which the i-th argument stands, be it with other
// arguments between them; "" for none.
func (b *bareArgs) before(i int) string {
	flag := ""
	for _, m := range b.last {
		if m.args <= i {
			flag = m.flag
		}
	}
	return flag
}

// split tells groups that belong to --groups from other arguments. What is one
// of these even behind --groups says other; nil where a command has none.
func (b *bareArgs) split(args []string, other func(string) bool) (groups, others []string, err error) {
	for i, arg := range args {
		flag := b.before(i)
		switch {
		case flag == "groups" && (other == nil || !other(arg)):
			groups = append(groups, arg)
		case flag != "" && (arg == "true" || arg == "false"):
			return nil, nil, fmt.Errorf("%q stands alone: write --%s=%s", arg, flag, arg)
		case other == nil:
			if strings.HasPrefix(arg, "arn:") {
				return nil, nil, fmt.Errorf("%q stands alone: write it as --arn %s", arg, arg)
			}
			return nil, nil, fmt.Errorf("%q stands alone: write the name of a flag before it", arg)
		default:
			others = append(others, arg)
		}
	}
	return groups, others, nil
}
