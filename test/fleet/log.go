package fleet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// A Record is a line of an agent's log.
type Record struct {
	Text  string         // the whole line
	Attrs map[string]any // of a line of JSON, with time, level and msg; else nil
}

// Message is the record's message, or the line itself where it is no JSON, as
// in a panic's trace.
func (r Record) Message() string {
	if msg, ok := r.Attrs["msg"].(string); ok {
		return msg
	}
	return r.Text
}

// Log reads what the agent has logged in its present or last run.
func (n *Node) Log() ([]Record, error) { return readLog(n.LogPath()) }

func readLog(path string) ([]Record, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var records []Record
	for line := range bytes.Lines(text) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // not written wholly yet
		}
		r := Record{Text: string(bytes.TrimSpace(line))}
		_ = json.Unmarshal(line, &r.Attrs) // what is no JSON has no attributes
		records = append(records, r)
	}
	return records, nil
}

// Logged returns the records whose line holds all of the texts.
func (n *Node) Logged(texts ...string) ([]Record, error) {
	all, err := n.Log()
	if err != nil {
		return nil, err
	}
	return holding(all, texts), nil
}

// LoggedEver is Logged of all the agent's runs so far.
func (n *Node) LoggedEver(texts ...string) ([]Record, error) {
	var found []Record
	for _, path := range n.logPaths() {
		all, err := readLog(path)
		if err != nil {
			return nil, err
		}
		found = append(found, holding(all, texts)...)
	}
	return found, nil
}

func holding(all []Record, texts []string) []Record {
	var found []Record
	for _, r := range all {
		holds := true
		for _, text := range texts {
			holds = holds && strings.Contains(r.Text, text)
		}
		if holds {
			found = append(found, r)
		}
	}
	return found
}

// Tail is the end of the log, for a person who looks for what went wrong.
func (n *Node) Tail(lines int) string {
	all, err := n.Log()
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, r := range all[max(0, len(all)-lines):] {
		fmt.Fprintln(&b, r.Text)
	}
	return b.String()
}
