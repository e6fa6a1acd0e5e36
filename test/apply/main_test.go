package apply_test

import (
	"fmt"
	"os"
	"regexp"
	"testing"

	"github.com/rolecall/rolecall/test/cluster"
)

// manifests is where what is applied lies.
const manifests = "../../manifests"

func TestMain(m *testing.M) {
	image, err := shippedImage()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(cluster.Main(m, image))
}

// shippedImage is the image that the manifests name.
func shippedImage() (string, error) {
	text, err := os.ReadFile(manifests + "/install.yaml")
	if err != nil {
		return "", err
	}
	found := regexp.MustCompile(`(?m)^\s+image: (\S+)$`).FindSubmatch(text)
	if found == nil {
		return "", fmt.Errorf("%s/install.yaml names no image", manifests)
	}
	return string(found[1]), nil
}
