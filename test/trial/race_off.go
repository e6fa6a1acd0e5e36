//go:build !race

package trial

// Race says whether the tests watch for data races, and with them the binary.
const Race = false
