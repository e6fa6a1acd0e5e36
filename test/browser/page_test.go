package browser

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/rolecall/rolecall/test/fleet"
)

// troubled has a conflict, removals that are held back, a failing source, and a
// write of somebody else.
func troubled(t *testing.T) *site {
	s := newSite(t, fleet.Options{Namespace: fleet.DefaultNamespace}, config, theirs)
	s.says(s.leader, "group/Contractors", "shop-ingress")
	s.Edit(func(data map[string]string) {
		data["mapRoles"] += "- rolearn: arn:aws:iam::111122223333:role/auditor\n  username: auditor\n  groups:\n  - viewers\n"
	})
	s.says(s.leader, "auditor", "another-tool")
	s.AWS.SetMembers("Developers", members[:2]...)
	s.reask(config)
	s.says(s.leader, "rolecall approve ", "6 of 8 entries of group/Developers")
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
	b.shows(".verdict", "3 things need attention", "group/Contractors has failed", "NoSuchEntity", "deploy-bot", "6 of 8 entries")
	b.shows(".facts", first+" (this agent)", "2\nof 3 agents", "19 entries", "15 ours, 4 of others", "role/shop-workers")
	b.shows("#sources", "permission-set/AdministratorAccess", "good", "group/Contractors", "fails began", "group/Developers", "2 entries")
	b.shows("#held", "6 of 8 entries of group/Developers", "rolecall approve ", "remove", "user/cleo")
	b.shows("#conflicts", "role/deployer", "deploy-bot", "deployers", "viewers")
	b.shows("#writes", "another-tool", "+- rolearn: arn:aws:iam::111122223333:role/auditor", "mapRoles")
	b.shows("#roles", "role/shop-ingress", first)
	b.shows("#entries", "role/break-glass", "no mark", "syncedBy terraform", "group/Developers", "node", "extra", "karpenter", "444455556666", "system:masters")

	// Its stylesheet is in force, in both schemes.
	if got := b.value("getComputedStyle(document.body).backgroundColor"); got != "rgb(250, 250, 248)" {
		b.t.Errorf("by day the page is %s: its own policy keeps its stylesheet out?", got)
	}
	if os.Getenv("LOOK") != "" {
		for _, w := range []int64{1280, 375} {
			for _, sc := range []string{"light", "dark"} {
				b.screen(w, 900, sc)
				yes := true
				shot := call(b, page.CaptureScreenshot, page.CaptureScreenshotParams{CaptureBeyondViewport: &yes, Clip: &page.Viewport{Width: float64(w), Height: 3600, Scale: 1}})
				os.WriteFile(filepath.Join("/tmp/look", sc+"-"+map[bool]string{true: "narrow", false: "wide"}[w == 375]+".png"), shot.Data, 0o644)
			}
		}
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
	if os.Getenv("LOOK") != "" {
		b.screen(1280, 1500, "light")
		shot := call(b, page.CaptureScreenshot, page.CaptureScreenshotParams{})
		os.WriteFile("/tmp/look/standby.png", shot.Data, 0o644)
	}
	b.clean(leader, standby)
}
