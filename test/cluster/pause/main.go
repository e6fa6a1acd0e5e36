// Pause holds the namespaces of a pod: it waits until it is told to end. It is
// all that the sandbox image has in it.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	<-ended
}
