package egress

// SurprisingEnv answers the variables of the environment that would change where
// other programs send traffic or whom they trust. Egress ignores all but the
// SSL_CERT ones, with which the system names its certificate authorities; tell the
// operator at the start. lookup is os.LookupEnv outside tests.
func SurprisingEnv(lookup func(name string) (string, bool)) []string {
	var found []string
	for _, name := range []string{
		"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
		"SSLKEYLOGFILE", "SSL_CERT_FILE", "SSL_CERT_DIR", "GODEBUG", "RES_OPTIONS", "LOCALDOMAIN",
	} {
		if value, ok := lookup(name); ok && value != "" {
			found = append(found, name)
		}
	}
	return found
}
