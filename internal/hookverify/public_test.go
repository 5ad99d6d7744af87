package hookverify_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"hash/crc32"
	"math/big"
	"strings"
	"testing"
	"time"

	"claviger/internal/hookverify"
)

// must ends the test on an error.
func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func spki(t testing.TB, public any) []byte {
	t.Helper()
	return must[[]byte](t)(x509.MarshalPKIXPublicKey(public))
}

// accepted verifies a delivery twice, and then without its last byte.
func accepted(t *testing.T, s *hookverify.Scheme, keys []hookverify.Key, req *hookverify.Request) hookverify.Verdict {
	t.Helper()
	v, err := hookverify.Verify(s, keys, req, stamped())
	again, errAgain := hookverify.Verify(s, keys, req, stamped())
	if err != nil || errAgain != nil || !bytes.Equal(v.ReplayKey, again.ReplayKey) {
		t.Fatalf("%s: %v, then %v", s.Key, err, errAgain)
	}
	bad := clone(req)
	bad.Body = bad.Body[:len(bad.Body)-1]
	if _, err := hookverify.Verify(s, keys, bad, stamped()); err == nil {
		t.Errorf("%s: a changed body was accepted", s.Key)
	}
	return v
}

func TestEd25519(t *testing.T) {
	const body = `{"type":2,"id":"1"}`
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	discord := scheme(t, "discord", nil)
	sig := hex.EncodeToString(ed25519.Sign(private, []byte("1700000000"+body)))
	req := post(body, "X-Signature-Ed25519", sig, "X-Signature-Timestamp", "1700000000")
	for _, text := range []string{
		hex.EncodeToString(public), base64.StdEncoding.EncodeToString(public),
		string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki(t, public)})),
	} {
		v := accepted(t, discord, []hookverify.Key{mustKey(t, discord, "k", text)}, req)
		if v.DeliveryID != "1" || v.EventType != "2" || !v.DeliverySigned {
			t.Errorf("%+v", v)
		}
	}
	telnyx := scheme(t, "telnyx", nil)
	req = post(body, "telnyx-signature-ed25519", base64.StdEncoding.EncodeToString(ed25519.Sign(private, []byte("1700000000|"+body))), "telnyx-timestamp", "1700000000")
	accepted(t, telnyx, []hookverify.Key{mustKey(t, telnyx, "k", base64.StdEncoding.EncodeToString(public))}, req)

	standard := scheme(t, "standard-webhooks-ed25519", nil)
	req = post(body, "webhook-id", "msg_1", "webhook-timestamp", "1700000000", "webhook-signature", "v1,AAAA v1a,"+base64.StdEncoding.EncodeToString(ed25519.Sign(private, []byte("msg_1.1700000000."+body))))
	accepted(t, standard, []hookverify.Key{mustKey(t, standard, "k", "whpk_"+base64.StdEncoding.EncodeToString(public))}, req)

	fal := scheme(t, "fal-ai", nil)
	sum := sha256.Sum256([]byte(body))
	req = post(body, "X-Fal-Webhook-Request-Id", "r1", "X-Fal-Webhook-User-Id", "u1", "X-Fal-Webhook-Timestamp", "1700000000",
		"X-Fal-Webhook-Signature", hex.EncodeToString(ed25519.Sign(private, []byte("r1\nu1\n1700000000\n"+hex.EncodeToString(sum[:])))))
	ref := must[hookverify.KeyRef](t)(fal.KeyRef(req))
	jwks := fmt.Sprintf(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":%q}]}`, base64.RawURLEncoding.EncodeToString(public))
	accepted(t, fal, must[[]hookverify.Key](t)(fal.FetchedKeys(ref, []byte(jwks), stamped())), req)
}

func TestECDSA(t *testing.T) {
	const body = `[{"sg_event_id":"e1","event":"open"}]`
	private := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	sendgrid := scheme(t, "sendgrid", nil)
	digest := sha256.Sum256([]byte("1700000000" + body))
	sig := base64.StdEncoding.EncodeToString(must[[]byte](t)(ecdsa.SignASN1(rand.Reader, private, digest[:])))
	req := post(body, "X-Twilio-Email-Event-Webhook-Signature", sig, "X-Twilio-Email-Event-Webhook-Timestamp", "1700000000")
	v := accepted(t, sendgrid, []hookverify.Key{mustKey(t, sendgrid, "k", base64.StdEncoding.EncodeToString(spki(t, &private.PublicKey)))}, req)
	if v.DeliveryID != "e1" || v.EventType != "open" {
		t.Errorf("%+v", v)
	}

	ebay := scheme(t, "ebay", nil)
	old := sha1.Sum([]byte(body))
	sig = base64.StdEncoding.EncodeToString(must[[]byte](t)(ecdsa.SignASN1(rand.Reader, private, old[:])))
	envelope := func(kid string) string {
		return base64.StdEncoding.EncodeToString([]byte(fmt.Sprintf(`{"alg":"ecdsa","kid":%q,"signature":%q,"digest":"SHA1"}`, kid, sig)))
	}
	for _, kid := range []string{"", "..", "../k1", "k1?x", "k1/../../x", "%2e%2e", strings.Repeat("k", 201)} {
		if ref, err := ebay.KeyRef(post(body, "X-EBAY-SIGNATURE", envelope(kid))); code(err) != hookverify.CodeKeyRefused {
			t.Errorf("kid %q: %+v %v", kid, ref, err)
		}
	}
	req = post(body, "X-EBAY-SIGNATURE", envelope("k-1"))
	ref := must[hookverify.KeyRef](t)(ebay.KeyRef(req))
	if ref.URL != "https://api.ebay.com/commerce/notification/v1/public_key/k-1" || ref.KeyID != "k-1" || ref.Account == nil || ref.Account.TokenURL == "" {
		t.Errorf("%+v", ref)
	}
	document := fmt.Sprintf(`{"key":"-----BEGIN PUBLIC KEY-----%s-----END PUBLIC KEY-----","algorithm":"ECDSA","digest":"SHA1"}`, base64.StdEncoding.EncodeToString(spki(t, &private.PublicKey)))
	accepted(t, ebay, must[[]hookverify.Key](t)(ebay.FetchedKeys(ref, []byte(document), stamped())), req)
}

// certificate makes a self-signed certificate that is valid around the vectors' time.
func certificate(t testing.TB, private *rsa.PrivateKey, until time.Time) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sns.amazonaws.com"}, NotBefore: stamped().Add(-time.Hour), NotAfter: until}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private))
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func signRSA(t testing.TB, private *rsa.PrivateKey, hash crypto.Hash, text string) string {
	t.Helper()
	h := hash.New()
	h.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(must[[]byte](t)(rsa.SignPKCS1v15(rand.Reader, private, hash, h.Sum(nil))))
}

func TestRSA(t *testing.T) {
	private := must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))
	const body = `{"event_type":"test","id":"evt_1"}`
	wise := scheme(t, "wise", nil)
	req := post(body, "X-Signature-SHA256", signRSA(t, private, crypto.SHA256, body))
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki(t, &private.PublicKey)}))
	accepted(t, wise, []hookverify.Key{mustKey(t, wise, "k", key)}, req)

	t.Run("PayPal", func(t *testing.T) {
		paypal := scheme(t, "paypal", map[string]string{"webhookId": "WH-1"})
		signed := fmt.Sprintf("t1|2023-11-14T22:13:20Z|WH-1|%d", crc32.ChecksumIEEE([]byte(body)))
		req := post(body, "PAYPAL-TRANSMISSION-ID", "t1", "PAYPAL-TRANSMISSION-TIME", "2023-11-14T22:13:20Z", "PAYPAL-AUTH-ALGO", "SHA256withRSA",
			"PAYPAL-CERT-URL", "https://api.paypal.com/v1/notifications/certs/CERT-1", "PAYPAL-TRANSMISSION-SIG", signRSA(t, private, crypto.SHA256, signed))
		ref := must[hookverify.KeyRef](t)(paypal.KeyRef(req))
		keys := must[[]hookverify.Key](t)(paypal.FetchedKeys(ref, certificate(t, private, stamped().Add(time.Hour)), stamped()))
		if v := accepted(t, paypal, keys, req); v.BodySigned {
			t.Error("a CRC is said to bind the body")
		}
		if _, err := paypal.FetchedKeys(ref, certificate(t, private, stamped().Add(-time.Minute)), stamped()); code(err) != hookverify.CodeKeyRefused {
			t.Errorf("an expired certificate: %v", err)
		}
		other := scheme(t, "paypal", map[string]string{"webhookId": "WH-2"})
		if _, err := hookverify.Verify(other, keys, req, stamped()); code(err) != hookverify.CodeSignatureMismatch {
			t.Errorf("another webhook's id: %v", err)
		}
		req.Header.Set("PAYPAL-AUTH-ALGO", "SHA1withRSA")
		if _, err := hookverify.Verify(paypal, keys, req, stamped()); code(err) != hookverify.CodeRequest {
			t.Errorf("another algorithm: %v", err)
		}
	})
	t.Run("SNS", func(t *testing.T) { testSNS(t, private) })
}

func testSNS(t *testing.T, private *rsa.PrivateKey) {
	message := map[string]string{
		"Type": "Notification", "MessageId": "m1", "TopicArn": "arn:aws:sns:eu-west-1:1:t", "Message": "hello", "Timestamp": "2023-11-14T22:13:20.000Z",
		"SignatureVersion": "2", "SigningCertURL": "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem",
	}
	deliver := func(change map[string]string, hash crypto.Hash) *hookverify.Request {
		m := map[string]string{}
		for k, v := range message {
			m[k] = v
		}
		for k, v := range change {
			m[k] = v
		}
		var b strings.Builder
		for _, name := range []string{"Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"} {
			if v, ok := m[name]; ok {
				b.WriteString(name + "\n" + v + "\n")
			}
		}
		m["Signature"] = signRSA(t, private, hash, b.String())
		return post(string(must[[]byte](t)(json.Marshal(m))), "Content-Type", "text/plain; charset=UTF-8")
	}
	sns := scheme(t, "aws-sns", nil)
	req := deliver(map[string]string{"Subject": "s"}, crypto.SHA256)
	ref := must[hookverify.KeyRef](t)(sns.KeyRef(req))
	cert := certificate(t, private, stamped().Add(time.Hour))
	keys := must[[]hookverify.Key](t)(sns.FetchedKeys(ref, cert, stamped()))
	if v := accepted(t, sns, keys, req); v.DeliveryID != "m1" || !v.DeliverySigned || v.EventType != "Notification" {
		t.Errorf("%+v", v)
	}
	forged := clone(req)
	forged.Body = bytes.Replace(forged.Body, []byte(`"Type"`), []byte(`"SubscribeURL":"https://sns.eu-west-1.amazonaws.com/","Type"`), 1)
	if _, err := hookverify.Verify(sns, keys, forged, stamped()); code(err) != hookverify.CodeSignatureMismatch {
		t.Errorf("a member that was not signed: %v", err)
	}
	if _, err := hookverify.Verify(sns, keys, deliver(map[string]string{"SignatureVersion": "1"}, crypto.SHA1), stamped()); code(err) != hookverify.CodeRequest {
		t.Errorf("SHA-1 for SHA-256: %v", err)
	}
	old := scheme(t, "aws-sns-v1", nil)
	accepted(t, old, must[[]hookverify.Key](t)(old.FetchedKeys(ref, cert, stamped())), deliver(map[string]string{"SignatureVersion": "1"}, crypto.SHA1))

	for _, address := range []string{
		"http://sns.eu-west-1.amazonaws.com/a.pem", "https://sns.eu-west-1.amazonaws.com.example.com/a.pem", "https://example.com/sns.eu-west-1.amazonaws.com/a.pem",
		"https://sns.a.b.amazonaws.com/a.pem", "https://sns..amazonaws.com/a.pem", "https://u@sns.eu-west-1.amazonaws.com/a.pem", "https://sns.eu-west-1.amazonaws.com:444/a.pem",
		"https://s3.eu-west-1.amazonaws.com/a.pem", "https://sns.eu-west-1.amazonaws.com/a.pem?x=1", "https://sns.eu-west-1.amazonaws.com/a", "", "file:///etc/a.pem", "https://sns.eu-west-1.amazonaws.com\\@example.com/a.pem",
	} {
		if ref, err := sns.KeyRef(deliver(map[string]string{"SigningCertURL": address}, crypto.SHA256)); code(err) != hookverify.CodeKeyRefused {
			t.Errorf("%s: %+v %v", address, ref, err)
		}
	}
	confirm := map[string]string{"Type": "SubscriptionConfirmation", "Token": "t", "SubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=t"}
	answer, err := hookverify.Handshake(sns, keys, deliver(confirm, crypto.SHA256), stamped())
	if err != nil || answer == nil || answer.Confirm != confirm["SubscribeURL"] {
		t.Errorf("%+v %v", answer, err)
	}
	confirm["SubscribeURL"] = "https://example.com/?Action=ConfirmSubscription"
	if answer, err := hookverify.Handshake(sns, keys, deliver(confirm, crypto.SHA256), stamped()); code(err) != hookverify.CodeKeyRefused {
		t.Errorf("%+v %v", answer, err)
	}
}

func TestPublicKeysAreOfTheRightKind(t *testing.T) {
	ec := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	text := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki(t, &ec.PublicKey)}))
	for _, key := range []string{"discord", "wise", "telnyx"} {
		s := scheme(t, key, nil)
		for _, bad := range []string{text, "no key at all, but long enough", strings.Repeat("ab", 31)} {
			if k, err := newKey(s, bad); code(err) != hookverify.CodeNotConfigured {
				t.Errorf("%s: %v %v", key, k.ID(), err)
			}
		}
	}
}
