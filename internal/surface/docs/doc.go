// Package docs serves the gallery of connectors, /docs/connectors, and a page for each:
// what a vendor needs, where people find it, what is asked for, where credentials may go.
// They are pages for reading: public, the same for everybody, without scripts, cookies
// and requests to anywhere else. They show the connectors that every organization sees;
// an organization's own ones are its own business.
//
// What is shown comes from connector documents, the operator's folder included, and is
// escaped as the foreign text that it is; links are https alone, as the catalogue
// insists. The policy allows one style, by its hash, and a form that leads back here.
package docs
