package compat_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

// A ledger is what the ConfigMap rolecall-ledger says, as far as both versions must
// read it alike.
type ledger struct {
	Version int
	Owned   []owned
	Held    []pendingRemoval
}

type owned struct {
	Kind, ARN, Username string
	Groups              []string
	Claims              []struct{ Source string }
	Pending             bool
}

// A pendingRemoval waits for approval. Which entries would go is not read from the
// ledger, but from what the commands list.
type pendingRemoval struct {
	ID, Source string
	Of         int // entries of the source
	Since      time.Time
}

func decodeLedger(cm *corev1.ConfigMap) (*ledger, error) {
	unzip, err := gzip.NewReader(bytes.NewReader(cm.BinaryData["ledger.json.gz"]))
	if err != nil {
		return nil, fmt.Errorf("unpack the ledger: %w", err)
	}
	text, err := io.ReadAll(unzip)
	if err != nil {
		return nil, fmt.Errorf("unpack the ledger: %w", err)
	}
	var l ledger
	if err := json.Unmarshal(text, &l); err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	return &l, nil
}

// ledger reads the ledger.
func (c *cluster) ledger(ctx context.Context) (*ledger, error) {
	cm, err := c.Client.CoreV1().ConfigMaps(c.Namespace).Get(ctx, fleet.LedgerName, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return decodeLedger(cm)
}

// owns says how the ledger differs from holding just these entries, each with the
// sources that ask for it, and with none that is yet to be written.
func (l *ledger) owns(managed []fleet.Mapping) error {
	var got, want []string
	for _, o := range l.Owned {
		if o.Pending {
			return fmt.Errorf("the ledger has %s as pending", o.ARN)
		}
		if len(o.Claims) == 0 || o.Claims[0].Source == "" {
			return fmt.Errorf("the ledger does not say who asks for %s", o.ARN)
		}
		slices.Sort(o.Groups)
		got = append(got, fmt.Sprintf("%s %s %q", o.ARN, o.Username, o.Groups))
	}
	for _, m := range managed {
		want = append(want, fmt.Sprintf("%s %s %q", m.ARN, m.Username, m.Groups))
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("the ledger's entries (-want +got)\n%s", diff)
	}
	return nil
}

// settled waits until aws-auth maps what is asked and what others have, each principal
// once, and the ledger says the same.
func (c *cluster) settled(what string) {
	c.T.Helper()
	c.settledWith(what)
}

// settledWith is settled with more entries of others.
func (c *cluster) settledWith(what string, others ...fleet.Mapping) {
	c.T.Helper()
	c.Eventually(what, func(ctx context.Context) error {
		cm, err := c.AWSAuth(ctx)
		if err != nil {
			return err
		}
		if err := trial.Differs(cm, slices.Concat(unmanaged, others, c.now.managed())); err != nil {
			return err
		}
		l, err := c.ledger(ctx)
		if err != nil {
			return err
		}
		return l.owns(c.now.managed())
	})
}

// check is what holds after each scenario: all is settled; no version of aws-auth on the
// way had others' text changed, a principal twice, or one missing that was to stay; and
// the commands of both versions see the same.
func (c *cluster) check(stay ...fleet.Mapping) {
	c.T.Helper()
	c.settled("the check begins")
	c.checkVersions(stay)
	for _, v := range []version{previous, current} {
		c.checkCommands(v)
	}
}

// noneDisowned takes everything but node roles out of the config: an entry of which the
// leader has forgotten that it manages it would stay.
func (c *cluster) noneDisowned() {
	c.T.Helper()
	c.ask(c.now.without())
	c.settled("what is asked for no more goes")
}

// checkVersions looks at every version of aws-auth up to the present one.
func (c *cluster) checkVersions(stay []fleet.Mapping) {
	c.T.Helper()
	ctx, cancel := context.WithTimeout(c.T.Context(), trial.Patience)
	defer cancel()
	versions, err := c.seen.UpTo(ctx, c.Now())
	if err != nil {
		c.T.Fatal(err)
	}
	for _, problem := range problems(versions, stay) {
		c.T.Error(problem)
	}
	c.T.Logf("%d versions of aws-auth are looked at", len(versions))
}

// problems are what is wrong with versions of aws-auth: text of others that is not there,
// a principal that is there twice, and one that was to stay and has gone again.
func problems(versions []fleet.Version, stay []fleet.Mapping) []error {
	var found []error
	mapped := map[string]bool{}
	for _, v := range versions {
		if err := problem(v, stay, mapped); err != nil {
			found = append(found, fmt.Errorf("resourceVersion %s of aws-auth: %w\n%v", v.ResourceVersion, err, v.Data))
		}
	}
	return found
}

// problem notes in mapped what it has seen.
func problem(v fleet.Version, stay []fleet.Mapping, mapped map[string]bool) error {
	if v.Deleted {
		return errors.New("it was deleted")
	}
	for key, text := range unmanagedText {
		if !strings.Contains(v.Data[key], text) {
			return fmt.Errorf("%s lacks others' text:\n%s", key, text)
		}
	}
	entries, err := fleet.Mappings(v.ConfigMap)
	if err != nil {
		return err
	}
	here := map[string]bool{}
	for _, e := range entries {
		arn := strings.ToLower(e.ARN)
		if here[arn] {
			return fmt.Errorf("%s is there twice", e.ARN)
		}
		here[arn] = true
	}
	for _, m := range stay {
		arn := strings.ToLower(m.ARN)
		if mapped[arn] && !here[arn] {
			return fmt.Errorf("%s was to stay and is missing", m.ARN)
		}
		mapped[arn] = mapped[arn] || here[arn]
	}
	return nil
}

// checkCommands has a version's commands read what both versions wrote: get names the
// sources of each managed entry and of no other, and plan finds nothing to do.
func (c *cluster) checkCommands(v version) {
	c.T.Helper()
	var list struct {
		Items []struct {
			ARN      string
			Username string
			Groups   []string
			Ours     bool
			Sources  []string
			SyncedBy string
		}
	}
	c.answer(v, &list, "get")
	var got []fleet.Mapping
	for _, e := range list.Items {
		if e.Ours {
			slices.Sort(e.Groups)
			got = append(got, fleet.Mapping{ARN: e.ARN, Username: e.Username, Groups: e.Groups, SyncedBy: e.SyncedBy})
		}
		if e.Ours != (len(e.Sources) > 0) {
			c.T.Errorf("the %s rolecall get: %s: managed %t, by the sources %q", v, e.ARN, e.Ours, e.Sources)
		}
	}
	if diff := cmp.Diff(byARN(c.now.managed()), byARN(got)); diff != "" {
		c.T.Errorf("the %s rolecall get: managed entries (-want +got)\n%s", v, diff)
	}
	var plan struct{ Changes []any }
	c.answer(v, &plan, "plan", "--config="+c.configFile(c.now))
	if len(plan.Changes) > 0 {
		c.T.Errorf("the %s rolecall plan would change %v", v, plan.Changes)
	}
}

func byARN(all []fleet.Mapping) []fleet.Mapping {
	return slices.SortedFunc(slices.Values(all), func(a, b fleet.Mapping) int { return strings.Compare(a.ARN, b.ARN) })
}

// sameText reports whether two states of aws-auth differ in metadata alone.
func sameText(a, b *corev1.ConfigMap) bool {
	return maps.Equal(a.Data, b.Data) && maps.EqualFunc(a.BinaryData, b.BinaryData, bytes.Equal)
}
