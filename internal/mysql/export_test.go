package mysql

import (
	"context"
	"database/sql"
	"slices"
)

// GTIDTexts is the table gtidTexts, for the test that holds it against a server.
func GTIDTexts() map[string]string {
	texts := map[string]string{}
	for _, c := range gtidTexts {
		texts[c.text] = c.normal
	}
	return texts
}

// ReadServerLacking is ReadServer of a server that has no variable of this name but, where older is given, has it
// under that one; missing is as in the table of variables.
func ReadServerLacking(ctx context.Context, db *sql.DB, name, older, missing string) (Server, error) {
	vars := slices.Clone(serverVariables)
	for i, v := range vars {
		if v.name == name {
			vars[i] = variable{name: "nosuch_" + name, older: older, missing: missing}
		}
	}
	return readServer(ctx, db, vars)
}
