package fleet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/register/configmap"
)

// LedgerName is the ConfigMap with the ledger, in the agents' namespace.
const LedgerName = "rolecall-ledger"

// Settled waits until the ledger says what aws-auth does, and returns both. The
// leader writes the ledger last: who looks at aws-auth alone may take that for
// a write that comes later.
func (f *Fleet) Settled(ctx context.Context) (awsAuth, ledger *corev1.ConfigMap, err error) {
	_, err = Until(ctx, func(ctx context.Context) error {
		if awsAuth, err = f.AWSAuth(ctx); err != nil {
			return err
		}
		mappings, err := Mappings(awsAuth)
		if err != nil {
			return err
		}
		if ledger, err = f.Client.CoreV1().ConfigMaps(f.Namespace).Get(ctx, LedgerName, metav1.GetOptions{}); err != nil {
			return err
		}
		content, _, err := configmap.DecodeLedger(ledger.BinaryData[configmap.LedgerKey])
		if err != nil {
			return err
		}
		return agree(mappings, content)
	})
	return awsAuth, ledger, err
}

// agree reports whether the ledger holds the marked entries and no others, and
// waits for none. Entries of accounts have no mark and are passed over.
func agree(mappings []Mapping, ledger *plan.State) error {
	marked, owned := map[string]bool{}, map[string]bool{}
	for _, m := range mappings {
		if m.SyncedBy == awsauth.Mark {
			marked[strings.ToLower(m.ARN)] = true
		}
	}
	for _, o := range ledger.Owned {
		if o.Pending {
			return fmt.Errorf("the ledger waits for %s to be written", o.ARN)
		}
		if o.Kind != awsauth.Account {
			owned[strings.ToLower(o.ARN)] = true
		}
	}
	if !maps.Equal(marked, owned) {
		return errors.New("the ledger does not hold the very entries that have our mark")
	}
	return nil
}

// Marked fails where an entry that is ours by the ledger has no mark among the
// mappings that aws-auth has. Accounts have none.
func (f *Fleet) Marked(ctx context.Context, found []Mapping) error {
	cm, err := f.Client.CoreV1().ConfigMaps(f.Namespace).Get(ctx, LedgerName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	ledger, _, err := configmap.DecodeLedger(cm.BinaryData[configmap.LedgerKey])
	if err != nil {
		return err
	}
	marked := map[string]bool{}
	for _, m := range found {
		marked[m.ARN] = marked[m.ARN] || m.SyncedBy == awsauth.Mark
	}
	for i := range ledger.Owned {
		if o := &ledger.Owned[i]; o.Kind != awsauth.Account && !o.Pending && !marked[o.ARN] {
			return fmt.Errorf("%s is ours and has no mark", o.ARN)
		}
	}
	return nil
}
