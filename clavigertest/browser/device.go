package browser

// Device gives the window a device that makes and keeps passkeys, recognizes its person and
// agrees to whatever it is asked.
func (p *Page) Device() {
	p.t.Helper()
	ask[nothing](p, "device")
}

// Present says whether a person is there to agree. Without one, what the device is asked
// waits.
func (p *Page) Present(present bool) {
	p.t.Helper()
	ask[nothing](p, "present", "present", present)
}

// Recognizes says whether the device recognizes its person, by finger, face or PIN.
func (p *Page) Recognizes(recognizes bool) {
	p.t.Helper()
	ask[nothing](p, "recognizes", "recognizes", recognizes)
}

// Counter sets the counters of the device's passkeys, as those of a copy differ, and answers
// how many passkeys there are.
func (p *Page) Counter(count int) int {
	p.t.Helper()
	return ask[int](p, "counter", "count", count)
}
