package page

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// moment is a time as people and machines read it.
type moment struct{ Machine, Exact, Short string }

// when is how long before now a time was. It is empty where the time is not
// known.
func when(now, at time.Time) moment {
	if at.IsZero() {
		return moment{}
	}
	text, ahead := "just now", at.Sub(now)
	switch {
	case ahead >= 5*time.Second: // by a clock that is ahead
		text = "in " + about(ahead)
	case ahead <= -5*time.Second:
		text = about(-ahead) + " ago"
	}
	return moment{stamp(at), clock(at), text}
}

// about is a duration in its largest unit.
func about(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

func stamp(at time.Time) string { return at.UTC().Format(time.RFC3339) }

func clock(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05 UTC") }

// splitARN is an ARN, or what stands in its place, with its own name apart.
type splitARN struct{ Head, Tail string }

func arn(s string) splitARN {
	i := strings.LastIndexByte(s, '/') + 1
	return splitARN{s[:i], s[i:]}
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

func standbys(agents int) string {
	if agents == 0 {
		return "not known"
	}
	return strconv.Itoa(agents - 1)
}

func short(hash string) string { return strings.ToValidUTF8(hash[:min(len(hash), 12)], "") }

func percent(n, of int) string {
	switch {
	case of <= 0 || n <= 0:
		return "0 %"
	case n*100 < of:
		return "under 1 %"
	}
	return strconv.Itoa(n*100/of) + " %"
}

func size(bytes int) string {
	if bytes >= 1<<20 {
		return strconv.Itoa(bytes>>20) + " MiB"
	}
	return strconv.Itoa(bytes>>10) + " KiB"
}
