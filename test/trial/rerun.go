package trial

// NoRerun begins the message of a failure that no rerun may hide, such as a lost
// write: where it stands in the output, test/rerun/gotest fails at once.
const NoRerun = "NO RERUN: "
