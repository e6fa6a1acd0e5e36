package awsauth

import "strings"

// Costs counts to the byte what entries take at the end of a document's lists.
// It is for one goroutine.
type Costs struct {
	doc   *Document
	kinds map[Kind]*kindCost
}

// kindCost is what entries cost at the end of one list.
type kindCost struct {
	layout *layout // with one entry added
	start  int     // what the first one costs more than the others
}

// Costs returns what further entries would take in the document.
func (d *Document) Costs() *Costs { return &Costs{d, map[Kind]*kindCost{}} }

// Of is what one more entry takes, in bytes, after those that were added by
// [Costs.Add]. The error says that its list takes no entry.
func (c *Costs) Of(e Entry) (int, error) {
	k, err := c.kind(e)
	if err != nil {
		return 0, err
	}
	return k.start + k.layout.sizeOf(&e), nil
}

// Add has the entry stand: the first one of a list can cost more than others.
func (c *Costs) Add(e Entry) {
	if k := c.kinds[e.Kind]; k != nil {
		k.start = 0
	}
}

func (c *Costs) kind(e Entry) (*kindCost, error) {
	if k := c.kinds[e.Kind]; k != nil {
		return k, nil
	}
	added, err := c.doc.Edit(map[Kind]*Edit{e.Kind: {Add: []Entry{e}}})
	if err != nil {
		return nil, err
	}
	l, err := layOut(e.Kind, added.data[e.Kind.Key()], len(added.list(e.Kind)))
	if err != nil {
		return nil, err
	}
	k := &kindCost{layout: l, start: added.Size() - c.doc.Size() - l.sizeOf(&e)}
	c.kinds[e.Kind] = k
	return k, nil
}

// CostAtMost is the most that entries of any list can take in the document, in
// bytes. It is cheap: it edits nothing.
func (d *Document) CostAtMost(entries []Entry) int {
	size := 0
	lists := map[Kind]*layout{}
	for i := range entries {
		kind := entries[i].Kind
		if lists[kind] == nil {
			lists[kind] = &layout{style: styleBlock, indent: dashIndent(d.data[kind.Key()]), eol: "\r\n"}
		}
		size += lists[kind].sizeOf(&entries[i])
	}
	return size
}

// sizeOf is what one more entry costs in a list that is not empty.
func (l *layout) sizeOf(e *Entry) int {
	if l.style == styleFlow {
		return len(flowEntry(e)) + len(l.join())
	}
	var block strings.Builder
	writeBlock(&block, e, l.indent, l.eol)
	return block.Len()
}

// dashIndent is what stands before the first dash of a block sequence.
func dashIndent(text string) string {
	for line := range strings.Lines(text) {
		if body := strings.TrimLeft(line, " "); strings.HasPrefix(body, "-") && !strings.HasPrefix(body, "---") {
			return line[:len(line)-len(body)]
		}
	}
	return ""
}
