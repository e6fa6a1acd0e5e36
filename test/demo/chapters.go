package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/roster"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/stage"
)

func (s *story) controlPlane(ctx context.Context) (string, error) {
	var err error
	if s.stage, err = stage.Start(ctx, stage.Options{Dir: filepath.Join(s.dir, "control-plane")}); err != nil {
		return "", err
	}
	return s.stage.URL() + " is ready", nil
}

func (s *story) install(ctx context.Context) (string, error) {
	var err error
	s.fleet, err = fleet.New(ctx, fleet.Options{
		ControlPlane: s.stage, Binary: s.binary, Dir: s.dir,
		Config: map[string]string{"config.yaml": firstConfig},
		Flags:  []string{"--lease-duration=4s", "--renew-deadline=3s", "--retry-period=500ms"},
	})
	if err != nil {
		return "", err
	}
	created := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	s.fleet.AWS.AddPermissionSet("Admin", "0123456789abcdef", "eu-west-3", created)
	s.fleet.AWS.AddPermissionSet("AdminReadOnly", "fedcba9876543210", "eu-west-3", created.AddDate(1, 0, 0))
	s.fleet.AWS.SetMembers("Developers", "ana", "ben")
	s.text(firstConfig)
	return "the agents have the rights of ServiceAccount rolecall, and a config", nil
}

func (s *story) foreign(ctx context.Context) (string, error) {
	_, err := s.fleet.Client.CoreV1().ConfigMaps(awsauth.Namespace).Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: awsauth.Name},
		Data:       map[string]string{"mapRoles": foreignRoles, "mapUsers": foreignUsers},
	}, metav1.CreateOptions{})
	s.text(foreignRoles + foreignUsers)
	return "3 entries of others: from here on, not a byte of them may change", err
}

func (s *story) rollCall(ctx context.Context) (string, error) {
	var nodes []string
	for _, n := range []struct{ name, role string }{{"node-a", "workers"}, {"node-b", "workers"}, {"node-c", "ingress"}} {
		added, err := s.fleet.Add(ctx, n.name, n.role)
		if err != nil {
			return "", err
		}
		nodes = append(nodes, fmt.Sprintf("IMDS of %s says: %s\n", n.name, n.role))
		if s.begun.IsZero() {
			s.begun = time.Now()
		}
		if err := added.Start(); err != nil {
			return "", err
		}
	}
	s.text(strings.Join(nodes, ""))
	reports := 0
	_, err := fleet.Until(ctx, func(ctx context.Context) error {
		for _, n := range s.fleet.Nodes() {
			status, body, err := n.Get(ctx, "/readyz?verbose")
			if err != nil {
				return err
			}
			if status != http.StatusOK || !strings.Contains(body, "[+]node-role ok") {
				return fmt.Errorf("%s is not ready: %s", n.Name, body)
			}
		}
		leases, err := s.fleet.Client.CoordinationV1().Leases(s.fleet.Namespace).List(ctx, metav1.ListOptions{LabelSelector: roster.Selector})
		if err != nil {
			return err
		}
		if reports = len(leases.Items); reports != 2 {
			return fmt.Errorf("%d roles are in the roster, want 2", reports)
		}
		return nil
	})
	return fmt.Sprintf("all are ready, and the roster has %d roles: one report a role, not a node", reports), err
}

func (s *story) election(ctx context.Context) (string, error) {
	leader, err := s.leader(ctx, nil)
	if err != nil {
		return "", err
	}
	return leader.Name + " leads, the others stand by", nil
}

// leader waits until exactly one agent leads, which is not the one given.
func (s *story) leader(ctx context.Context, not *fleet.Node) (leader *fleet.Node, err error) {
	_, err = fleet.Until(ctx, func(ctx context.Context) (err error) {
		if leader, err = s.fleet.Leader(ctx); err != nil {
			return err
		}
		if leader == not {
			return fmt.Errorf("%s still leads", not.Name)
		}
		return nil
	})
	return leader, err
}

func (s *story) merge(ctx context.Context) (string, error) {
	before := &corev1.ConfigMap{Data: map[string]string{"mapRoles": foreignRoles, "mapUsers": foreignUsers}}
	err := s.awsAuthBecomes(ctx, before, node("workers"), node("ingress"), adminSet(), user("ana", "developers"), user("ben", "developers"), user("ops", "viewers"))
	return fmt.Sprintf("6 entries of ours %s after the agents' start; those of others as they were, byte for byte", seconds(time.Since(s.begun))), err
}

func (s *story) plan(ctx context.Context) (string, error) {
	result, err := s.fleet.Run(ctx, "plan", "--config="+s.fleet.Nodes()[0].Mount.Dir())
	if err != nil {
		return "", err
	}
	s.text("$ rolecall plan --config=config.yaml\n" + result.Stdout + result.Stderr)
	if result.Code != 0 || !strings.Contains(result.Stdout, "nothing to change") {
		return "", fmt.Errorf("exit status %d, want 0 and nothing to change", result.Code)
	}
	return "exit status 0, as kubectl diff has it", nil
}

func (s *story) steady(ctx context.Context) (string, error) {
	before, err := s.resourceVersions(ctx)
	if err != nil {
		return "", err
	}
	leader, err := s.leader(ctx, nil)
	if err != nil {
		return "", err
	}
	asked, passes := s.fleet.AWS.Requests("GetGroup"), 0.0
	begun, err := s.passes(ctx, leader)
	if err != nil {
		return "", err
	}
	_, err = fleet.Until(ctx, func(ctx context.Context) error {
		if s.fleet.AWS.Requests("GetGroup") == asked {
			return errors.New("IAM has not been asked again")
		}
		now, err := s.passes(ctx, leader)
		if err != nil {
			return err
		}
		if passes = now - begun; passes == 0 {
			return errors.New("the leader has not looked again")
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	after, err := s.resourceVersions(ctx)
	if err != nil {
		return "", err
	}
	if after != before {
		return "", fmt.Errorf("aws-auth and the ledger had resourceVersions %s and have %s", before, after)
	}
	return fmt.Sprintf("IAM was asked again, %.0f pass had nothing to do, and neither aws-auth nor the ledger was written", passes), nil
}

// passes is how many passes of an agent found nothing to do.
func (s *story) passes(ctx context.Context, n *fleet.Node) (float64, error) {
	metrics, err := n.Metrics(ctx)
	if err != nil {
		return 0, err
	}
	passes, _ := metrics.Value("rolecall_reconciles_total", "result", "unchanged")
	return passes, nil
}

func (s *story) edit(ctx context.Context) (string, error) {
	before, err := s.fleet.AWSAuth(ctx)
	if err != nil {
		return "", err
	}
	begin := time.Now()
	if err := s.fleet.Swap(map[string]string{"config.yaml": editedConfig}); err != nil {
		return "", err
	}
	err = s.awsAuthBecomes(ctx, before, node("workers"), node("ingress"), node("gpu-nodes"), adminSet(), user("ana", "developers"), user("ben", "developers"), user("ops", "viewers"))
	return fmt.Sprintf("%s after the swap the role of nodes yet to come is mapped", seconds(time.Since(begin))), err
}

func (s *story) leave(ctx context.Context) (string, error) {
	before, err := s.fleet.AWSAuth(ctx)
	if err != nil {
		return "", err
	}
	s.fleet.AWS.SetMembers("Developers", "ana")
	err = s.awsAuthBecomes(ctx, before, s.settled()...)
	return "ben is out as soon as IAM was asked again", err
}

// settled are the entries of ours from when ben has left on.
func (s *story) settled() []fleet.Mapping {
	return []fleet.Mapping{node("workers"), node("ingress"), node("gpu-nodes"), adminSet(), user("ana", "developers"), user("ops", "viewers")}
}

func (s *story) wipe(ctx context.Context) (string, error) {
	wiped, err := s.fleet.AWSAuth(ctx)
	if err != nil {
		return "", err
	}
	asked := s.fleet.AWS.Requests("GetGroup")
	wiped.Data = map[string]string{"mapRoles": foreignRoles, "mapUsers": foreignUsers}
	if wiped, err = s.fleet.Client.CoreV1().ConfigMaps(awsauth.Namespace).Update(ctx, wiped, metav1.UpdateOptions{FieldManager: "another-tool"}); err != nil {
		return "", err
	}
	begin := time.Now()
	if err := s.awsAuthBecomes(ctx, wiped, s.settled()...); err != nil {
		return "", err
	}
	took := time.Since(begin)
	if s.fleet.AWS.Requests("GetGroup") != asked {
		return "", errors.New("all of ours is back, but IAM was asked in between: that may be why")
	}
	return fmt.Sprintf("all of ours is back %s later, by the event: IAM was not asked again", seconds(took)), nil
}

func (s *story) crash(ctx context.Context) (string, error) {
	dead, err := s.leader(ctx, nil)
	if err != nil {
		return "", err
	}
	begin := time.Now()
	dead.Kill()
	lost, err := s.fleet.AWSAuth(ctx)
	if err != nil {
		return "", err
	}
	lost.Data["mapRoles"] = without(lost.Data["mapRoles"], ":role/workers")
	if lost, err = s.fleet.Client.CoreV1().ConfigMaps(awsauth.Namespace).Update(ctx, lost, metav1.UpdateOptions{FieldManager: "another-tool"}); err != nil {
		return "", err
	}
	s.text(fmt.Sprintf("$ kill -9 %d    # %s, which led\n", dead.PID(), dead.Name))
	if err := s.awsAuthBecomes(ctx, lost, s.settled()...); err != nil {
		return "", err
	}
	back := time.Since(begin)
	leader, err := s.leader(ctx, dead)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s took over, and the role is back %s after the kill (a lease of 4 s had to run out)", leader.Name, seconds(back)), dead.Start()
}

func (s *story) breakConfig(ctx context.Context) (string, error) {
	before, err := s.resourceVersions(ctx)
	if err != nil {
		return "", err
	}
	if err := s.fleet.Swap(map[string]string{"config.yaml": brokenConfig}); err != nil {
		return "", err
	}
	message := ""
	leader, err := s.leader(ctx, nil)
	if err != nil {
		return "", err
	}
	_, err = fleet.Until(ctx, func(ctx context.Context) error {
		status, body, err := leader.Get(ctx, "/readyz?verbose")
		if err != nil {
			return err
		}
		lines := strings.Split(body, "\n")
		i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "[!]config: refused") })
		if i < 0 || status != http.StatusOK {
			return fmt.Errorf("%s does not say that it refuses the config: %d %s", leader.Name, status, body)
		}
		message = lines[i]
		return nil
	})
	if err != nil {
		return "", err
	}
	s.text("$ curl " + leader.Name + ":9465/readyz?verbose\n" + message + "\n")
	metrics, err := leader.Metrics(ctx)
	if err != nil {
		return "", err
	}
	after, err := s.resourceVersions(ctx)
	if err != nil {
		return "", err
	}
	valid, _ := metrics.Value("rolecall_config_valid")
	if !strings.Contains(message, "config.yaml:") || valid != 0 || after != before {
		return "", fmt.Errorf("want file and line, rolecall_config_valid 0 (it is %v) and no write (%s, then %s)", valid, before, after)
	}
	return "refused with file and line; the last good one is in force, and nothing was written", nil
}

func (s *story) rollout(ctx context.Context) (string, error) {
	if err := s.fleet.Swap(map[string]string{"config.yaml": editedConfig}); err != nil {
		return "", err
	}
	old, err := s.leader(ctx, nil)
	if err != nil {
		return "", err
	}
	begin := time.Now()
	if err := old.Terminate(ctx); err != nil {
		return "", fmt.Errorf("%s did not end well: %w", old.Name, err)
	}
	ended := time.Since(begin)
	leader, err := s.leader(ctx, old)
	if err != nil {
		return "", err
	}
	took := time.Since(begin)
	awsAuth, err := s.fleet.AWSAuth(ctx)
	if err == nil {
		err = errors.Join(compare(awsAuth, s.settled()), foreignKept(awsAuth), old.Start())
	}
	return fmt.Sprintf("%s ended after %s with exit status 0, and %s leads %s after the signal", old.Name, seconds(ended), leader.Name, seconds(took)), err
}
