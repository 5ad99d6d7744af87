package oauth

import (
	"encoding/json"

	"claviger"
)

// ServiceAccount reads the key file of a Google service account as the client that it
// is: its id is the account's address. The addresses in the file are not used: where
// assertions go is the connector's to say. An unusable file is an *Error of KindInvalid
// with Param "serviceAccount".
func ServiceAccount(file claviger.Secret) (claviger.OAuthClient, error) {
	var key struct {
		Email string `json:"client_email"`
		Key   string `json:"private_key"`
		KeyID string `json:"private_key_id"`
	}
	if err := json.Unmarshal([]byte(reveal(file)), &key); err != nil || !printable(key.Email, maxSubject) || key.Key == "" {
		return claviger.OAuthClient{}, claviger.Invalid("serviceAccount", "invalid_format",
			"This is not the key file of a service account: it has no client_email or no private_key. Download it as JSON and send the whole file.")
	}
	client := claviger.OAuthClient{ID: key.Email, KeyID: key.KeyID, PrivateKey: claviger.NewSecretString(key.Key)}
	_, err := readKey(client.PrivateKey, client.KeyID)
	return client, err
}
