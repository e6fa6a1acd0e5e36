package cluster

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// The addresses of a cluster. All are on one bridge.
var (
	// apiServer is the first address of Services, which is that of "kubernetes".
	apiServer = netip.MustParseAddrPort("10.0.0.1:443")
	// gateway is where the control plane and the stand-ins are; node-1 has the
	// address 10.0.1.11, and its pods those of 10.1.1.0/24.
	gateway = netip.MustParseAddr("10.0.1.1")
	imds    = netip.MustParseAddrPort("169.254.169.254:80")
)

const bridge = "nodes"

func nodeAddress(number int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 0, 1, byte(10 + number)})
}

func podNetwork(number int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(number), 0}), 24)
}

// makeBridge connects all nodes with the control plane.
func makeBridge() error {
	for _, args := range [][]string{
		{"link", "add", bridge, "type", "bridge"},
		{"address", "add", gateway.String() + "/24", "dev", bridge},
		{"address", "add", apiServer.Addr().String() + "/32", "dev", bridge},
		{"link", "set", bridge, "up"},
	} {
		if err := ip(args...); err != nil {
			return err
		}
	}
	return nil
}

// makeHost makes the network of a node: a namespace with a cable to the bridge.
// The address of instance metadata is its own.
func makeHost(number int) error {
	name := nodeName(number)
	cable := fmt.Sprintf("cable-%d", number)
	inside := []string{"-n", name}
	for _, args := range [][]string{
		{"netns", "add", name},
		{"link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name},
		{"link", "set", cable, "master", bridge, "up"},
		append(inside, "link", "set", "lo", "up"),
		append(inside, "address", "add", imds.Addr().String()+"/32", "dev", "lo"),
		append(inside, "address", "add", nodeAddress(number).String()+"/24", "dev", "eth0"),
		append(inside, "link", "set", "eth0", "up"),
		append(inside, "route", "add", "default", "via", gateway.String()),
	} {
		if err := ip(args...); err != nil {
			return err
		}
	}
	return nil
}

// namespaceFile is how a node's network is entered.
func namespaceFile(node string) string { return "/run/netns/" + node }

// listen opens a port in the network of a node. A socket stays in the namespace
// in which it was made, whoever accepts its connections.
func listen(node string, address netip.AddrPort) (net.Listener, error) {
	return inNetwork(node, func() (net.Listener, error) { return net.Listen("tcp4", address.String()) })
}

// dial opens a connection in the network of a node.
func dial(ctx context.Context, node, address string) (net.Conn, error) {
	return inNetwork(node, func() (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp4", address) })
}

// inNetwork does something on a thread that is in the network of a node.
func inNetwork[T any](node string, do func() (T, error)) (made T, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The thread is in another namespace then: it is not unlocked, and so ends
		// with this goroutine.
		runtime.LockOSThread()
		var file *os.File
		if file, err = os.Open(namespaceFile(node)); err != nil {
			return
		}
		defer file.Close()
		if err = unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("enter the network of %s: %w", node, err)
			return
		}
		made, err = do()
	}()
	<-done
	return made, err
}
