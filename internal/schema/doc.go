// Package schema knows what a table should be and what it takes to make it so.
//
// Desired definitions come from the committed head of a git branch (Repo). The server itself turns a definition into
// what it would print for it (Materialiser), so that both sides of a comparison are the server's own text, brought to
// one normal form (Normalise). Equality has that one definition: two tables are equal exactly when the hashes of their
// normal forms are, and only then is Diff empty. Whatever else Diff gives is proven on an empty copy in a scratch
// schema before anybody relies on it (Prove); a change that does not end in the desired form is refused, since its alter
// could never be finished.
//
// Diff also tells what a change would do to data (Finding). It is pure: it knows the two definitions and no rows. Where
// rows decide, the finding carries the query that asks for them.
package schema
