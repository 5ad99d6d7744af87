package catalog

// ToJSON answers the canonical JSON of any well-formed document, valid or not.
func ToJSON(name string, data []byte) ([]byte, bool) {
	root, fault := Options{}.read(name, data)
	if fault != nil {
		return nil, false
	}
	return root.AppendJSON(nil), true
}

// Parsed answers how many built-in documents have been parsed.
func Parsed(c *Catalog) int {
	parsed := 0
	for _, e := range c.builtin {
		if e.conn != nil {
			parsed++
		}
	}
	return parsed
}
