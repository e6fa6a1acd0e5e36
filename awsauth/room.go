package awsauth

import "strings"

// refuseAt is the size in bytes above which new entries are refused, but for
// the roles of live nodes: 95 % of what the API server takes.
const refuseAt = Limit / 100 * 95

// room is what aws-auth has left for new entries after all other edits. It
// counts to the byte: an estimate would find room for one more in every run.
type room struct {
	ample bool // for all that is asked; nothing else is known then
	left  int  // bytes up to Limit
	doc   *Document
	kinds map[Kind]*kindRoom
}

// kindRoom is what entries cost at the end of one list.
type kindRoom struct {
	layout *layout // with one entry added
	start  int     // what the first one costs more than the others
}

func (m *merge) room() (*room, error) {
	if len(m.adds) == 0 {
		return &room{ample: true}, nil
	}
	size := m.doc.Size() + m.req.Other
	lists := map[Kind]*layout{}
	for _, id := range m.adds {
		kind := id.want.Kind
		if lists[kind] == nil {
			lists[kind] = &layout{style: styleBlock, indent: dashIndent(m.doc.data[kind.Key()]), eol: "\r\n"}
		}
		size += lists[kind].sizeOf(&id.want.Entry)
	}
	if size <= refuseAt {
		return &room{ample: true}, nil
	}
	after, err := m.doc.edit(m.edits)
	if err != nil {
		return nil, err
	}
	return &room{left: Limit - after.Size() - m.req.Other, doc: after, kinds: map[Kind]*kindRoom{}}, nil
}

// take reports whether there is room for an entry and takes it.
func (r *room) take(e *Entry, required bool) (bool, error) {
	if r.ample {
		return true, nil
	}
	k := r.kinds[e.Kind]
	if k == nil {
		added, err := r.doc.edit(map[Kind]*edit{e.Kind: {add: []Entry{*e}}})
		if err != nil {
			return false, err
		}
		l, err := layOut(e.Kind, added.data[e.Kind.Key()], len(added.list(e.Kind)))
		if err != nil {
			return false, err
		}
		k = &kindRoom{layout: l, start: added.Size() - r.doc.Size() - l.sizeOf(e)}
		r.kinds[e.Kind] = k
	}
	free := Limit - refuseAt
	if required {
		free = 0
	}
	size := k.start + k.layout.sizeOf(e)
	if r.left-size < free {
		return false, nil
	}
	k.start = 0
	r.left -= size
	return true, nil
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
