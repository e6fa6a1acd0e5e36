package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// errorBox holds the last error for others to see.
type errorBox struct {
	mu  sync.Mutex
	err error
}

func (b *errorBox) set(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

func (b *errorBox) get() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// failedSources joins the errors of sources, in a steady order.
func failedSources(failed map[string]error) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(failed)) {
		errs = append(errs, fmt.Errorf("source %s failed, its entries stay as they are: %w", name, failed[name]))
	}
	return errors.Join(errs...)
}
