package vendor

import "strings"

// The credentials have the vendors' published forms and open nothing.
var (
	githubToken  = "ghp_" + strings.Repeat("a1B2c3D4e5F6", 3)
	gitlabToken  = "glpat-" + strings.Repeat("x9Y8z", 4)
	clickupToken = "pk_1234567_" + strings.Repeat("A1B2C3D4", 4)
	jiraToken    = "ATATT3" + strings.Repeat("x7Kq_", 24)
	stripeKey    = "sk_test_" + strings.Repeat("4eC39HqL", 3)
	sendgridKey  = "SG." + strings.Repeat("q1W2e3", 3) + "r4T5" + "." + strings.Repeat("z1X2c3V4", 5) + "b5N"
	openaiKey    = "sk-proj-" + strings.Repeat("Ab3dE", 8)
	notionToken  = "ntn_12345678901" + strings.Repeat("a1B2c", 7)
	linearKey    = "lin_api_" + strings.Repeat("q1W2e3R4", 5)
	twilioSID    = "AC" + strings.Repeat("0a1b2c3d", 4)
	twilioToken  = strings.Repeat("9f8e7d6c", 4)
	twilioKeySID = "SK" + strings.Repeat("1c2d3e4f", 4)
	twilioSecret = strings.Repeat("Zx9Yw8Vu", 4)
)

func profiles() []*profile {
	return []*profile{
		github(), gitlab(), clickup(), jira(), stripe(), sendgrid(), openai(), notion(), linear(), twilio(),
	}
}
