package oidcprovider

import (
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// maxPages bounds how many pages a person looks at.
const maxPages = 20

var (
	formTag  = regexp.MustCompile(`(?s)<form[^>]*\saction="([^"]*)"[^>]*>(.*?)</form>`)
	inputTag = regexp.MustCompile(`<input[^>]*>`)
	nameAttr = regexp.MustCompile(`\sname="([^"]*)"`)
	valAttr  = regexp.MustCompile(`\svalue="([^"]*)"`)
)

// Consent is a person with a browser of their own: it opens an address, logs in as
// user, says yes to everything that is asked, and ends where the provider sends it to
// somebody else's address, whose query it answers, or shows a page without a question
// (the end of a device flow), for which the query is empty.
func (p *Provider) Consent(t testing.TB, address, user string) (rawQuery string) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{
		Jar: jar, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range maxPages {
		if !strings.HasPrefix(req.URL.String(), p.Issuer+"/") {
			return req.URL.RawQuery
		}
		resp, err := browser.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		page, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		_ = resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode >= 400 {
			t.Fatalf("%s answers %d: %s", req.URL.Path, resp.StatusCode, page)
		}
		if req = next(t, resp, string(page), user); req == nil {
			return ""
		}
	}
	t.Fatal("the provider asks without an end")
	return ""
}

// next answers what a person does with a page: follow it, fill in its form, or nothing.
func next(t testing.TB, resp *http.Response, page, user string) *http.Request {
	t.Helper()
	if target, err := resp.Location(); err == nil {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target.String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return req
	}
	form := formTag.FindStringSubmatch(page)
	if form == nil {
		return nil
	}
	values := url.Values{}
	for _, input := range inputTag.FindAllString(form[2], -1) {
		name := nameAttr.FindStringSubmatch(input)
		if name == nil {
			continue
		}
		value := ""
		if v := valAttr.FindStringSubmatch(input); v != nil {
			value = html.UnescapeString(v[1])
		}
		switch name[1] {
		case "login":
			value = user
		case "password":
			value = "anything"
		}
		values.Set(name[1], value)
	}
	target, err := resp.Request.URL.Parse(html.UnescapeString(form[1]))
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target.String(), strings.NewReader(values.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return req
}
