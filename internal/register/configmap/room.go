package configmap

import (
	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
)

// refuseAt is the size in bytes above which new entries are left out, but for the
// roles of live nodes: 95 % of what the API server takes.
const refuseAt = awsauth.Limit / 100 * 95

// room is what aws-auth has left for new entries after all other edits. It counts
// to the byte: an estimate would find room for one more in every reconcile.
type room struct {
	doc   *awsauth.Document
	other int // bytes beside the document that the API server counts
}

// Left implements [plan.Room]. Where the other edits cannot be made, they free no
// room.
func (r *room) Left(decisions []plan.Decision) func(awsauth.Entry, bool) bool {
	var adds []awsauth.Entry
	var others []plan.Decision
	for i := range decisions {
		if d := &decisions[i]; d.Op == plan.Add {
			adds = append(adds, d.After)
		} else if d.Writes() {
			others = append(others, *d)
		}
	}
	if r.doc.Size()+r.other+r.doc.CostAtMost(adds) <= refuseAt {
		return func(awsauth.Entry, bool) bool { return true }
	}
	doc, err := r.doc.Edit(edits(others))
	if err != nil {
		doc = r.doc
	}
	left, costs := awsauth.Limit-doc.Size()-r.other, doc.Costs()
	return func(e awsauth.Entry, required bool) bool {
		size, err := costs.Of(e)
		if err != nil {
			return true // that its list takes no entry is found where it is edited
		}
		free := awsauth.Limit - refuseAt
		if required {
			free = 0
		}
		if left-size < free {
			return false
		}
		costs.Add(e)
		left -= size
		return true
	}
}
