package mysql

import (
	"fmt"
	"net"
	"strconv"
)

// Addr is where a mysqld listens.
type Addr struct {
	Host string
	Port int
}

// String is "host:port", an IPv6 host in brackets.
func (a Addr) String() string { return net.JoinHostPort(a.Host, strconv.Itoa(a.Port)) }

// ParseAddr reads "host:port". The port is required: one host may run several mysqlds, and a forgotten port must not
// silently mean another instance.
func ParseAddr(s string) (Addr, error) {
	host, portText, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return Addr{}, fmt.Errorf("%q is not an instance: want host:port, for example db1.example.com:3306", s)
	}
	port, err := strconv.Atoi(portText)
	if err != nil || port < 1 || port > 65535 {
		return Addr{}, fmt.Errorf("%q is not an instance: the port must be a number from 1 to 65535", s)
	}
	return Addr{Host: host, Port: port}, nil
}

// Credentials is an account of MySQL and how its connections are protected.
type Credentials struct {
	User, Password string
	// TLS is "" (plain text), "preferred" (encrypted when the server can, its certificate not verified),
	// "required" (encrypted, certificate verified against the system's authorities) or "skip-verify" (encrypted,
	// certificate not verified).
	TLS string
}

// String names the account. It never shows the password.
func (c Credentials) String() string {
	s := "'" + c.User + "'"
	if c.Password != "" {
		s += " (using password)"
	}
	if c.TLS != "" {
		s += " tls=" + c.TLS
	}
	return s
}

// GoString keeps %#v from showing the password.
func (c Credentials) GoString() string { return "mysql.Credentials{" + c.String() + "}" }

// tlsConfig is the driver's name for c.TLS.
func (c Credentials) tlsConfig() (string, error) {
	switch c.TLS {
	case "":
		return "false", nil
	case "preferred", "skip-verify":
		return c.TLS, nil
	case "required":
		return "true", nil
	}
	return "", fmt.Errorf("unknown TLS mode %q: want preferred, required, skip-verify or nothing", c.TLS)
}
