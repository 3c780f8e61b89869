package mysql

import (
	"errors"
	"fmt"
	"strings"

	driver "github.com/go-sql-driver/mysql"
)

// ParseDSN reads a DSN of github.com/go-sql-driver/mysql. Its error shows no part of the DSN, which holds a password: the driver quotes
// what it takes for a network, a time or the value of a parameter, and where an @ or a ) is forgotten that is the password.
func ParseDSN(dsn string) (*driver.Config, error) {
	cfg, err := driver.ParseDSN(dsn)
	if err == nil {
		return cfg, nil
	}
	what := "a part of it cannot be read"
	if strings.HasPrefix(err.Error(), "invalid DSN: ") { // fixed texts
		what = err.Error()
	}
	return nil, fmt.Errorf("want user:password@tcp(host:port)/database: %w", errors.New(what))
}
