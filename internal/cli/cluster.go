package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/register/configmap"
)

// requestTimeout bounds what is asked of the API server at a time.
const requestTimeout = 30 * time.Second

// objectFlags say which aws-auth a command is about, and whose ledger and
// history.
type objectFlags struct {
	kube kubeFlags

	awsAuthNamespace, awsAuthName string

	own *pflag.FlagSet
}

func (f *objectFlags) addTo(flags *pflag.FlagSet) {
	f.own = pflag.NewFlagSet("", pflag.ContinueOnError)
	f.kube.addTo(f.own)
	f.own.StringVar(&f.awsAuthNamespace, "aws-auth-namespace", awsauth.Namespace, "namespace of aws-auth")
	f.own.StringVar(&f.awsAuthName, "aws-auth-name", awsauth.Name, "name of aws-auth")
	flags.AddFlagSet(f.own)
}

// objects makes a client; it makes no request. The environment gives these
// flags alone: nobody is to find --yes there.
func (f *objectFlags) objects() (*objects, error) {
	if err := flagsFromEnvironment(f.own); err != nil {
		return nil, err
	}
	client, err := f.kube.client()
	if err != nil {
		return nil, err
	}
	return &objects{client, agentNamespace(f.kube.namespace), f.awsAuthNamespace, f.awsAuthName}, nil
}

// objects are aws-auth, the ledger and the revisions of one cluster.
type objects struct {
	client    kubernetes.Interface
	namespace string // the agents'

	awsAuthNamespace, awsAuthName string
}

func (o *objects) name() string { return o.awsAuthNamespace + "/" + o.awsAuthName }

// awsAuth reads and writes aws-auth.
func (o *objects) awsAuth(fieldManager string, d dryRun) *awsauth.Store {
	var maps awsauth.ConfigMaps = o.client.CoreV1().ConfigMaps(o.awsAuthNamespace)
	switch d {
	case dryRunClient:
		maps = unwrittenConfigMaps{maps}
	case dryRunServer:
		maps = dryRunConfigMaps{maps}
	}
	return awsauth.NewStore(maps, o.awsAuthName, fieldManager)
}

// errNoLedger says that no agent has led in that namespace.
var errNoLedger = errors.New("there is no ledger")

// ledger reads what the leader has written down. It needs no more right than
// "get" of that ConfigMap.
func (o *objects) ledger(ctx context.Context) (*plan.State, error) {
	ledger, _, err := o.ledgerWithID(ctx)
	return ledger, err
}

// ledgerWithID is ledger with the ID that stands for it.
func (o *objects) ledgerWithID(ctx context.Context) (*plan.State, string, error) {
	cm, err := o.client.CoreV1().ConfigMaps(o.namespace).Get(ctx, configmap.LedgerName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, "", fmt.Errorf("%w (ConfigMap %s) in namespace %s: give the agents' namespace with -n; where it is the right one, no agent has led yet", errNoLedger, configmap.LedgerName, o.namespace)
	}
	if err != nil {
		return nil, "", fmt.Errorf("read ConfigMap %s in namespace %s: %w", configmap.LedgerName, o.namespace, err)
	}
	ledger, id, err := configmap.DecodeLedger(cm.BinaryData[configmap.LedgerKey])
	switch {
	case errors.Is(err, configmap.ErrNewerLedger):
		return nil, "", fmt.Errorf("ConfigMap %s in namespace %s: %w", configmap.LedgerName, o.namespace, err)
	case err != nil:
		return nil, "", fmt.Errorf("ConfigMap %s in namespace %s is damaged: %w; a leader goes by the marks in aws-auth then, and writes it anew with its next change", configmap.LedgerName, o.namespace, err)
	}
	return ledger, id, nil
}

// dryRun is kubectl's --dry-run.
type dryRun string

const (
	dryRunNone   dryRun = "none"
	dryRunClient dryRun = "client" // shows what would be written
	dryRunServer dryRun = "server" // has the API server try it, too
)

// addTo adds --dry-run; without a value it is client.
func (d *dryRun) addTo(flags *pflag.FlagSet) {
	*d = dryRunNone
	flags.Var(d, "dry-run", "none, client (show what would be written) or server (have the API server try it, too)")
	flags.Lookup("dry-run").NoOptDefVal = string(dryRunClient)
}

// Set implements pflag.Value.
func (d *dryRun) Set(value string) error {
	switch given := dryRun(value); given {
	case dryRunNone, dryRunClient, dryRunServer:
		*d = given
		return nil
	}
	return fmt.Errorf("write none, client or server")
}

func (d *dryRun) String() string { return cmp.Or(string(*d), string(dryRunNone)) }

// Type implements pflag.Value.
func (d *dryRun) Type() string { return "mode" }

// note is what is said behind a thing done that was not.
func (d *dryRun) note() string {
	if *d == dryRunNone {
		return ""
	}
	return fmt.Sprintf(" (%s dry run)", *d)
}

// dryRunConfigMaps has the API server check every write and keep none.
type dryRunConfigMaps struct{ awsauth.ConfigMaps }

func (m dryRunConfigMaps) Create(ctx context.Context, cm *corev1.ConfigMap, opts metav1.CreateOptions) (*corev1.ConfigMap, error) {
	opts.DryRun = []string{metav1.DryRunAll}
	return m.ConfigMaps.Create(ctx, cm, opts)
}

func (m dryRunConfigMaps) Update(ctx context.Context, cm *corev1.ConfigMap, opts metav1.UpdateOptions) (*corev1.ConfigMap, error) {
	opts.DryRun = []string{metav1.DryRunAll}
	return m.ConfigMaps.Update(ctx, cm, opts)
}

// unwrittenConfigMaps takes every write for done and sends none.
type unwrittenConfigMaps struct{ awsauth.ConfigMaps }

func (unwrittenConfigMaps) Create(_ context.Context, cm *corev1.ConfigMap, _ metav1.CreateOptions) (*corev1.ConfigMap, error) {
	return cm, nil
}

func (unwrittenConfigMaps) Update(_ context.Context, cm *corev1.ConfigMap, _ metav1.UpdateOptions) (*corev1.ConfigMap, error) {
	return cm, nil
}
