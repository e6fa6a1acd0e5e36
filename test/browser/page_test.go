package browser

import (
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/rolecall/rolecall/test/fleet"
)

// troubled has a conflict, removals that are held back, a failing source, and a
// write of somebody else.
func troubled(t *testing.T) *site {
	s := newSite(t, fleet.Options{Namespace: fleet.DefaultNamespace}, config, theirs)
	// Its own writes are done, also that of IAM's answer, so that the last is that
	// of somebody else.
	s.says(s.leader, "group/Contractors", "NoSuchEntity", "rolearn: arn:aws:iam::111122223333:role/shop-workers", "rolearn: arn:aws:iam::111122223333:role/shop-ingress")
	s.Edit(func(data map[string]string) {
		data["mapRoles"] += "- rolearn: arn:aws:iam::111122223333:role/auditor\n  username: auditor\n  groups:\n  - viewers\n"
	})
	s.says(s.leader, "auditor", "another-tool")
	s.AWS.SetMembers("Developers", members[:2]...)
	s.reask(config)
	s.says(s.leader, "rolecall approve ", "6 of 8 principals of group/Developers would lose access")
	s.says(s.standby, "group/Contractors", "deploy-bot")
	return s
}

func TestPage(t *testing.T) {
	b := newTab(t) // it says at once if there is none
	s := troubled(t)
	leader, standby := s.origin(s.leader), s.origin(s.standby)

	// What a reader sees of the leader.
	b.open(leader+"/", 1280, "light")
	b.shows("title", "(3) rolecall", first)
	b.shows(".verdict", "3 things need attention", "group/Contractors has failed", "NoSuchEntity", "deploy-bot", "6 of 8 principals")
	b.shows(".facts", first+" (this agent)", "2\nof 3 agents", "19 entries", "15 ours, 4 of others", "role/shop-workers")
	b.shows("#sources", "permission-set/AdministratorAccess", "good", "group/Contractors", "fails began", "group/Developers", "2 entries")
	b.shows("#held", "6 of 8 principals of group/Developers would lose access", "rolecall approve ", "remove", "user/cleo")
	b.shows("#conflicts", "role/deployer", "deploy-bot", "deployers", "viewers")
	b.shows("#writes", "another-tool", "+- rolearn: arn:aws:iam::111122223333:role/auditor", "mapRoles")
	b.shows("#roles", "role/shop-ingress", first)
	b.shows("#entries", "role/break-glass", "no mark", "syncedBy terraform", "group/Developers", "node", "extra", "karpenter", "444455556666", "system:masters")

	// Its stylesheet is in force, in both schemes.
	if got := b.value("getComputedStyle(document.body).backgroundColor"); got != "rgb(250, 250, 248)" {
		b.t.Errorf("by day the page is %s: its own policy keeps its stylesheet out?", got)
	}
	b.open(leader+"/", 1280, "dark")
	if got := b.value("getComputedStyle(document.body).backgroundColor"); got != "rgb(18, 21, 23)" {
		b.t.Errorf("by night the page is %s", got)
	}

	// It fits on narrow screens, and so does a standby's.
	for _, origin := range []string{leader, standby} {
		for _, width := range []int64{375, 320, 768} {
			b.open(origin+"/", width, "light")
			b.fits(width)
		}
	}

	// The keyboard does: the first stop skips to the content, the filter is sent by
	// the return key.
	b.open(leader+"/", 1280, "light")
	b.do(chromedp.KeyEvent(kb.Tab))
	if got := b.value("document.activeElement.innerText"); got != "Skip to the content" {
		t.Errorf("the first stop of the keyboard is %q", got)
	}
	b.value("document.getElementById('q').focus()")
	b.do(chromedp.KeyEvent("system:MASTERS"), chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible(chromedp.CSS(`#q[value="system:MASTERS"]`)))
	b.loaded()
	if got := b.value("document.querySelectorAll('.entries tbody tr').length"); got != "2" {
		t.Errorf("%s entries have the group system:masters, want 2", got)
	}
	b.shows("#entries", "1–2 of 2 with “system:MASTERS”", "role/break-glass", "AWSReservedSSO_AdministratorAccess")

	// A standby says what it knows, and leads to the leader.
	b.open(standby+"/", 1280, "light")
	b.shows(".top", second, "stands by")
	b.shows(".verdict", "2 things need attention", "group/Contractors", "deploy-bot")
	b.shows(".facts", first, "looked", "of 3 agents", "role/shop-ingress")
	b.shows("pre.command", "kubectl -n rolecall-system port-forward", "spec.nodeName="+first)
	b.shows("#sources", "group/Developers", "fails began")
	if got := b.text("#entries"); got != "THERE IS NONE" {
		t.Errorf("a standby shows entries:\n%s", got)
	}

	// On paper it is whole: no table is cut off, and differences are unfolded.
	b.open(leader+"/", 1280, "light")
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"})
	if got := b.value("[...document.querySelectorAll('.diff pre')].every(e => e.getClientRects().length > 0 && e.scrollHeight <= e.clientHeight + 1)"); got != "true" {
		t.Error("on paper a difference is folded or cut off")
	}
	if got := b.value("getComputedStyle(document.querySelector('form')).display"); got != "none" {
		t.Errorf("on paper the filter is shown: %s", got)
	}
	if paper := call(b, page.PrintToPDF, page.PrintToPDFParams{}); len(paper.Data) < 10_000 {
		t.Errorf("the paper has %d bytes", len(paper.Data))
	}

	b.clean(leader, standby)
	b.picture("status-page-light", leader, 1280, 1500, "light")
	b.picture("status-page-dark", leader, 1280, 1500, "dark")
	b.picture("status-page-narrow", leader, 375, 1400, "light")
	b.picture("status-page-standby", standby, 1280, 1100, "light")
}

// What others wrote into aws-auth does nothing in a browser.
func TestHostilePage(t *testing.T) {
	b := newTab(t)
	hostile := `- rolearn: arn:aws:iam::111122223333:role/a
  username: "<script>console.error('script')</script><img src=x onerror=console.error('img')>"
  groups:
  - "</td></tr></table><iframe src=//evil.example></iframe>"
  - "\u202E\e[2J"
  syncedBy: "\"><svg onload=console.error('svg')>"
- rolearn: "arn:aws:iam::111122223333:role/deployer"
  username: "</style><style>*{display:none}</style><link rel=stylesheet href=//evil.example>"
`
	s := newSite(t, fleet.Options{}, config, hostile)
	s.says(s.leader, "group/Contractors", "role/</span>a<", "&lt;script&gt;", "&lt;/style&gt;")
	s.says(s.standby, "&lt;/style&gt;")
	leader, standby := s.origin(s.leader), s.origin(s.standby)
	b.open(leader+"/", 375, "light")
	b.shows("#entries", "<script>console.error('script')</script>", "</table><iframe", `\u202e\x1b[2J`, `syncedBy "><svg onload`)
	b.shows("#conflicts", "</style><style>*{display:none}</style>")
	b.shows("#writes", "rolecall")
	b.fits(375)
	b.open(standby+"/", 375, "light")
	b.shows("#conflicts", "</style><style>*{display:none}</style>")
	b.fits(375)
	for _, element := range []string{"script", "img", "iframe", "svg", "object", "link[rel=stylesheet]", "style ~ style"} {
		if n := b.value("document.querySelectorAll('" + element + "').length"); n != "0" {
			t.Errorf("the page has %s elements %s", n, element)
		}
	}
	b.clean(leader, standby)
}
