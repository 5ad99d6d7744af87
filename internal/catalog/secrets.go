package catalog

import "claviger/internal/document"

// literalSecrets looks for credentials in every string of the document. Patterns
// describe credentials, so for them only the known forms count.
func (c *checker) literalSecrets(n *document.Node, path string, pattern bool) {
	if n.Kind == document.String && len(n.Text) > maxTemplate {
		c.fault(n, path, CodeLimit, "", "is longer than %d bytes", maxTemplate)
		return
	}
	if n.Kind == document.String && (document.KnownSecret(n.Text) || !pattern && document.RandomRun(n.Text)) {
		c.fault(n, path, CodeLiteralSecret, "remove it, change it at the vendor, and let the connection hold it; name a field as ${apiKey} instead", "looks like a credential, which a document must not hold")
	}
	for _, m := range n.Members {
		at := join(path, m.Key)
		if document.KnownSecret(m.Key) || document.RandomRun(m.Key) {
			c.fault(&document.Node{Line: m.Line, Column: m.Column}, path, CodeLiteralSecret, "remove it", "a key looks like a credential")
			continue
		}
		c.literalSecrets(m.Value, at, m.Key == "pattern" || m.Key == "softPattern")
	}
	for i, item := range n.Items {
		c.literalSecrets(item, index(path, i), pattern)
	}
}
