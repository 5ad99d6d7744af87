package broker

import (
	"sync"
	"testing"
)

func TestCacheDoesNotKeepWhatWasReadBeforeAnEviction(t *testing.T) {
	c := newCache[string, int](2)
	_, generation, _ := c.get("a")
	c.drop("a")
	c.put("a", 1, generation)
	if _, _, ok := c.get("a"); ok {
		t.Error("an old value was kept")
	}
	_, generation, _ = c.get("a")
	c.put("a", 2, generation)
	if v, _, ok := c.get("a"); !ok || v != 2 {
		t.Errorf("%d %v", v, ok)
	}
	c.put("b", 1, generation)
	c.put("b", 2, generation) // no room is made for what is there
	if _, _, ok := c.get("a"); !ok {
		t.Error("a neighbour was pushed out")
	}
	c.put("c", 3, generation)
	if len(c.items) != 2 {
		t.Errorf("%d items, want 2", len(c.items))
	}
	c.clear()
	if _, _, ok := c.get("c"); ok {
		t.Error("kept after clear")
	}
}

func TestCacheSettlesOnOneValue(t *testing.T) {
	c := newCache[string, int](8)
	var wait sync.WaitGroup
	got := make([]int, 16)
	for i := range got {
		wait.Go(func() { got[i] = c.settle("a", i+1, func(int) bool { return true }) })
	}
	wait.Wait()
	for _, v := range got {
		if v != got[0] {
			t.Fatalf("settled on %v", got)
		}
	}
	if v := c.settle("a", 99, func(int) bool { return false }); v != 99 {
		t.Errorf("an unfit value stayed: %d", v)
	}
}
