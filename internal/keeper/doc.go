// Package keeper fetches what claviger must be given from outside: the master key,
// and the values of kv:// references that an external store keeps. Keys and values
// are asked for, never kept.
//
// A master key is named by URL ([Open]); a store of secrets by a specification
// ([OpenStore]). Both come from the settings of the instance alone, never from a
// tenant, and so may lie where a tenant's request may not go.
//
// Trust boundary: the file system is shared with other users and other programs.
// A key file that others may read, that belongs to somebody else or that is
// reached through a symbolic link is refused; a store's folder cannot be left. A
// path is chosen by a tenant and so is checked again here, and each organization
// but the instance's own is confined to a folder of its own. No error repeats a
// key or a value.
package keeper
