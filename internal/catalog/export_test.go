package catalog

// ToJSON answers the canonical JSON of any well-formed document, valid or not.
func ToJSON(name string, data []byte) ([]byte, bool) {
	root, fault := read(name, data)
	if fault != nil {
		return nil, false
	}
	return root.appendJSON(nil), true
}
