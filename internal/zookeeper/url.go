// Package zookeeper is the little that is shared by all that talks to ZooKeeper here: zk:// addresses, a connection whose
// requests obey a context and outlive a lost server, and access control from the address' credentials.
package zookeeper

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

const (
	scheme      = "zk://"
	defaultPort = "2181"
)

// URL is a parsed zk://[user:password@]host[:port][,host[:port]...][/path].
type URL struct {
	Servers  []string // host:port each, in the order given
	User     string   // of the digest scheme; empty = none
	Password string
	Path     string // without a trailing slash; "" is the root
}

// ParseURL reads a zk:// address. Nothing is percent-decoded, as in Mesos and the original. Errors never show the
// credentials.
func ParseURL(s string) (URL, error) {
	rest, ok := strings.CutPrefix(s, scheme)
	if !ok {
		return URL{}, errors.New("ZooKeeper address: want zk://[user:password@]host:port[,host:port...]/path")
	}
	u, err := parse(rest)
	if err != nil {
		return URL{}, fmt.Errorf("ZooKeeper address: %w; want zk://[user:password@]host:port[,host:port...]/path", err)
	}
	return u, nil
}

func parse(rest string) (URL, error) {
	var u URL
	hosts, path, hasPath := strings.Cut(rest, "/")
	if i := strings.LastIndexByte(hosts, '@'); i >= 0 {
		var found bool
		if u.User, u.Password, found = strings.Cut(hosts[:i], ":"); !found || u.User == "" {
			return URL{}, errors.New("before the @ stands user:password")
		}
		hosts = hosts[i+1:]
	}
	for host := range strings.SplitSeq(hosts, ",") {
		server, err := hostPort(host)
		if err != nil {
			return URL{}, err
		}
		u.Servers = append(u.Servers, server)
	}
	if hasPath {
		var err error
		if u.Path, err = cleanPath("/" + path); err != nil {
			return URL{}, err
		}
	}
	return u, nil
}

func hostPort(s string) (string, error) {
	if s == "" {
		return "", errors.New("a host is empty")
	}
	if !strings.Contains(s, ":") || strings.HasSuffix(s, "]") {
		s += ":" + defaultPort
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return "", errors.New("a host is not host:port")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", errors.New("a port is not a number from 1 to 65535 (a password with a slash cannot be given)")
	}
	return net.JoinHostPort(host, port), nil
}

// cleanPath refuses what ZooKeeper would refuse later, with less to go by.
func cleanPath(path string) (string, error) {
	path = strings.TrimRight(path, "/")
	if path == "" {
		return "", nil
	}
	for part := range strings.SplitSeq(path[1:], "/") {
		if part == "" || part == "." || part == ".." {
			return "", fmt.Errorf("the path %q has an empty, . or .. part", path)
		}
	}
	if strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }) {
		return "", fmt.Errorf("the path %q has characters that ZooKeeper refuses", path)
	}
	return path, nil
}

// String is the address without its credentials, fit for people and logs.
func (u URL) String() string { return scheme + strings.Join(u.Servers, ",") + u.Path }

// Join is the znode path of parts below the address' own.
func (u URL) Join(parts ...string) string {
	path := u.Path
	for _, p := range parts {
		path += "/" + p
	}
	if path == "" {
		return "/"
	}
	return path
}
