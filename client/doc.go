// Package client is the public Go client of claviger's native surface, /v1.
//
//	c, err := client.New("https://claviger.example", key)
//	conn, err := c.CreateConnection(ctx, api.CreateConnection{...})
//	for conn, err := range c.Connections(ctx, client.ConnectionQuery{Connector: "github"}) { ... }
//	github, err := c.Proxy(conn.ID) // an *http.Client whose every request goes through the connection
//
// It has one method for each operation, takes and answers the shapes of package
// api, and fails with an *Error that carries what the server said.
//
// Trust boundary: the token is held in a claviger.Secret and goes to the one
// origin that the client was made for: redirects are not followed, and plain http
// is refused to all but loopback addresses unless [AllowPlainHTTP] says otherwise.
// Answers are read up to a cap, and lists that would never end are an error.
// Requests that may safely be repeated are, a few times, when the server asks to
// wait; every wait ends with the context.
package client
