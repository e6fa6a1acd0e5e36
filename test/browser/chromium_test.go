package browser

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// programs are the names that Chromium goes by.
var programs = []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"}

// chromium is the path of the browser: ROLECALL_CHROMIUM, or what is on the PATH.
func chromium(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("ROLECALL_CHROMIUM"); path != "" {
		return path
	}
	for _, name := range programs {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("ROLECALL_REQUIRE_CHROMIUM") == "1" {
		t.Fatalf("there is none of %v on the PATH: .ci/chromium installs one on Debian", programs)
	}
	t.Skipf("NOT TESTED: no browser has looked at the status page, for there is none of %v on the PATH; .ci/chromium installs one on Debian", programs)
	return ""
}

// A tab of a browser that notes all that a page should not do.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	troubles []string // what the console and DevTools complain of
	requests []string // URLs
}

// newTab starts a browser, which ends with the test. Its profile is chromedp's own
// to make and to remove: processes of Chromium write into it after the last one
// seems to have ended.
func newTab(t *testing.T) *tab {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium(t)),
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
	)
	// Until the clean-up has ended it: t.Context ends before.
	ctx, endBrowser := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...)
	ctx, endTab := chromedp.NewContext(ctx)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Logf("end the browser: %v", err)
		}
		endTab()
		endBrowser()
	})
	b := &tab{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, b.listen); err != nil {
		t.Fatal(err)
	}
	call(b, log.Enable, cdp.Empty{})
	call(b, audits.Enable, cdp.Empty{})
	call(b, runtime.Enable, cdp.Empty{})
	call(b, network.Enable, network.EnableParams{})
	return b
}

// call has DevTools do something with the tab, or ends the test.
func call[P, R any](b *tab, command cdp.Command[P, R], params P) R {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	out, err := chromedp.Call(ctx, command, params)
	if err != nil {
		b.t.Fatalf("%s: %v", command.Method, err)
	}
	return out
}

func (b *tab) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	trouble := func(format string, args ...any) { b.troubles = append(b.troubles, fmt.Sprintf(format, args...)) }
	switch e := event.(type) {
	case *log.EventEntryAdded:
		trouble("console: %s: %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL)
	case *runtime.EventConsoleAPICalled:
		trouble("something has called console.%s", e.Type)
	case *runtime.EventExceptionThrown:
		trouble("exception: %v", e.ExceptionDetails)
	case *audits.EventIssueAdded:
		trouble("issue: %s", e.Issue.Code)
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, e.Request.URL)
	case *page.EventJavascriptDialogOpening:
		trouble("a dialog: %s", e.Message)
	}
}

// do does something in the tab, or ends the test.
func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// open loads a page, with the width of a screen and a colour scheme.
func (b *tab) open(url string, width int64, scheme string) {
	b.t.Helper()
	b.screen(width, 900, scheme)
	b.do(chromedp.Navigate(url))
}

func (b *tab) screen(width, height int64, scheme string) {
	b.t.Helper()
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 500,
	})
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
}

// value is what an expression is in the page, as a text.
func (b *tab) value(expression string) string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	out, err := chromedp.Run(ctx, chromedp.Evaluate[any](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return fmt.Sprint(out)
}

// loaded waits until the page is there to its end.
func (b *tab) loaded() {
	b.t.Helper()
	b.value("document.readyState === 'complete' || new Promise(done => addEventListener('load', done, {once: true})).then(() => true)")
}

// text is what a reader sees of an element.
func (b *tab) text(selector string) string {
	b.t.Helper()
	return b.value(fmt.Sprintf("document.querySelector(%q)?.innerText ?? 'THERE IS NONE'", selector))
}

// shows fails the test unless an element's text has all of these.
func (b *tab) shows(selector string, texts ...string) {
	b.t.Helper()
	shown := b.text(selector)
	for _, text := range texts {
		if !strings.Contains(shown, text) {
			b.t.Errorf("%s lacks %q; it says\n%s", selector, text, shown)
		}
	}
}

// fits fails the test if something is wider than the screen.
func (b *tab) fits(width int64) {
	b.t.Helper()
	if got := b.value("document.documentElement.scrollWidth"); got != fmt.Sprint(width) {
		b.t.Errorf("the page is %s px wide on a screen of %d: %s", got, width, b.value(fmt.Sprintf(
			"[...document.querySelectorAll('body *')].filter(e=>e.getBoundingClientRect().right>%d && !e.closest('pre')).map(e=>e.tagName+'.'+e.className+' '+e.innerText?.slice(0,60)).join(' | ')", width)))
	}
}

// clean fails the test if anything was complained of, or if anything was asked
// for but pages of this origin.
func (b *tab) clean(origins ...string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, trouble := range b.troubles {
		b.t.Error(trouble)
	}
	for _, url := range b.requests {
		if !strings.HasPrefix(url, "data:") && !slices.ContainsFunc(origins, func(o string) bool { return strings.HasPrefix(url, o+"/") }) {
			b.t.Errorf("the page has asked for %s", url)
		}
	}
	if len(b.requests) == 0 {
		b.t.Error("no request was seen")
	}
}
