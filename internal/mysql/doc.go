// Package mysql holds every raw fact about MySQL that the rest of the project relies on: how to connect and to ask
// many servers at once, what a server and a replica say of themselves, GTID sets, the statements of replication,
// named locks, version differences (versions.go, the only file that knows them) and error numbers (errors.go).
//
// It knows nothing of tiers, alters or clusters. Nothing here blocks without a context: a server that is stopped or
// unreachable costs the caller's deadline and no more (I11).
package mysql
