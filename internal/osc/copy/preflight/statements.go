package preflight

// Statements are what a session writes to the binary log in place of rows.
var Statements = Check{Name: "statements", Passing: true, Session: true, Why: func(f Facts) string { return StatementSession(f.Sessions) }}

// StatementSession names a session that writes statements, "" when there is none.
func StatementSession(sessions []Setting) string {
	for _, s := range sessions {
		if s.Name == "binlog_format" && s.Value != "ROW" {
			return s.Refusal("a copy")
		}
	}
	return ""
}
