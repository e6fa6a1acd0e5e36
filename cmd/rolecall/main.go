// Command rolecall keeps kube-system/aws-auth of an EKS cluster right.
package main

import (
	"context"
	"os"

	"github.com/rolecall/rolecall/internal/cli"
)

func main() {
	os.Exit(cli.Run(context.Background(), os.Args, os.Stdin, os.Stdout, os.Stderr))
}
