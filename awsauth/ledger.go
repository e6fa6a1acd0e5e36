package awsauth

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// LedgerKey is the key of the ledger's ConfigMap, in binaryData.
const LedgerKey = "ledger.json.gz"

const (
	ledgerVersion = 1
	ledgerMax     = 64 << 20 // bytes unpacked; 6,500 entries take about 3 MiB
	ledgerObjects = 500_000  // in it; 6,500 entries with five claims each are 40,000
)

// A Ledger remembers which entries of aws-auth are ours. It is written before
// entries are added and after they are removed, so that at any moment it holds
// every entry of ours, whoever strips the marks.
type Ledger struct {
	Config string  // hash of the config file that was applied last, or is about to be
	Owned  []Owned // by kind and ARN
	Held   []Hold  // removals that wait for approval, by source
}

// Owned is an entry of ours, whole.
type Owned struct {
	Entry
	Claims  []Claim   `json:"claims,omitempty"`  // who asks for it, the most explicit first
	Since   time.Time `json:"since"`             // when it was planned first
	Pending bool      `json:"pending,omitempty"` // about to be written, or waiting for a foreign entry to go: not known to stand in aws-auth
	Waiting bool      `json:"waiting,omitempty"` // the latter
}

// A Claim is what one source asks for an ARN.
type Claim struct {
	Source   string   `json:"source"`
	Username string   `json:"username,omitempty"`
	Groups   []string `json:"groups,omitempty"`
}

// WriteAnnotation is the annotation of aws-auth that every write of ours sets to
// the [Ledger.ID] of the ledger that stood then. Where it still is the ledger's,
// that write was done, and what the ledger has pending is ours, mark or not.
const WriteAnnotation = "rolecall.dev/write"

// ID stands for all that the ledger says.
func (l *Ledger) ID() string {
	body, err := json.Marshal(ledgerFile{ledgerVersion, l.Config, l.Owned, l.Held})
	if err != nil { // it is made of texts and times
		return ""
	}
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:8])
}

// ErrNewerLedger says that a newer rolecall wrote the ledger.
var ErrNewerLedger = errors.New("the ledger was written by a newer rolecall: upgrade this one")

type ledgerFile struct {
	Version int     `json:"version"`
	Config  string  `json:"config,omitempty"`
	Owned   []Owned `json:"owned"`
	Held    []Hold  `json:"held,omitempty"`
}

// DecodeLedger reads a ledger as [Ledger.Encode] wrote it; empty data is an
// empty ledger. The error is [ErrNewerLedger], or says that the ledger is
// damaged: then the marks alone tell what is ours.
func DecodeLedger(data []byte) (*Ledger, error) {
	if len(data) == 0 {
		return &Ledger{}, nil
	}
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
	var f ledgerFile
	if err := json.Unmarshal(body, &f); err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	if f.Version > ledgerVersion {
		return nil, ErrNewerLedger
	}
	// An entry of no kind stands under no key of aws-auth, so it can be nobody's.
	f.Owned = slices.DeleteFunc(f.Owned, func(o Owned) bool { return o.Kind != Role && o.Kind != User && o.Kind != Account })
	return &Ledger{Config: f.Config, Owned: f.Owned, Held: f.Held}, nil
}

// Encode packs the ledger: JSON, compressed, so that a full aws-auth's entries
// fit into one ConfigMap beside their sources.
func (l *Ledger) Encode() ([]byte, error) {
	body, err := json.Marshal(ledgerFile{ledgerVersion, l.Config, l.Owned, l.Held})
	if err != nil {
		return nil, fmt.Errorf("encode the ledger: %w", err)
	}
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	if _, err := zip.Write(body); err != nil {
		return nil, fmt.Errorf("pack the ledger: %w", err)
	}
	if err := zip.Close(); err != nil {
		return nil, fmt.Errorf("pack the ledger: %w", err)
	}
	return out.Bytes(), nil
}

// Equal reports whether two ledgers say the same.
func (l *Ledger) Equal(m *Ledger) bool {
	sameHold := func(a, b Hold) bool { return a.ID == b.ID && a.Of == b.Of && a.Since.Equal(b.Since) }
	return l.Config == m.Config && slices.EqualFunc(l.Held, m.Held, sameHold) && slices.EqualFunc(l.Owned, m.Owned, func(a, b Owned) bool {
		return a.Kind == b.Kind && a.ARN == b.ARN && sameGrant(a.Entry, b.Entry) && a.Pending == b.Pending && a.Waiting == b.Waiting && a.Since.Equal(b.Since) &&
			slices.EqualFunc(a.Claims, b.Claims, func(c, d Claim) bool {
				return c.Source == d.Source && c.Username == d.Username && slices.Equal(c.Groups, d.Groups)
			})
	})
}

// sort orders the entries so that the same set is the same ledger.
func (l *Ledger) sort() {
	slices.SortStableFunc(l.Owned, func(a, b Owned) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(key(a.ARN), key(b.ARN)), boolOrder(a.Pending, b.Pending))
	})
}

func boolOrder(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
