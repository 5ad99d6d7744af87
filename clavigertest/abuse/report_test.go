package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const listText = "id\tpriority\tcase\twaits for\n" +
	"002\tP0\tforeign ids\t-\n" +
	"005\tP0\tforeign names\t-\n" +
	"119\tP0\theaders\t-\n" +
	"120\tP0\tconnection header\t-\n" +
	"151\tP0\tsignatures\twebhooks\n"

// stream writes events as go test does, one JSON object a line.
func stream(t *testing.T, events ...event) string {
	t.Helper()
	var b bytes.Buffer
	for _, e := range events {
		if err := json.NewEncoder(&b).Encode(e); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func list(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "cases.tsv")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func passing(pkg, test string) []event {
	return []event{
		{Action: "run", Package: pkg, Test: test},
		{Action: "output", Package: pkg, Test: test, Output: "=== RUN   " + test + "\n"},
		{Action: "output", Package: pkg, Test: test, Output: "    quiet\n"},
		{Action: "pass", Package: pkg, Test: test},
	}
}

func TestRun(t *testing.T) {
	start, end := event{Action: "start", Package: "p"}, event{Action: "pass", Package: "p"}
	ok := event{Action: "output", Package: "p", Output: "ok  \tp\t0.01s\n"}
	for _, c := range []struct {
		name string
		in   string
		want string
		code int
	}{
		{
			"all pass",
			stream(t, append(append([]event{start}, append(passing("p", "TestAbuse_002_Foreign"), append(passing("p", "TestAbuse_002_Foreign/case"), passing("p", "TestAbuse_119_120_Headers")...)...)...), event{Action: "output", Package: "p", Output: "PASS\n"}, ok, end)...),
			"ok  \tp\t0.01s\nabuse cases: 3 proven: 002 119 120\nwaiting: 005 -\nwaiting: 151 webhooks\n3 passed, 0 failed\n", 0,
		},
		{
			"one fails, one is skipped",
			stream(t, start,
				event{Action: "run", Package: "p", Test: "TestAbuse_002_A"}, event{Action: "output", Package: "p", Test: "TestAbuse_002_A", Output: "    a_test.go:1: bad\n"},
				event{Action: "output", Package: "p", Test: "TestAbuse_002_A", Output: "--- FAIL: TestAbuse_002_A (0.00s)\n"}, event{Action: "fail", Package: "p", Test: "TestAbuse_002_A"},
				event{Action: "pass", Package: "p", Test: "TestAbuse_002_B"}, event{Action: "skip", Package: "p", Test: "TestAbuse_005_C"}, event{Action: "pass", Package: "p", Test: "TestPlain"},
				event{Action: "output", Package: "p", Output: "FAIL\n"}, event{Action: "output", Package: "p", Output: "FAIL\tp\t0.01s\n"}, event{Action: "fail", Package: "p"}),
			"    a_test.go:1: bad\n--- FAIL: TestAbuse_002_A (0.00s)\nFAIL\nFAIL\tp\t0.01s\nabuse cases: 0 proven:\nwaiting: 002 -\nwaiting: 005 -\nwaiting: 119 -\nwaiting: 120 -\nwaiting: 151 webhooks\n2 passed, 1 failed\n", 1,
		},
		{
			"does not build",
			stream(t, event{Action: "build-output", ImportPath: "p [p.test]", Output: "p/x.go:1: syntax error\n"}, event{Action: "build-fail", ImportPath: "p [p.test]"}, start, event{Action: "output", Package: "p", Output: "FAIL\tp [build failed]\n"}, event{Action: "fail", Package: "p"}),
			"p/x.go:1: syntax error\nFAIL\tp [build failed]\nabuse cases: 0 proven:\nwaiting: 002 -\nwaiting: 005 -\nwaiting: 119 -\nwaiting: 120 -\nwaiting: 151 webhooks\n0 passed, 1 failed\n", 1,
		},
		{
			"dies in a test",
			stream(t, append(append([]event{start}, passing("p", "TestAbuse_005_A")...), event{Action: "run", Package: "p", Test: "TestAbuse_005_B"}, event{Action: "output", Package: "p", Test: "TestAbuse_005_B", Output: "panic: no\n"}, event{Action: "fail", Package: "p"})...),
			"panic: no\n--- FAIL: TestAbuse_005_B (did not end)\nabuse cases: 0 proven:\nwaiting: 002 -\nwaiting: 005 -\nwaiting: 119 -\nwaiting: 120 -\nwaiting: 151 webhooks\n1 passed, 1 failed\n", 1,
		},
		{
			"the stream is cut",
			stream(t, append([]event{start}, passing("p", "TestAbuse_005_A")...)...),
			"FAIL\tp [did not end]\nabuse cases: 1 proven: 005\nwaiting: 002 -\nwaiting: 119 -\nwaiting: 120 -\nwaiting: 151 webhooks\n1 passed, 1 failed\n", 1,
		},
		{
			"nothing ran",
			"cannot find initdb\n",
			"cannot find initdb\nabuse: no package was tested\nabuse cases: 0 proven:\nwaiting: 002 -\nwaiting: 005 -\nwaiting: 119 -\nwaiting: 120 -\nwaiting: 151 webhooks\n0 passed, 1 failed\n", 1,
		},
		{
			"an unknown case",
			stream(t, append(append([]event{start}, passing("p", "TestAbuse_999_Nothing")...), ok, end)...),
			"ok  \tp\t0.01s\nabuse cases: 0 proven:\nwaiting: 002 -\nwaiting: 005 -\nwaiting: 119 -\nwaiting: 120 -\nwaiting: 151 webhooks\nabuse: a test carries the id 999, which the list does not have\n1 passed, 0 failed\n", 1,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			if code := run(strings.NewReader(c.in), &out, list(t, listText)); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if out.String() != c.want {
				t.Errorf("got:\n%s\nwant:\n%s", out.String(), c.want)
			}
		})
	}
}

func TestBadList(t *testing.T) {
	var out bytes.Buffer
	if code := run(strings.NewReader(""), &out, list(t, "id\tpriority\n")); code != 1 || !strings.Contains(out.String(), "2 columns") {
		t.Errorf("code %d, output %q", code, out.String())
	}
	out.Reset()
	if code := run(strings.NewReader(""), &out, filepath.Join(t.TempDir(), "none")); code != 1 {
		t.Errorf("without a list: code %d", code)
	}
}

// The list itself: ordered, unique ids of three digits, a known priority, a wording.
func TestList(t *testing.T) {
	data, err := os.ReadFile("../../docs/abuse-cases.tsv")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile(`^\d{3}\tP[01]\t[^\t]{10,}\t(-|[a-z]+)$`)
	last := ""
	for i, line := range strings.Split(strings.TrimSpace(string(data)), "\n")[1:] {
		if !row.MatchString(line) {
			t.Errorf("row %d is no id, priority, case, feature: %q", i+1, line)
		} else if line[:3] <= last {
			t.Errorf("row %d: %s does not follow %s", i+1, line[:3], last)
		} else {
			last = line[:3]
		}
	}
}
