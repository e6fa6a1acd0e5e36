package apply_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/test/scraper"
	"github.com/rolecall/rolecall/test/trial"
)

// quiet are the panels that may show nothing.
var quiet = map[string]bool{"Calls that fail": true, "Writes": true}

// scraped: a Prometheus that finds the agents as docs/monitoring.md says, with the
// shipped rules; every query of the dashboard is answered, and an alert fires.
func scraped(c *chapter) {
	program, err := scraper.Program(c.t.Context(), "../..")
	c.must("find prometheus", err)
	rules, err := filepath.Abs(manifests + "/monitoring/rules.yaml")
	c.must("find the rules", err)
	dashboard, err := scraper.Dashboard(manifests + "/monitoring/dashboard.json")
	c.must("read the dashboard", err)
	config := c.documented()
	config["global"] = map[string]any{"evaluation_interval": "1s"}
	config["rule_files"] = []string{rules}
	folder := filepath.Join(c.dir, "prometheus")
	c.must("make a folder", os.MkdirAll(folder, 0o700))
	server, err := scraper.Start(program, folder, config)
	c.must("start Prometheus", err)
	defer func() {
		c.must("end Prometheus", server.Close())
		if c.t.Failed() {
			c.t.Logf("Prometheus said:\n%s", server.Log())
		}
	}()
	nodes := len(c.Nodes())
	c.eventually("every agent is scraped", func(ctx context.Context) error {
		n, err := server.Query(ctx, `up{job="rolecall",namespace="rolecall-system",pod=~"rolecall-.+",node=~"node-.+"} == 1`)
		if err == nil && n != nodes {
			err = fmt.Errorf("%d of %d are up", n, nodes)
		}
		return err
	})
	var queries, evaluated int
	c.eventually("every panel of the dashboard shows something", func(ctx context.Context) (err error) {
		queries, err = server.Answers(ctx, dashboard, quiet)
		return err
	})
	c.eventually("all rules are evaluated", func(ctx context.Context) (err error) {
		evaluated, err = server.Evaluated(ctx)
		return err
	})
	c.saw("%d agents up, %d dashboard queries answered, %d rules evaluated", nodes, queries, evaluated)

	c.must("delete aws-auth", c.Client.CoreV1().ConfigMaps("kube-system").Delete(c.t.Context(), "aws-auth", metav1.DeleteOptions{}))
	took := c.eventually("the alert fires", func(ctx context.Context) error {
		alerts, err := server.Alerts(ctx)
		if err == nil && alerts["RolecallAwsAuthRestored"] != "firing" {
			err = fmt.Errorf("alerts: %v", alerts)
		}
		return err
	})
	c.mapped(trial.NodeRole("workers"))
	c.saw("RolecallAwsAuthRestored fires %s after aws-auth was deleted, which is back", took.Round(100_000_000))
}

// documented is the configuration that docs/monitoring.md shows for a Prometheus
// without operator; it scrapes more often here, and from outside the cluster.
func (c *chapter) documented() map[string]any {
	c.t.Helper()
	page, err := os.ReadFile("../../docs/monitoring.md")
	c.must("read docs/monitoring.md", err)
	block := regexp.MustCompile("(?s)```yaml\n(scrape_configs:.*?)```").FindSubmatch(page)
	if block == nil {
		c.t.Fatal("docs/monitoring.md shows no scrape_configs")
	}
	var config map[string]any
	c.must("read the configuration", yaml.Unmarshal(block[1], &config))
	job, err := dig(config, "scrape_configs")
	c.must("read the configuration", err)
	job["scrape_interval"] = "1s"
	discovery, err := dig(job, "kubernetes_sd_configs")
	c.must("read the configuration", err)
	discovery["kubeconfig_file"] = c.Kubeconfig()
	return config
}

// dig is the first element of a list.
func dig(m map[string]any, key string) (map[string]any, error) {
	list, _ := m[key].([]any)
	if len(list) == 0 {
		return nil, errors.New(key + " is empty")
	}
	element, ok := list[0].(map[string]any)
	if !ok {
		return nil, errors.New(key + " is no list of objects")
	}
	return element, nil
}
