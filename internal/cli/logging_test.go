package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/rolecall/rolecall/agent"
	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/register"
	"github.com/rolecall/rolecall/internal/register/configmap"
	"github.com/rolecall/rolecall/internal/source"
	"github.com/rolecall/rolecall/internal/visible"
)

// hostile are texts that would forge a line, steer a terminal or hide.
func hostile() []string {
	return []string{
		"a\nlevel=ERROR msg=forged", "a\r\n{\"msg\":\"forged\"}\r", "\x1b[2J\x1b]0;title\x07", "a b \x1b[31mred", `a b \x1b[31m literal`, `\\x1b[0m \u001b`,
		"\u009b31m", "\u0085\u2028\u2029", "\u202etxt.exe\u2066", "nul\x00del\x7f", "\xff\xfe\xc3", "\"quoted\" = \t tab", "\U000e0041\u200b", "",
		strings.Repeat("long ", 100_000),
	}
}

// clean fails on what does not print, line feeds apart.
func clean(t *testing.T, what, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Errorf("%s is no UTF-8: %q", what, text)
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
		t.Errorf("%s holds what does not print: %q", what, text[max(0, i-20):min(len(text), i+20)])
	}
}

// colours are what tint and renderPlan colour with, and nobody else may.
var colours = regexp.MustCompile(`\x1b\[[0-9;]*m`)

func TestLogLinesCannotBeForged(t *testing.T) {
	for name, handler := range map[string]func(io.Writer) slog.Handler{
		"json":     func(w io.Writer) slog.Handler { return newJSONHandler(w, slog.LevelDebug) },
		"text":     func(w io.Writer) slog.Handler { return newTextHandler(w, slog.LevelDebug, false) },
		"coloured": func(w io.Writer) slog.Handler { return newTextHandler(w, slog.LevelDebug, true) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, h := range hostile() {
				var b bytes.Buffer
				log := slog.New(handler(&b))
				type odd struct{ S string }
				log.Error("a message", "text", h, "err", errors.New(h), "list", []string{h, h}, "any", odd{h}, "bytes", json.RawMessage(nil), slog.Group("group", "in", h))
				log.With("with", h).Debug(h) //nolint:sloglint // as client-go's through klog
				if lines := strings.Count(b.String(), "\n"); lines != 2 || !strings.HasSuffix(b.String(), "\n") {
					t.Errorf("two records are %d lines: %.200q", lines, &b)
				}
				if b.Len() > 16*maxLogged {
					t.Errorf("two records of %d bytes", b.Len())
				}
				text := b.String()
				if name == "coloured" {
					// Those of tint, and as many of them as without the hostile text.
					var plain bytes.Buffer
					log := slog.New(handler(&plain))
					log.Error("a message", "text", "x", "err", errors.New("x"), "list", []string{"x", "x"}, "any", odd{"x"}, "bytes", json.RawMessage(nil), slog.Group("group", "in", "x"))
					log.With("with", "x").Debug("x")
					want, got := colours.FindAllString(plain.String(), -1), colours.FindAllString(text, -1)
					if fmt.Sprint(want) != fmt.Sprint(got) {
						t.Errorf("escape sequences %q, want tint's own %q: %q", got, want, text)
					}
					text = colours.ReplaceAllString(text, "")
				}
				clean(t, "the log", text)
				if name != "json" {
					continue
				}
				for line := range bytes.Lines(b.Bytes()) {
					var record map[string]any
					if err := json.Unmarshal(line, &record); err != nil {
						t.Errorf("no JSON: %v: %.200q", err, line)
					}
					if got, ok := record["text"].(string); ok && len(h) < maxLogged && got != strings.ToValidUTF8(h, "\ufffd") && utf8.ValidString(h) {
						t.Errorf("%q is logged as %q", h, got)
					}
				}
			}
		})
	}
}

// What a plan shows of others' texts steers no terminal.
func TestPlanOnATerminal(t *testing.T) {
	for _, h := range hostile() {
		if h == "" || len(h) > 10_000 {
			continue
		}
		h = strings.ReplaceAll(h, "\U000e0041", "") // YAML 1.1 has no pairs of surrogates
		quoted, err := json.Marshal(strings.ToValidUTF8(h, "?"))
		if err != nil {
			t.Fatal(err)
		}
		quoted = visible.JSON(quoted)
		foreign := fmt.Sprintf("- {rolearn: 'arn:aws:iam::111122223333:role/taken', username: %s, groups: [%s]} # %s\n- {rolearn: %s, username: x, groups: [y], syncedBy: rolecall}\n",
			quoted, quoted, strings.Map(func(r rune) rune {
				if r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == utf8.RuneError {
					return -1 // which YAML has in no comment
				}
				return r
			}, h), quoted)
		client := fake.NewClientset(&corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: awsauth.Namespace, Name: awsauth.Name, ResourceVersion: "1"},
			Data:       map[string]string{"mapRoles": foreign},
		})
		log := slog.New(slog.DiscardHandler)
		pipeline := agent.Reconciler{
			Register: configmap.New(configmap.Options{Client: client, Namespace: "n", Unattended: true, Logger: log}),
			Sources: source.NewSet(source.Kinds(), source.Env{
				Logger: log, Now: time.Now, Self: func() (source.Node, bool) { return source.Node{}, false },
			}),
			Logger: log, Now: time.Now,
		}
		c := config.Config{Roles: []config.Role{
			{ARN: "arn:aws:iam::111122223333:role/taken", Username: "ours", Groups: []string{"ours"}},
			{ARN: "arn:aws:iam::111122223333:role/new", Username: "ours"},
		}}
		c.Safety.RemovalLimit.Percent = 100
		out := pipeline.Plan(t.Context(), &config.File{Config: c, Hash: "h"})
		if out.Err != nil {
			t.Fatalf("%q: %v", foreign, out.Err)
		}
		// The marked entry of an unknown ledger is left alone: one is added.
		if made := out.Change; len(made.Conflicts) != 1 || len(made.Changes)+len(made.Removals) != 1 {
			t.Fatalf("%q: %d conflicts, %d changes and %d pending removals, want 1, and 1 together", h, len(made.Conflicts), len(made.Changes), len(made.Removals))
		}
		out.Change.Removals = append(out.Change.Removals, plan.PendingRemoval{ID: "id", Source: "group/" + h, Changes: out.Change.Changes})
		out.Change.Left = []register.Left{{Op: plan.Update, Entry: awsauth.Entry{ARN: h}, Why: h}}
		out.Change.Refused = []register.Refused{{ARN: h, Sources: []string{h}}}
		out.Asked.Errs = map[string]error{"group/" + h: errors.New(h)}
		for _, colour := range []bool{false, true} {
			var b bytes.Buffer
			if err := renderPlan(&b, out, "kube-system/aws-auth", colour); err != nil {
				t.Fatal(err)
			}
			text := b.String()
			if colour {
				text = colours.ReplaceAllString(text, "")
			}
			clean(t, "the plan", text)
			if strings.Contains(text, "\nlevel=") {
				t.Errorf("a forged line: %q", text)
			}
		}
		var b bytes.Buffer
		f := planFlags{output: "json"}
		if err := f.print(&b, out); err != nil {
			t.Fatal(err)
		}
		clean(t, "the plan in JSON", b.String())
		b.Reset()
		complain(&b, "warning", failedSources(out.Asked.Errs).Error())
		clean(t, "a warning", b.String())
		if strings.Contains(b.String(), "\nlevel=") {
			t.Errorf("a forged line: %q", &b)
		}
	}
}

// A problem of a config is one line, whatever the file says.
func TestProblemsAreLines(t *testing.T) {
	for _, h := range hostile() {
		p := config.Problem{File: "/etc/rolecall/" + h, Line: 1, Key: h, Message: h}
		var b bytes.Buffer
		complain(&b, "warning", p.String())
		clean(t, "the problem", b.String())
	}
}

// Nobody has to act on what we have ended ourselves.
func TestEndedRequestsAreNoErrors(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(calmer{slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo})})
	log.Error(afterTheTerm, "event", "one")
	log.Error(atItsEnd, "err", errors.New("broadcaster already stopped"))
	log.Error("a request", "err", fmt.Errorf("wrapped: %w", context.Canceled))
	if out.Len() > 0 {
		t.Errorf("logged is\n%s", &out)
	}
	log.Error("a request", "err", errors.New("refused"))
	if !strings.Contains(out.String(), "refused") {
		t.Error("what somebody has to act on is not logged")
	}
}
