// Package trial puts a fleet into the hands of a test: it builds the binary, ends
// the test where something is not as it should be, and waits for what takes time.
// A test binary that uses it begins with
//
//	func TestMain(m *testing.M) { os.Exit(trial.Main(m)) }
//
// Every test has a fleet of its own, in namespaces of its own, so they run side by
// side on one control plane. Nothing sleeps: what takes time is waited for, with a
// deadline that is far off, and the time it took is logged.
package trial
