package cli

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/aymanbagabas/go-udiff"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/report"
	"github.com/rolecall/rolecall/internal/visible"
)

// palette is empty where colour is not wanted.
type palette struct{ red, green, yellow, dim, reset string }

func newPalette(on bool) palette {
	if !on {
		return palette{}
	}
	return palette{red: "\x1b[31m", green: "\x1b[32m", yellow: "\x1b[33m", dim: "\x1b[2m", reset: "\x1b[0m"}
}

// renderPlan prints a plan for a person: a line of counts, each change with who
// asks for it, what stands in the way, and the difference of the text. What of
// all that others wrote does not print is shown escaped.
func renderPlan(w io.Writer, out *report.Result, name string, colour bool) error {
	c := newPalette(colour)
	p := out.Change
	var b bytes.Buffer
	count := map[string]int{}
	for i := range p.Changes {
		count[sign(p.Changes[i].Op)]++
	}
	if elsewhere := out.Observed.Elsewhere; elsewhere != nil {
		fmt.Fprintf(&b, "%s! managed elsewhere%s %s is managed by the rolecall installation in namespace %s: nothing of this plan is done before rolecall handover -n %s\n",
			c.yellow, c.reset, name, visible.Text(elsewhere.Owner), visible.Text(elsewhere.Self))
	}
	if fixed := out.Observed.Immutable; fixed != nil {
		fmt.Fprintf(&b, "%s! immutable%s %s\n", c.red, c.reset, fixed)
	}
	if why := settlingText(out.Settling); why != "" {
		fmt.Fprintf(&b, "%s! adds only%s %s\n", c.yellow, c.reset, why)
	}
	for _, u := range out.Observed.Unreadable {
		fmt.Fprintf(&b, "%s! unreadable%s %s: the key is left alone, all others go on\n", c.red, c.reset, visible.Text(u.Error()))
	}
	if out.Observed.Restored != "" {
		fmt.Fprintf(&b, "%s! %s%s\n", c.red, visible.Text(out.Observed.Restored), c.reset)
	}
	if !p.Writes() {
		fmt.Fprintf(&b, "%s: nothing to change; %s managed, %d unmanaged\n", name, counted(len(p.Managed), "entry", "entries"), p.Unmanaged)
	} else {
		fmt.Fprintf(&b, "%s: %d to add, %d to change, %d to remove; %s\n\n",
			name, count["+"], count["~"], count["-"], counted(p.Unmanaged, "unmanaged entry stays as it is", "unmanaged entries stay as they are"))
	}
	for i := range p.Changes {
		renderChange(&b, &p.Changes[i], c)
	}
	for _, x := range p.Conflicts {
		fmt.Fprintf(&b, "%s! conflict  %s%s\n      an unmanaged entry maps it to %s, %s\n      the config asks for %s, %s   (%s)\n     "+
			" it is kept: %s\n",
			c.yellow, visible.Text(x.Foreign.ARN), c.reset, visible.Text(x.Foreign.Username), groups(x.Foreign.Groups), visible.Text(x.Ours.Username), groups(x.Ours.Groups), visible.Text(strings.Join(x.Sources, ", ")), visible.Text(x.Advice()))
	}
	for i := range p.Removals {
		renderHold(&b, &p.Removals[i], c)
	}
	for i := range p.Left {
		l := &p.Left[i]
		fmt.Fprintf(&b, "%s! left out  %s%s   the %s cannot be made: %s\n", c.yellow, visible.Text(l.Entry.ARN), c.reset, l.Op, visible.Text(l.Why))
	}
	for _, x := range p.Refused {
		fmt.Fprintf(&b, "%s! refused   %s%s   %s would map it as a node's role, and it is mapped for people\n", c.yellow, visible.Text(x.ARN), c.reset, visible.Text(strings.Join(x.Sources, ", ")))
	}
	for _, e := range p.NoRoom {
		fmt.Fprintf(&b, "%s! no room   %s%s\n", c.yellow, visible.Text(e.ARN), c.reset)
	}
	if p.Writes() || out.Observed.Restored != "" {
		b.WriteByte('\n')
		renderDiff(&b, out.Observed.Before, p.Texts, name, live, "planned", c)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// settlingText says why a plan only adds; empty where it does not.
func settlingText(why report.Settling) string {
	switch why {
	case report.ConfigDiffers:
		return "the config differs from the one applied last"
	case report.StateLost:
		return "the ledger is missing or damaged, so who asked for the managed entries is not known"
	case report.Simulated:
		return "as a new leader does until its config has settled (--add-only)"
	}
	return ""
}

func sign(op plan.Op) string {
	switch op {
	case plan.Add:
		return "+"
	case plan.Update, plan.Adopt:
		return "~"
	}
	return "-"
}

func renderChange(b *bytes.Buffer, ch *plan.Change, c palette) {
	s := sign(ch.Op)
	tint := map[string]string{"+": c.green, "~": c.yellow, "-": c.red}[s]
	fmt.Fprintf(b, "%s%s %-8s %s%s\n", tint, s, ch.Entry.Kind, visible.Text(ch.Entry.ARN), c.reset)
	line := func(what, text string) { fmt.Fprintf(b, "      %-9s %s\n", what, visible.Text(text)) }
	if ch.Entry.Kind != awsauth.Account {
		username, list := ch.Entry.Username, groups(ch.Entry.Groups)
		if ch.Before != nil && ch.Before.Username != username {
			username = ch.Before.Username + " → " + username
		}
		if ch.Before != nil && groups(ch.Before.Groups) != list {
			list = groups(ch.Before.Groups) + " → " + list
		}
		line("username", username)
		line("groups", list)
	}
	if len(ch.Sources) > 0 {
		line("source", strings.Join(ch.Sources, ", "))
	}
	if ch.Reason != "" {
		line("because", ch.Reason)
	}
}

// renderHold prints what waits, and how to let it go on.
func renderHold(b *bytes.Buffer, h *plan.PendingRemoval, c palette) {
	fmt.Fprintf(b, "%s! held back %s%s   %s; it waits for: rolecall approve %s\n", c.yellow, h.ID, c.reset, visible.Text(report.WhyPending(h)), h.ID)
	for i := range h.Changes {
		fmt.Fprintf(b, "      %s %-8s %s\n", sign(h.Changes[i].Op), h.Changes[i].Entry.Kind, visible.Text(h.Changes[i].Entry.ARN))
	}
}

// counted is a number of things, in words.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

func sourceOf(h *plan.PendingRemoval) string {
	return visible.Text(cmp.Or(h.Source, "no known source"))
}

func groups(list []string) string {
	if len(list) == 0 {
		return "no groups"
	}
	return visible.Text(strings.Join(list, ", "))
}

// bothKeys are the keys of both maps, sorted.
func bothKeys(a, b map[string]string) []string {
	all := maps.Clone(b)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, a)
	return slices.Sorted(maps.Keys(all))
}

// renderDiff prints the difference of the keys' texts as a unified diff; from
// and to say what the two are.
func renderDiff(b *bytes.Buffer, before, after map[string]string, name, from, to string, c palette) {
	for _, k := range bothKeys(before, after) {
		if before[k] == after[k] {
			continue
		}
		renderTexts(b, name+" "+k+" ("+from+")", name+" "+k+" ("+to+")", before[k], after[k], c)
	}
}

// renderTexts prints the difference of two texts as a unified diff.
func renderTexts(b *bytes.Buffer, from, to, before, after string, c palette) {
	diff := udiff.Unified(from, to, before, after)
	for line := range strings.Lines(visible.Lines(diff)) {
		tint := ""
		switch {
		case strings.HasPrefix(line, "+++"), strings.HasPrefix(line, "---"), strings.HasPrefix(line, "@@"):
			tint = c.dim
		case line[0] == '+':
			tint = c.green
		case line[0] == '-':
			tint = c.red
		}
		if tint == "" {
			b.WriteString(line)
			continue
		}
		b.WriteString(tint + strings.TrimSuffix(line, "\n") + c.reset + "\n")
	}
}
