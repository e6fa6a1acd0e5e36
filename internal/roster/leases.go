package roster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
)

// Leases are the Leases of a namespace for a [Roster]. Whoever may write Leases can
// make each as large as an etcd value, 1.5 MiB, and most of that where no policy looks:
// a page of a hundred would take more memory than a leader has. So a list is read as
// it comes in, and of each Lease only what a report has is kept, before the next one is
// read. It takes the memory of the largest Lease. The same holds for a watch.
//
// With a client that has no connection, such as client-go's fake one, they are the
// client's own.
func Leases(client coordinationv1client.CoordinationV1Interface, namespace string) coordinationv1client.LeaseInterface {
	leases := client.Leases(namespace)
	if c, ok := client.RESTClient().(*rest.RESTClient); ok && c != nil {
		return &slimLeases{LeaseInterface: leases, rest: c, namespace: namespace}
	}
	return leases
}

// slimLeases lists and watches Leases without what no report has. JSON and not
// protobuf, since a decoder of JSON can be given an object at a time.
type slimLeases struct {
	coordinationv1client.LeaseInterface
	rest      rest.Interface
	namespace string
}

// List implements [coordinationv1client.LeaseInterface].
func (l *slimLeases) List(ctx context.Context, opts metav1.ListOptions) (*coordinationv1.LeaseList, error) {
	body, err := l.rest.Get().Namespace(l.namespace).Resource("leases").VersionedParams(&opts, scheme.ParameterCodec).
		SetHeader("Accept", "application/json").Stream(ctx)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	list, err := readLeases(body)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err() // the connection was closed with it
		}
		return nil, fmt.Errorf("read a list of Leases: %w", err)
	}
	return list, nil
}

// Watch implements [coordinationv1client.LeaseInterface].
func (l *slimLeases) Watch(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	w, err := l.LeaseInterface.Watch(ctx, opts)
	if err != nil {
		return nil, err
	}
	return watch.Filter(w, func(e watch.Event) (watch.Event, bool) {
		if lease, ok := e.Object.(*coordinationv1.Lease); ok && e.Type != watch.Bookmark { // which says by annotations what it is
			slim(lease)
		}
		return e, true
	}), nil
}

// A listedLease is what is read of a Lease.
type listedLease struct {
	Metadata struct {
		Name              string            `json:"name"`
		Namespace         string            `json:"namespace"`
		ResourceVersion   string            `json:"resourceVersion"`
		CreationTimestamp metav1.Time       `json:"creationTimestamp"`
		Annotations       map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		HolderIdentity *string           `json:"holderIdentity"`
		RenewTime      *metav1.MicroTime `json:"renewTime"`
	} `json:"spec"`
}

func (l *listedLease) lease() coordinationv1.Lease {
	out := coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{
			Name: l.Metadata.Name, Namespace: l.Metadata.Namespace, ResourceVersion: l.Metadata.ResourceVersion,
			CreationTimestamp: l.Metadata.CreationTimestamp, Annotations: l.Metadata.Annotations,
		},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: l.Spec.HolderIdentity, RenewTime: l.Spec.RenewTime},
	}
	slim(&out)
	return out
}

// readLeases reads a LeaseList in JSON, an item at a time.
func readLeases(body io.Reader) (*coordinationv1.LeaseList, error) {
	d := json.NewDecoder(body)
	if err := expect(d, json.Delim('{')); err != nil {
		return nil, err
	}
	list := &coordinationv1.LeaseList{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		switch key {
		case "kind":
			err = d.Decode(&list.Kind)
		case "metadata":
			err = d.Decode(&list.ListMeta)
		case "items":
			err = readItems(d, list)
		default:
			var skipped json.RawMessage
			err = d.Decode(&skipped)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := expect(d, json.Delim('}')); err != nil {
		return nil, err
	}
	if list.Kind != "LeaseList" {
		return nil, fmt.Errorf("the answer is a %q", list.Kind)
	}
	return list, nil
}

func readItems(d *json.Decoder, list *coordinationv1.LeaseList) error {
	start, err := d.Token()
	if err != nil || start == nil { // null
		return err
	}
	if start != json.Delim('[') {
		return errNoList
	}
	for d.More() {
		var item listedLease
		if err := d.Decode(&item); err != nil {
			return err
		}
		list.Items = append(list.Items, item.lease())
	}
	return expect(d, json.Delim(']'))
}

var errNoList = errors.New("the answer is no list")

func expect(d *json.Decoder, want json.Delim) error {
	got, err := d.Token()
	switch {
	case errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	case err != nil:
		return err
	case got != want:
		return errNoList
	}
	return nil
}
