package vault

import (
	"context"

	"claviger"
)

// SpilledFlow is a vendor's answer to a code that the database did not take yet: the
// ciphertext that its flow is to have as of Revision, by [Vault.SealFlow].
type SpilledFlow struct {
	Organization claviger.OrganizationID
	Flow         claviger.FlowID
	Revision     int64
	Sealed       claviger.Sealed
}

// SpillFlow puts an answer on the disk. It is there when SpillFlow answers no error, and
// stays until [Vault.UnspillFlow], also when the process dies.
//
// Errors: KindUnavailable without a spill folder; else that of the file system.
func (v *Vault) SpillFlow(x SpilledFlow) error {
	if v.keep == nil || v.keep.spill == nil {
		return claviger.Errorf(claviger.KindUnavailable, "", "There is no spill folder.")
	}
	return v.keep.spill.put(spilled{Organization: x.Organization, Flow: x.Flow, Revision: x.Revision, Sealed: x.Sealed})
}

// SpilledFlows answers up to a hundred answers that wait on the disk, those of an earlier
// process too. A file that is damaged is set aside.
func (v *Vault) SpilledFlows() (out []SpilledFlow) {
	if v.keep == nil || v.keep.spill == nil {
		return nil
	}
	for _, id := range v.keep.spill.waiting(claviger.PrefixFlow + "_") {
		x, err := v.keep.spill.of(id)
		if err != nil {
			v.keep.Log.Error("a spilled answer is damaged and was set aside", "flow", id, "error", err)
		}
		if x != nil && len(out) < maxReplayed {
			out = append(out, SpilledFlow{Organization: x.Organization, Flow: x.Flow, Revision: x.Revision, Sealed: x.Sealed})
		}
	}
	return out
}

// UnspillFlow removes a flow's answer from the disk, if there is one. strange keeps the
// file under another name, for a person to look at.
func (v *Vault) UnspillFlow(id claviger.FlowID, strange bool) error {
	if v.keep == nil || v.keep.spill == nil {
		return nil
	}
	aside := ""
	if strange {
		aside = spillAside
	}
	return v.keep.spill.leave(string(id), aside)
}

// bindingOf answers where a spilled answer's ciphertext belongs.
func (v *Vault) bindingOf(ctx context.Context, s claviger.Scope, x *spilled) (claviger.Binding, error) {
	if x.Flow != "" {
		f, _, err := v.db.ConnectFlowByID(ctx, x.Flow)
		f.Revision = x.Revision
		return f.Binding(), err
	}
	conn, _, err := v.db.Connection(ctx, s, x.Connection)
	b := answerBinding(&conn)
	b.Revision = x.Revision
	return b, err
}
