package osc

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/osc/ghost"
	"github.com/aosc/aosc/internal/osc/keyed"
	"github.com/aosc/aosc/internal/osc/verify"
	"github.com/aosc/aosc/internal/schema"
)

// copyFacts are what decides whether an engine may copy a table, besides the change itself.
type copyFacts struct {
	By       Engine // which copies it
	Server   mysql.Server
	User     string
	Engine   string // of the table
	Original verify.Table
	Triggers int
	Children int      // foreign keys of other tables that point here
	Parents  int      // foreign keys of this table
	Grants   []string // SHOW GRANTS
	Beside   []beside // tables with gh-ost's names, or with names it takes for them
	Zone     timeZone
	Sessions string // sessions whose writes gh-ost would not see, "" = none
	Need     uint64 // bytes the copy and its binary log will take
	Free     uint64 // bytes free where the data is
	FreeSeen bool   // false: the file system is out of our sight
}

// beside is a table that stands where gh-ost makes or looks for one.
type beside struct {
	Name, Kind, Engine, Comment string // Kind: BASE TABLE or VIEW
}

// refusal is the first reason why gh-ost must not copy the table, "" when it may. final: only a change of schema or
// settings helps. recorded are the names of leftovers of ours, which are dealt with.
func (f copyFacts) refusal(database, table string, recorded map[string]bool) (reason string, final bool) {
	checks := []func() string{
		f.serverRefusal,
		f.shapeRefusal,
		func() string { return f.nameRefusal(database, table) },
		func() string { return grantsRefusal(f.Grants, database, f.User) },
	}
	if f.By == EngineKeyed {
		checks = []func() string{f.keyedServerRefusal, f.shapeRefusal}
	}
	for _, check := range checks {
		if r := check(); r != "" {
			return r, true
		}
	}
	if r := f.besideRefusal(table, recorded); r != "" {
		return r, true
	}
	if f.Sessions != "" {
		return f.Sessions, false
	}
	if f.FreeSeen && f.Free < f.Need {
		return fmt.Sprintf("disk space: the copy and its binary log need about %s, %s are free in %s",
			size(f.Need), size(f.Free), f.Server.Datadir), false
	}
	return "", false
}

// serverRefusal: gh-ost follows the table in the binary log and understands only complete, uncompressed row events. It
// checks the first three itself; the others would make it hang, or lose changes in silence.
func (f copyFacts) serverRefusal() string {
	s := f.Server
	const needs = "gh-ost follows the changes in the binary log: "
	switch {
	case !s.LogBin:
		return needs + "the server has none (log_bin is OFF)"
	case !strings.EqualFold(s.BinlogFormat, "ROW"):
		return needs + "binlog_format is " + s.BinlogFormat + ", it must be ROW"
	case !strings.EqualFold(s.BinlogRowImage, "FULL"):
		return needs + "binlog_row_image is " + s.BinlogRowImage + ", it must be FULL"
	case s.BinlogTransactionCompression:
		return needs + "binlog_transaction_compression is ON, and it skips compressed transactions without a word; it must be OFF"
	case s.BinlogRowValueOptions != "":
		return needs + "binlog_row_value_options is " + s.BinlogRowValueOptions + ", it must be empty"
	}
	return ""
}

// shapeRefusal: what gh-ost cannot carry over, by the shape of the table.
func (f copyFacts) shapeRefusal() string {
	switch {
	case !strings.EqualFold(f.Engine, "InnoDB"):
		return "the table's engine is " + f.Engine + ": without InnoDB's locks and snapshots a copy cannot be verified"
	case f.Triggers > 0:
		return fmt.Sprintf("the table has %d triggers, which a copy would not carry over", f.Triggers)
	case f.Children > 0:
		return fmt.Sprintf("%d foreign keys of other tables refer to the table: they would stay with the old one", f.Children)
	case f.Parents > 0:
		return fmt.Sprintf("the table has %d foreign keys, which a copy would not carry over", f.Parents)
	case f.By == EngineKeyed:
		if err := keyed.Usable(f.Original, f.Zone.utc()); err != nil {
			return err.Error()
		}
		return ""
	}
	if _, err := ghostKey(f.Original, nil); err != nil {
		return err.Error()
	}
	return ""
}

// keyedServerRefusal: whole transactions of row events are enough, however they are written.
func (f copyFacts) keyedServerRefusal() string {
	s := f.Server
	const needs = "a copy follows the changes in the binary log: "
	switch {
	case !s.LogBin:
		return needs + "the server has none (log_bin is OFF)"
	case !strings.EqualFold(s.BinlogFormat, "ROW"):
		return needs + "binlog_format is " + s.BinlogFormat + ", it must be ROW"
	case !strings.EqualFold(s.GTIDMode, "ON"):
		return needs + "gtid_mode is " + s.GTIDMode + ", it must be ON"
	case keyed.Tagged(s.GTIDExecuted):
		return needs + "gtid_executed has GTIDs with tags, which the engine 'keyed' cannot ask for yet; set the tier's copy_engine to 'ghost'"
	}
	return ""
}

// changeRefusal: what gh-ost cannot carry over, by the change.
func (f copyFacts) changeRefusal(c schema.Change) string {
	switch {
	case f.By != EngineGhost:
	case c.Ghost != nil:
		return c.Ghost.Error()
	case c.UTC != nil && !f.Zone.utc():
		return fmt.Sprintf("%v, and the server's is not UTC, in which gh-ost applies the changes that are made during a copy: rows "+
			"would come out differently; let MySQL itself make the change, which blocks writes (direct_max_rows at least the table's rows)", c.UTC)
	}
	return ""
}

func (f copyFacts) nameRefusal(database, table string) string {
	key, err := ghostKey(f.Original, nil)
	if err != nil {
		return err.Error()
	}
	names := make([]string, len(f.Original.Columns))
	for i, c := range f.Original.Columns {
		names[i] = c.Name
	}
	return ghost.NameProblem(database, table, names, key.Name)
}

// besideRefusal: gh-ost drops a changelog table it finds, gives up on a ghost or old table, and looks for all of them with
// LIKE, where an underscore is any character.
func (f copyFacts) besideRefusal(table string, recorded map[string]bool) string {
	names := ghost.NamesFor(table)
	for _, b := range f.Beside {
		quoted := mysql.QuoteIdent(b.Name)
		switch {
		case b.Name == table, recorded[b.Name]:
		case b.Name == names.Ghost, b.Name == names.Changelog, b.Name == names.Old:
			return "table " + quoted + " is in the way and none of ours (no run recorded it): find out whose it is, then drop or rename it"
		case f.By == EngineKeyed: // it asks for tables by their names
		case like(table, b.Name):
			if b.Kind != "BASE TABLE" || !strings.EqualFold(b.Engine, "InnoDB") {
				return quoted + " (" + strings.ToLower(b.Kind) + ") would be taken for the table: gh-ost looks tables up with LIKE"
			}
		default:
			return "table " + quoted + " would be taken for one of gh-ost's own: it looks tables up with LIKE; rename it"
		}
	}
	return ""
}

// like is LIKE without wildcards other than those of names: an underscore is any one character, a percent sign any number.
func like(pattern, name string) bool {
	p, n := []rune(strings.ToLower(pattern)), []rune(strings.ToLower(name))
	if len(p) == 0 {
		return len(n) == 0
	}
	if p[0] == '%' {
		for i := range len(n) + 1 {
			if like(string(p[1:]), string(n[i:])) {
				return true
			}
		}
		return false
	}
	return len(n) > 0 && (p[0] == '_' || p[0] == n[0]) && like(string(p[1:]), string(n[1:]))
}

// ghostPrivileges must stand in one line of SHOW GRANTS, for gh-ost reads that text.
var ghostPrivileges = []string{"ALTER", "CREATE", "DELETE", "DROP", "INDEX", "INSERT", "LOCK TABLES", "SELECT", "TRIGGER", "UPDATE"}

// grantsRefusal judges as gh-ost does: by the text of SHOW GRANTS, in which privileges that come with a role do not
// stand.
func grantsRefusal(grants []string, database, user string) string {
	var super, client, replica, tables bool
	escaped := strings.ReplaceAll(database, "_", `\_`)
	for _, g := range grants {
		if strings.Contains(g, "GRANT ALL PRIVILEGES ON *.*") {
			return ""
		}
		global := strings.Contains(g, " ON *.*")
		super = super || global && strings.Contains(g, "SUPER")
		client = client || global && strings.Contains(g, "REPLICATION CLIENT")
		replica = replica || global && strings.Contains(g, "REPLICATION SLAVE")
		on := global || strings.Contains(g, " ON `"+database+"`.*")
		tables = tables || on && containsAll(g, ghostPrivileges) ||
			strings.Contains(g, "GRANT ALL PRIVILEGES ON `"+database+"`.*") || strings.Contains(g, "GRANT ALL PRIVILEGES ON `"+escaped+"`.*")
	}
	var missing []string
	for _, m := range []struct {
		has  bool
		what string
	}{
		{super || client, "REPLICATION CLIENT ON *.*"},
		{replica, "REPLICATION SLAVE ON *.*"},
		{tables, strings.Join(ghostPrivileges, ", ") + " ON " + mysql.QuoteIdent(database) + ".* or *.*, all in one grant"},
	} {
		if !m.has {
			missing = append(missing, m.what)
		}
	}
	if missing == nil {
		return ""
	}
	return "account " + user + " lacks what gh-ost asks for (granted directly, it does not see roles): " + strings.Join(missing, "; ")
}

// passesReadOnly names a privilege among grants with which an account writes to a server that is read_only, "" when it has none.
// Privileges of roles do not show; SHOW GRANTS lists those that a grant of ALL stands for.
func passesReadOnly(grants []string) string {
	for _, g := range grants {
		if !strings.Contains(g, " ON *.*") {
			continue
		}
		for _, privilege := range []string{"SUPER", "CONNECTION_ADMIN", "ALL PRIVILEGES"} {
			if strings.HasPrefix(g, "GRANT ") && slices.ContainsFunc(strings.Split(strings.TrimPrefix(g[:strings.Index(g, " ON *.*")], "GRANT "), ","),
				func(has string) bool { return strings.TrimSpace(has) == privilege }) {
				return privilege
			}
		}
	}
	return ""
}

func containsAll(s string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(s, w) {
			return false
		}
	}
	return true
}

func size(n uint64) string {
	const unit = 1024
	value, name := float64(n), "B"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if value < unit {
			break
		}
		value, name = value/unit, next
	}
	return fmt.Sprintf("%.1f %s", value, name)
}

// readCopyFacts asks the server for all of them.
func readCopyFacts(ctx context.Context, db *sql.DB, t Target, by Engine, bytes uint64) (copyFacts, error) {
	f := copyFacts{By: by, Need: CopyNeeds(bytes)}
	var err error
	if f.Server, err = mysql.ReadServer(ctx, db); err != nil {
		return f, err
	}
	if f.Original, err = verify.ReadTable(ctx, db, t.Database, t.Table); err != nil {
		return f, err
	}
	err = db.QueryRowContext(ctx, `
		SELECT CURRENT_USER(),
		  (SELECT COALESCE(MAX(engine), '') FROM information_schema.tables WHERE table_schema = ? AND table_name = ?),
		  (SELECT COUNT(*) FROM information_schema.triggers WHERE event_object_schema = ? AND event_object_table = ?),
		  (SELECT COUNT(*) FROM information_schema.referential_constraints WHERE unique_constraint_schema = ? AND referenced_table_name = ?),
		  (SELECT COUNT(*) FROM information_schema.referential_constraints WHERE constraint_schema = ? AND table_name = ?)`,
		t.Database, t.Table, t.Database, t.Table, t.Database, t.Table, t.Database, t.Table).
		Scan(&f.User, &f.Engine, &f.Triggers, &f.Children, &f.Parents)
	if err != nil {
		return f, fmt.Errorf("read engine, triggers and foreign keys: %w", err)
	}
	if f.Grants, err = Grants(ctx, db); err != nil {
		return f, fmt.Errorf("read the account's grants: %w", err)
	}
	if f.Beside, err = readBeside(ctx, db, t); err != nil {
		return f, fmt.Errorf("look for tables in gh-ost's way: %w", err)
	}
	if f.Zone, err = readTimeZone(ctx, db); err != nil {
		return f, err
	}
	if f.Sessions, err = oddSessions(ctx, db, by); err != nil {
		return f, fmt.Errorf("look for sessions gh-ost cannot follow: %w", err)
	}
	f.Free, f.FreeSeen = FreeSpace(f.Server)
	return f, nil
}

// Grants are the lines of SHOW GRANTS of the account that db connects as.
func Grants(ctx context.Context, db *sql.DB) ([]string, error) {
	rows, err := db.QueryContext(ctx, "SHOW GRANTS")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var grants []string
	for rows.Next() {
		var g string
		if err := rows.Scan(&g); err != nil {
			return nil, err
		}
		grants = append(grants, g)
	}
	return grants, rows.Err()
}

func readBeside(ctx context.Context, db *sql.DB, t Target) ([]beside, error) {
	names := ghost.NamesFor(t.Table)
	if !utf8.ValidString(names.Ghost) {
		return nil, nil // not a name at all: refused for that
	}
	rows, err := db.QueryContext(ctx, `
		SELECT table_name, table_type, COALESCE(engine, ''), COALESCE(table_comment, '') FROM information_schema.tables
		 WHERE table_schema = ? AND (table_name LIKE ? OR table_name LIKE ? OR table_name LIKE ? OR table_name LIKE ?)`,
		t.Database, names.Ghost, names.Changelog, names.Old, t.Table)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []beside
	for rows.Next() {
		var b beside
		if err := rows.Scan(&b.Name, &b.Kind, &b.Engine, &b.Comment); err != nil {
			return nil, err
		}
		found = append(found, b)
	}
	return found, rows.Err()
}

// oddSessions finds sessions that changed for themselves how they are logged: gh-ost would miss what they write. It takes
// a privilege to do so, so there are normally none. Where performance_schema is off or closed to us, none are found.
func oddSessions(ctx context.Context, db *sql.DB, by Engine) (string, error) {
	var id uint64
	var name, value string
	follower := "gh-ost"
	if by == EngineKeyed {
		follower = "the copy"
	}
	err := db.QueryRowContext(ctx, `
		SELECT COALESCE(t.processlist_id, 0), v.variable_name, v.variable_value
		  FROM performance_schema.variables_by_thread v JOIN performance_schema.threads t USING (thread_id)
		 WHERE v.variable_name = 'binlog_format' AND v.variable_value <> 'ROW'
		    OR ? AND (v.variable_name = 'binlog_transaction_compression' AND v.variable_value = 'ON'
		      OR v.variable_name = 'binlog_row_image' AND v.variable_value <> 'FULL'
		      OR v.variable_name = 'binlog_row_value_options' AND v.variable_value <> '')
		 LIMIT 1`, by != EngineKeyed).Scan(&id, &name, &value)
	switch {
	case err == sql.ErrNoRows, mysql.IsAccessDenied(err), mysql.IsNoSuchTable(err):
		return "", nil
	case err != nil:
		return "", err
	}
	return fmt.Sprintf("connection %d has set %s=%s for itself: %s cannot follow what it writes; end that session", id, name, value,
		follower), nil
}
