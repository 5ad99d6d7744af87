package rehearse

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"

	"claviger"
	"claviger/internal/oauth"
)

// asserting answers a client that signs, with a new key in the form that the method asks
// people for: a service account's file, or PEM.
func asserting(m *claviger.AuthMethod, id string) (claviger.OAuthClient, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return claviger.OAuthClient{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return claviger.OAuthClient{}, err
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if _, ok := m.Field("serviceAccount"); !ok {
		return claviger.OAuthClient{ID: id, PrivateKey: claviger.NewSecretString(text)}, nil
	}
	file, err := json.Marshal(map[string]string{"client_email": id, "private_key": text, "private_key_id": "1"})
	if err != nil {
		return claviger.OAuthClient{}, err
	}
	return oauth.ServiceAccount(claviger.NewSecret(file))
}
