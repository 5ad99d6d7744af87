package broker

import (
	"testing"

	"claviger"
	"claviger/internal/store"
)

func TestAbuse_162_289_AFullInboxRefusesAndIsFair(t *testing.T) {
	w := &inboxWriter{queues: map[claviger.OrganizationID][]*waiting{}, wake: make(chan struct{}, 1)}
	put := func(organization claviger.OrganizationID, size int) bool {
		e := &store.NewInbound{Body: make(claviger.Sealed, size)}
		e.Organization = organization
		return w.put(&waiting{event: e, done: make(chan struct{})})
	}
	flood := func(organization claviger.OrganizationID, size int) (n int) {
		for put(organization, size) {
			n++
		}
		return n
	}
	loud, louder := flood("org_loud", 1), flood("org_louder", 1)
	if loud != inboxEvents/2 || louder != inboxEvents/4 {
		t.Errorf("two floods fill %d and %d of %d", loud, louder, inboxEvents)
	}
	if !put("org_quiet", 1) {
		t.Error("there is no room for the third")
	}
	if put("org_loud", 1) {
		t.Error("there is room for more of the first")
	}
	batch := w.take()
	if len(batch) != inboxBatch || batch[2].event.Organization != "org_quiet" {
		t.Errorf("the first batch has %d, and the quiet one's is not among the first three", len(batch))
	}
	share := map[claviger.OrganizationID]int{}
	for _, x := range batch {
		share[x.event.Organization]++
	}
	if d := share["org_loud"] - share["org_louder"]; d < -1 || d > 1 {
		t.Errorf("the batch is shared out as %v", share)
	}
	total := len(batch)
	for batch = w.take(); len(batch) > 0; batch = w.take() {
		total += len(batch)
	}
	if total != loud+louder+1 || w.count != 0 || w.bytes != 0 {
		t.Errorf("%d were taken of %d, %d with %d bytes are left", total, loud+louder+1, w.count, w.bytes)
	}
	if n := flood("org_big", 1<<20); n != inboxBytes>>20 {
		t.Errorf("%d MiB fit into %d", n, inboxBytes>>20)
	}
}
