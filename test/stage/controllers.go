package stage

import (
	"errors"
	"path/filepath"
)

// startControllers runs kube-controller-manager and kube-scheduler as the
// administrator. A node that says nothing for 12 s is not ready any more, where
// it would be 50 s otherwise, so that a test of it is over sooner.
func (cp *ControlPlane) startControllers() error {
	if err := cp.Kubeconfig(filepath.Join(cp.dir, "admin.kubeconfig")); err != nil {
		return err
	}
	cp.mu.Lock()
	defer cp.mu.Unlock()
	for program, flags := range map[string][]string{
		"kube-controller-manager": {
			"--service-account-private-key-file=service-account.key", "--root-ca-file=ca.crt",
			"--node-monitor-grace-period=12s", "--node-monitor-period=2s",
		},
		"kube-scheduler": nil,
	} {
		flags = append(flags, "--kubeconfig=admin.kubeconfig", "--leader-elect=false", "--bind-address=127.0.0.1", "--secure-port=0")
		p, err := start(filepath.Join(cp.assets, program), cp.dir, flags...)
		if err != nil {
			return err
		}
		cp.controllers = append(cp.controllers, p)
	}
	return nil
}

// stopControllers ends what startControllers started. Called with mu held.
func (cp *ControlPlane) stopControllers() error {
	var errs []error
	for _, p := range cp.controllers {
		errs = append(errs, p.stop())
	}
	cp.controllers = nil
	return errors.Join(errs...)
}
