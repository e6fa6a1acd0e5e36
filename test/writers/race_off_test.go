//go:build !race

package writers_test

const raceEnabled = false
