// Package keyed copies a table into its new form while it is being written to.
//
// One principle: only keys are read from the binary log. Values are always moved by the server itself, from the table, by
// INSERT ... SELECT in sessions that are all set up alike. There is one writer of values, so nothing is rendered, converted or
// rounded in a way that ALTER TABLE would not; and what is applied twice, late or in another order comes out the same, because each
// application makes the ghost's rows for some keys equal to what the table holds then.
//
// docs/decisions/036-only-keys-from-the-log.md argues why no row is lost.
//
// The package touches one table, its ghost and its progress table on one server. It knows nothing of plans, permission or aoscdb.
package keyed
