package configmap

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
)

// LedgerKey is the key of the ledger's ConfigMap, in binaryData.
const LedgerKey = "ledger.json.gz"

const (
	ledgerVersion = 1
	ledgerMax     = 64 << 20 // bytes unpacked; 6,500 entries take about 3 MiB
	ledgerObjects = 500_000  // in it; 6,500 entries with five claims each are 40,000
)

// WriteAnnotation is the annotation of aws-auth that every write of ours sets to
// the ID of the ledger that stood then. Where it still is the ledger's, that write
// was done, and what the ledger has pending is managed, mark or not.
const WriteAnnotation = "rolecall.dev/write"

// ErrNewerLedger says that a newer rolecall wrote the ledger.
var ErrNewerLedger error = newerLedger{}

type newerLedger struct{}

func (newerLedger) Error() string {
	return "the ledger was written by a newer rolecall: upgrade this one"
}

// Newer says that an agent of the newer version can do what this one can't.
func (newerLedger) Newer() bool { return true }

// ledgerFile is the ledger's JSON. All versions of rolecall that write version 1
// read each other's: they pass over fields that they do not know. A field that is
// new must be left out where it is empty, and out of [ledgerID].
type ledgerFile struct {
	Version int          `json:"version"`
	Config  string       `json:"config,omitempty"`
	Owned   []plan.Owned `json:"owned"`
	Held    []held       `json:"held,omitempty"`
	Lost    []plan.Loss  `json:"lost,omitempty"`
	Adopt   []string     `json:"adopt,omitempty"`
}

// held is a pending removal. It has its changes whole, as all versions can read
// them, or, where they are many, by reference to entries of the ledger: those of a
// thousand users with long paths would not fit into it beside them.
type held struct {
	ID      string        `json:"id"`
	Source  string        `json:"source,omitempty"`
	Of      int           `json:"of"`
	Changes []plan.Change `json:"changes"` // null where Entries says them
	Since   time.Time     `json:"since"`
	Entries []heldEntry   `json:"entries,omitempty"`
}

// wholeMax is how many bytes of changes a ledger has whole, as text.
const wholeMax = 64 << 10

// heldEntry is a change to an entry of the ledger.
type heldEntry struct {
	N        int          `json:"n"` // index in owned
	Op       plan.Op      `json:"op"`
	Username string       `json:"username,omitempty"` // after an update
	Groups   []string     `json:"groups,omitempty"`   // likewise
	Stood    *access      `json:"stood,omitempty"`    // before the change, where the ledger has it otherwise
	Whole    *plan.Change `json:"whole,omitempty"`    // instead, where the ledger has no such entry
}

// access is what an entry gives.
type access struct {
	Username string   `json:"username,omitempty"`
	Groups   []string `json:"groups,omitempty"`
}

// ledgerID stands for what all versions know of a ledger: they have to come to the
// same, since one compares what another has written into [WriteAnnotation].
func ledgerID(f *ledgerFile) string {
	type known struct {
		ID      string        `json:"id"`
		Source  string        `json:"source,omitempty"`
		Of      int           `json:"of"`
		Changes []plan.Change `json:"changes"`
		Since   time.Time     `json:"since"`
	}
	body := struct {
		Version int          `json:"version"`
		Config  string       `json:"config,omitempty"`
		Owned   []plan.Owned `json:"owned"`
		Held    []known      `json:"held,omitempty"`
	}{ledgerVersion, f.Config, f.Owned, nil}
	for _, h := range f.Held {
		body.Held = append(body.Held, known{h.ID, h.Source, h.Of, h.Changes, h.Since})
	}
	text, err := json.Marshal(body)
	if err != nil { // it is made of texts and times
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// DecodeLedger reads a ledger as [EncodeLedger] wrote it, or a former version, and
// returns the ID that stands for it; empty data is an empty ledger. The error is
// [ErrNewerLedger], or says that the ledger is damaged: then the marks alone tell
// what is managed.
func DecodeLedger(data []byte) (state *plan.State, id string, err error) {
	f := &ledgerFile{Version: ledgerVersion}
	if len(data) > 0 {
		body, err := unpack(data)
		if err != nil {
			return nil, "", err
		}
		if f, err = readLedger(body); err != nil {
			return nil, "", err
		}
	}
	state = &plan.State{Config: f.Config, Owned: f.Owned, Lost: f.Lost, Adopt: f.Adopt}
	for _, h := range f.Held {
		state.Removals = append(state.Removals, h.removal(f.Owned))
	}
	return state, ledgerID(f), nil
}

func unpack(data []byte) ([]byte, error) {
	unzip, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("unpack the ledger: %w", err)
	}
	body, err := io.ReadAll(io.LimitReader(unzip, ledgerMax+1))
	if err != nil {
		return nil, fmt.Errorf("unpack the ledger: %w", err)
	}
	if len(body) > ledgerMax {
		return nil, fmt.Errorf("unpack the ledger: more than %d MiB", ledgerMax>>20)
	}
	if bytes.Count(body, []byte("{")) > ledgerObjects { // each takes many times its text
		return nil, fmt.Errorf("read the ledger: more than %d objects", ledgerObjects)
	}
	return body, nil
}

func readLedger(body []byte) (*ledgerFile, error) {
	var f ledgerFile
	if err := json.Unmarshal(body, &f); err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	if f.Version > ledgerVersion {
		return nil, ErrNewerLedger
	}
	// An entry of no kind stands under no key of aws-auth, so it can be nobody's.
	f.Owned = slices.DeleteFunc(f.Owned, func(o plan.Owned) bool { return !slices.Contains(awsauth.Kinds(), o.Kind) })
	return &f, nil
}

// EncodeLedger packs the ledger: JSON, compressed, so that a full aws-auth's
// entries fit into one ConfigMap beside their sources. The ID is the one that
// [DecodeLedger] tells of it.
func EncodeLedger(s *plan.State) (data []byte, id string, err error) {
	f := ledgerFile{Version: ledgerVersion, Config: s.Config, Owned: s.Owned, Lost: s.Lost, Adopt: s.Adopt}
	at := map[string]int{}
	for i := range s.Owned {
		if k := s.Owned[i].Principal(); len(s.Removals) > 0 {
			if was, ok := at[k]; !ok || s.Owned[was].Pending {
				at[k] = i
			}
		}
	}
	left := wholeMax
	for i := range s.Removals {
		f.Held = append(f.Held, heldOf(&s.Removals[i], s.Owned, at, &left))
	}
	body, err := json.Marshal(f)
	if err != nil {
		return nil, "", fmt.Errorf("encode the ledger: %w", err)
	}
	// The ID is that of what is read again: of a list, nil and empty differ.
	read, err := readLedger(body)
	if err != nil {
		return nil, "", err
	}
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	if _, err := zip.Write(body); err != nil {
		return nil, "", fmt.Errorf("pack the ledger: %w", err)
	}
	if err := zip.Close(); err != nil {
		return nil, "", fmt.Errorf("pack the ledger: %w", err)
	}
	return out.Bytes(), ledgerID(read), nil
}

// heldOf takes from left what the changes take that stand whole in it.
func heldOf(r *plan.PendingRemoval, owned []plan.Owned, at map[string]int, left *int) held {
	h := held{ID: r.ID, Source: r.Source, Of: r.Of, Since: r.Since}
	if whole, err := json.Marshal(r.Changes); err == nil && len(whole) <= *left {
		*left -= len(whole)
		h.Changes = r.Changes
		return h
	}
	for i := range r.Changes {
		c := &r.Changes[i]
		stands := c.Before
		if stands == nil {
			stands = &c.Entry
		}
		n, ok := at[c.Entry.Principal()]
		if !ok || owned[n].Kind != stands.Kind || owned[n].ARN != stands.ARN {
			h.Entries = append(h.Entries, heldEntry{Whole: c})
			continue
		}
		e := heldEntry{N: n, Op: c.Op}
		if c.Before != nil {
			e.Username, e.Groups = c.Entry.Username, c.Entry.Groups
		}
		if !owned[n].SameAccess(*stands) {
			e.Stood = &access{stands.Username, stands.Groups}
		}
		h.Entries = append(h.Entries, e)
	}
	return h
}

func (h *held) removal(owned []plan.Owned) plan.PendingRemoval {
	r := plan.PendingRemoval{ID: h.ID, Source: h.Source, Of: h.Of, Changes: h.Changes, Since: h.Since}
	for _, e := range h.Entries {
		switch {
		case e.Whole != nil:
			r.Changes = append(r.Changes, *e.Whole)
			continue
		case e.N < 0 || e.N >= len(owned):
			continue // of a ledger that somebody has edited
		}
		o := &owned[e.N]
		c := plan.Change{Op: e.Op, Entry: o.Entry, Sources: o.Sources(), Reason: plan.NotAsked}
		if e.Stood != nil {
			c.Entry.Username, c.Entry.Groups = e.Stood.Username, e.Stood.Groups
		}
		if e.Op == plan.Update || e.Op == plan.Adopt {
			before := c.Entry
			c.Before, c.Reason = &before, ""
			c.Entry.Username, c.Entry.Groups = e.Username, e.Groups
		}
		r.Changes = append(r.Changes, c)
	}
	return r
}
