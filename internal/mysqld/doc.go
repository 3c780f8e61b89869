// Package mysqld runs MySQL servers as child processes: it finds an installation, prepares a data directory once per
// version and copies it, writes my.cnf, starts, watches, stops, kills and freezes the process, and joins servers to
// replicated clusters. The demo, the tests and whatever manages local servers use it.
//
// A server started here listens on a loopback address and has the account root@'127.0.0.1' without a password, so it
// is for one machine and for data that anyone on it may read. Its process never outlives the one that started it, and
// only its own process id is ever signalled.
package mysqld
