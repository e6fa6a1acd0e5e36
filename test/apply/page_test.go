package apply_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
)

// pageShown: the status page of the leader, through kubectl port-forward, which the
// kubelet leads to the loopback address of the node.
func pageShown(c *chapter) {
	leader := c.leads()
	pods, err := c.agents(c.t.Context())
	c.must("list the agents", err)
	ctx, cancel := context.WithCancel(c.t.Context())
	defer cancel()
	cmd := c.command(ctx, "--namespace="+namespace, "port-forward", "pod/"+pods[leader.Name].Name, ":9466")
	out, err := cmd.StdoutPipe()
	c.must("forward the port", err)
	c.must("forward the port", cmd.Start())
	defer func() { cancel(); _ = cmd.Wait() }() // it was killed
	line, err := bufio.NewReader(out).ReadString('\n')
	port := regexp.MustCompile(`^Forwarding from 127\.0\.0\.1:(\d+) -> 9466`).FindStringSubmatch(line)
	if err != nil || port == nil {
		c.t.Fatalf("kubectl port-forward says %q: %v", line, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost:"+port[1]+"/", nil)
	c.must("ask for the page", err)
	response, err := http.DefaultClient.Do(request)
	c.must("ask for the page", err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	c.must("read the page", err)
	for _, text := range []string{leader.Name, "leads", "group/Developers", "permission-set/ReadOnlyAccess", "role/</span>workers"} {
		if !strings.Contains(string(body), text) {
			c.t.Errorf("the page (%s) lacks %q:\n%s", response.Status, text, body)
		}
	}
	c.saw("%s through kubectl port-forward: %d bytes of %s", response.Status, len(body), leader.Name)
}
