package app

import (
	"context"
	"runtime/debug"
	gauges "runtime/metrics"
	"time"
)

// collector spends memory on time. A server that has little in memory would collect
// its garbage dozens of times a second under load, a third of all its work; one that
// has much in memory must not need five times as much.
type collector struct {
	percent int // as last set; 0: not yet
	sample  []gauges.Sample
}

const (
	// collectorPercent is the most garbage, in percent of what is in use.
	collectorPercent = 400
	// collectorSpace is the garbage that is waited for, in bytes, while collectorPercent
	// allows it and 100 percent of what is in use is less.
	collectorSpace = 64 << 20
)

// collectorEvery is how often the setting is looked at.
const collectorEvery = time.Second

// tuneCollector keeps the runtime's setting fitting until ctx ends.
func tuneCollector(ctx context.Context) {
	c := &collector{sample: []gauges.Sample{{Name: "/gc/heap/live:bytes"}}}
	tick := time.NewTicker(collectorEvery)
	defer tick.Stop()
	for {
		c.adjust()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// adjust fits the runtime's setting to what is in use now.
func (c *collector) adjust() {
	gauges.Read(c.sample)
	if c.sample[0].Value.Kind() != gauges.KindUint64 {
		return
	}
	percent := garbagePercent(c.sample[0].Value.Uint64())
	if percent != c.percent { // setting it stops the world for a moment
		c.percent = percent
		debug.SetGCPercent(percent)
	}
}

// garbagePercent answers the percentage for so many bytes in use, in steps of 25.
func garbagePercent(live uint64) int {
	percent := collectorSpace * 100 / max(live, 1)
	return int(min(max(percent, 100), collectorPercent)) / 25 * 25
}
