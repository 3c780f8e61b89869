package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// StopEvents has a server run no events any more; those that run go on. One that was started without an event scheduler has none to stop.
func StopEvents(ctx context.Context, db *sql.DB) error {
	err := exec(ctx, db, "SET GLOBAL event_scheduler = OFF", "stop the event scheduler")
	if IsNumber(err, ErrOptionPrevents) {
		return nil
	}
	return err
}

// StartEvents has a server run its events, where a statement, rather than its my.cnf, has stopped them.
func StartEvents(ctx context.Context, db *sql.DB) error {
	var stopped bool
	err := db.QueryRowContext(ctx, `SELECT COUNT(*) FROM performance_schema.variables_info
		WHERE variable_name = 'event_scheduler' AND variable_source = 'DYNAMIC' AND @@GLOBAL.event_scheduler = 'OFF'`).Scan(&stopped)
	if err != nil {
		return fmt.Errorf("ask whether events run: %w", err)
	}
	if !stopped {
		return nil
	}
	return exec(ctx, db, "SET GLOBAL event_scheduler = ON", "start the event scheduler")
}

// EventAlteration switches an event on or off, and leaves all else as it is: its definer, and the character set and collation in which it
// was written. When is the time of the alteration that the event shows afterwards, in seconds since 1970.
type EventAlteration struct {
	Schema, Name, Definer string
	Charset, Collation    string
	Enable                bool
	When                  int64
}

// charsetName is what a character set or collation is called.
var charsetName = regexp.MustCompile(`^[a-z0-9_]+$`)

// AlterEvent makes an alteration. sql_mode and time zone of an event stay as they are by themselves.
func AlterEvent(ctx context.Context, db *sql.DB, a EventAlteration) error {
	at := strings.LastIndexByte(a.Definer, '@')
	if at < 0 || !charsetName.MatchString(a.Charset) || !charsetName.MatchString(a.Collation) {
		return fmt.Errorf("alter event %s: definer %q, character set %q or collation %q cannot be read", QuoteIdents(a.Schema, a.Name),
			a.Definer, a.Charset, a.Collation)
	}
	verb := " DISABLE"
	if a.Enable {
		verb = " ENABLE"
	}
	definer := QuoteIdent(a.Definer[:at]) + "@" + QuoteIdent(a.Definer[at+1:])
	statement := "ALTER DEFINER = " + definer + " EVENT " + QuoteIdents(a.Schema, a.Name) + verb
	err := func() error {
		conn, err := db.Conn(ctx)
		if err != nil {
			return err
		}
		defer conn.Close()
		defer Discard(conn)
		// The server takes the character set of the session for that of the event's body, so the statement is sent in it.
		var text []byte
		var back string
		in := "CONVERT(? USING " + a.Charset + ")"
		err = conn.QueryRowContext(ctx, "SELECT CAST("+in+" AS BINARY), CONVERT("+in+" USING utf8mb4)", statement, statement).Scan(&text, &back)
		if err != nil {
			return err
		}
		if back != statement {
			return errors.New("its names cannot be written in its character set, " + a.Charset)
		}
		set := fmt.Sprintf("SET SESSION lock_wait_timeout = 5, SESSION timestamp = %d, SESSION character_set_client = %s, "+
			"SESSION collation_connection = %s", a.When, a.Charset, a.Collation)
		if _, err := conn.ExecContext(ctx, set); err != nil {
			return err
		}
		_, err = conn.ExecContext(ctx, string(text))
		return err
	}()
	if err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}
