package mysql

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
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
	// "required" (encrypted, certificate verified before anything is sent) or "skip-verify" (encrypted,
	// certificate not verified).
	TLS string
	// Authority, with TLS "required", says what a server's certificate is verified by. It is called for each new connection,
	// so that it may change. nil = by the system's authorities.
	Authority func(Addr) (Authority, error)
	// Passwords, where it is set, takes the place of Password: they are tried in this order until the server accepts one. It
	// is called for each new connection, so that they may change.
	Passwords func() []string
}

// Authority is what a server's certificate is verified by.
type Authority struct {
	PEM  []byte // certificates of those that may have issued it; empty = the system's
	Name string // that it must be for; empty = the host that is connected to
	// Unproven: the server has no certificate that could be verified. The connection is encrypted all the same.
	Unproven bool
}

// passwords are those to try.
func (c Credentials) passwords() []string {
	if c.Passwords == nil {
		return []string{c.Password}
	}
	return c.Passwords()
}

// String names the account. It never shows the password.
func (c Credentials) String() string {
	s := "'" + c.User + "'"
	if c.Password != "" || c.Passwords != nil {
		s += " (using password)"
	}
	if c.TLS != "" {
		s += " tls=" + c.TLS
	}
	return s
}

// GoString keeps %#v from showing the password.
func (c Credentials) GoString() string { return "mysql.Credentials{" + c.String() + "}" }

// check finds an unknown TLS mode.
func (c Credentials) check() error {
	if !slices.Contains([]string{"", "preferred", "required", "skip-verify"}, c.TLS) {
		return fmt.Errorf("unknown TLS mode %q: want preferred, required, skip-verify or nothing", c.TLS)
	}
	return nil
}

// TLSConfig is what connections to a server are protected by, for what does not connect through this package; nil = nothing. plain
// allows one without, where the server has no TLS.
func (c Credentials) TLSConfig(a Addr) (config *tls.Config, plain bool, err error) {
	return c.tlsConfig(a)
}

// tlsConfig is what connections to a server are protected by. plain allows one without, where the server has no TLS.
func (c Credentials) tlsConfig(a Addr) (config *tls.Config, plain bool, err error) {
	switch c.TLS {
	case "":
		return nil, true, nil
	case "preferred", "skip-verify":
		return &tls.Config{InsecureSkipVerify: true}, c.TLS == "preferred", nil
	}
	config = &tls.Config{ServerName: a.Host}
	if c.Authority == nil {
		return config, false, nil
	}
	by, err := c.Authority(a)
	if err != nil {
		return nil, false, fmt.Errorf("find out by what the certificate of %s is verified: %w", a, err)
	}
	if by.Name != "" {
		config.ServerName = by.Name
	}
	if len(by.PEM) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(by.PEM) {
			return nil, false, fmt.Errorf("the authorities that the certificate of %s is to be verified by are no PEM certificates", a)
		}
	}
	config.InsecureSkipVerify = by.Unproven
	return config, false, nil
}
