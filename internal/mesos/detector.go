package mesos

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/mesos/mesos-go/api/v1/lib/master"
	"github.com/mesos/mesos-go/api/v1/lib/master/calls"

	"github.com/aosc/aosc/internal/zookeeper"
)

const (
	// masterInfoPrefix is how masters name their candidacies in ZooKeeper; the sequence number that follows decides.
	masterInfoPrefix = "json.info_"
	probeTimeout     = 3 * time.Second
	minDetectWait    = 200 * time.Millisecond
	maxDetectWait    = 2 * time.Second
)

// errNoLeader is the answer while masters elect one, or the elected one still recovers.
var errNoLeader = errors.New("no master leads at this moment")

// Detector finds the leading master.
type Detector struct {
	// Creds and TLS are used to ask masters. TLS also makes those found in ZooKeeper https.
	Creds Credentials
	TLS   *tls.Config

	masters []string      // base URLs, or
	zk      zookeeper.URL // where masters stand for election

	mu   sync.Mutex
	conn *zookeeper.Conn
	http *transport
}

// ParseMaster reads "http://host:port[,host:port...]" (https:// alike) or "zk://[user:password@]host:port[,...]/path".
func ParseMaster(s string) (*Detector, error) {
	const want = "want http://host:port[,host:port...] or zk://[user:password@]host:port[,host:port...]/path"
	switch scheme, rest, _ := strings.Cut(s, "://"); scheme {
	case "zk":
		u, err := zookeeper.ParseURL(s)
		if err != nil {
			return nil, fmt.Errorf("Mesos master: %w", err)
		}
		if u.Path == "" {
			return nil, fmt.Errorf("Mesos master %s: the path is missing, such as /mesos", u)
		}
		return &Detector{zk: u}, nil
	case "http", "https":
		d := &Detector{}
		for addr := range strings.SplitSeq(strings.TrimSuffix(rest, "/"), ",") {
			host, port, err := net.SplitHostPort(addr)
			if n, perr := strconv.ParseUint(port, 10, 16); err != nil || host == "" || perr != nil || n == 0 {
				return nil, fmt.Errorf("Mesos master: %q is not host:port; %s", addr, want)
			}
			d.masters = append(d.masters, scheme+"://"+addr)
		}
		return d, nil
	}
	return nil, fmt.Errorf("Mesos master: %s", want)
}

// String is the address without credentials.
func (d *Detector) String() string {
	if d.masters == nil {
		return d.zk.String()
	}
	return strings.Join(d.masters, ",")
}

// Close gives the connection to ZooKeeper up.
func (d *Detector) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn != nil {
		d.conn.Close()
		d.conn = nil
	}
	if d.http != nil {
		d.http.close()
	}
}

// Leader waits for the leading master and returns its base URL, such as http://10.0.0.1:5050. When ctx ends first, the
// error says what the masters or ZooKeeper answered last.
func (d *Detector) Leader(ctx context.Context) (string, error) {
	var last error
	for wait := minDetectWait; ; wait = min(2*wait, maxDetectWait) {
		leader, err := d.look(ctx)
		if err == nil {
			return leader, nil
		}
		if ctx.Err() == nil {
			last = err
		}
		if !sleep(ctx, wait) {
			if last == nil {
				last = err
			}
			return "", fmt.Errorf("find the leading Mesos master of %s: %w", d, last)
		}
	}
}

func (d *Detector) look(ctx context.Context) (string, error) {
	if d.masters == nil {
		return d.lookInZooKeeper(ctx)
	}
	return d.askMasters(ctx)
}

// askMasters asks all at once who leads. One that says it does itself counts more than what others say of it: they may
// name it by a host name that means nothing here, or still name one that has died (recording 47).
func (d *Detector) askMasters(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	t := d.transport()
	type answer struct {
		master string
		err    error
	}
	answers := make(chan answer, len(d.masters))
	for _, m := range d.masters {
		go func() { answers <- answer{m, t.ask(ctx, m+operatorPath, calls.GetHealth(), &master.Response{})} }()
	}
	var redirected string
	var errs []error
	var leader string
	for range d.masters {
		a := <-answers
		var status *StatusError
		switch {
		case a.err == nil, hasStatus(a.err, http.StatusUnauthorized, http.StatusForbidden):
			// Not welcome: subscribing will say so, with the reason.
			if leader == "" {
				leader = a.master
				cancel() // the others' answers do not matter now
			}
		case errors.As(a.err, &status) && status.Location != "":
			redirected = schemeOf(a.master) + status.Location
		default:
			errs = append(errs, a.err)
		}
	}
	switch {
	case leader != "":
		return leader, nil
	case redirected != "":
		return redirected, nil
	}
	return "", fmt.Errorf("%w: %w", errNoLeader, errors.Join(errs...))
}

func schemeOf(base string) string {
	if strings.HasPrefix(base, "https://") {
		return "https://"
	}
	return "http://"
}

func (d *Detector) transport() *transport {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.http == nil {
		d.http = newTransport(d.Creds, d.TLS)
	}
	return d.http
}

// lookInZooKeeper reads the oldest candidacy: masters stand for election with ephemeral sequential nodes.
func (d *Detector) lookInZooKeeper(ctx context.Context) (string, error) {
	conn, err := d.zooKeeper(ctx)
	if err != nil {
		return "", err
	}
	names, err := zookeeper.Do(ctx, conn, func(z *zk.Conn, _ bool) ([]string, error) {
		names, _, err := z.Children(d.zk.Join())
		return names, err
	})
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, masterInfoPrefix) })
	switch {
	case errors.Is(err, zk.ErrNoNode), err == nil && len(names) == 0:
		return "", fmt.Errorf("%w: no candidate below %s", errNoLeader, d.zk)
	case err != nil:
		return "", err
	}
	data, err := zookeeper.Do(ctx, conn, func(z *zk.Conn, _ bool) ([]byte, error) {
		data, _, err := z.Get(d.zk.Join(slices.Min(names)))
		return data, err
	})
	if err != nil {
		return "", fmt.Errorf("read the leading master in %s: %w", d.zk, err)
	}
	addr, err := masterAddress(data)
	if err != nil {
		return "", fmt.Errorf("the leading master in %s: %w", d.zk, err)
	}
	if d.TLS != nil {
		return "https://" + addr, nil
	}
	return "http://" + addr, nil
}

func (d *Detector) zooKeeper(ctx context.Context) (*zookeeper.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn == nil {
		ctx, cancel := context.WithTimeout(ctx, zookeeper.DefaultSessionTimeout)
		defer cancel()
		conn, err := zookeeper.Connect(ctx, d.zk, zookeeper.Options{})
		if err != nil {
			return nil, err
		}
		d.conn = conn
	}
	return d.conn, nil
}

// masterAddress is host:port of a MasterInfo as Mesos writes it to ZooKeeper. The IP is preferred, as Mesos' own
// libraries do: a master's host name need not mean anything here.
func masterAddress(info []byte) (string, error) {
	var m struct {
		Address struct {
			Hostname string `json:"hostname"`
			IP       string `json:"ip"`
			Port     int    `json:"port"`
		} `json:"address"`
	}
	if err := json.Unmarshal(info, &m); err != nil {
		return "", fmt.Errorf("its MasterInfo is not JSON: %w", err)
	}
	host := m.Address.IP
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = m.Address.Hostname
	}
	if host == "" || m.Address.Port <= 0 || m.Address.Port > 65535 {
		return "", errors.New("its MasterInfo has no address")
	}
	return net.JoinHostPort(host, strconv.Itoa(m.Address.Port)), nil
}

// redirect is the base URL that a master's 307 leads to; ok is false when err is none.
func redirect(from string, err error) (to string, ok bool) {
	var status *StatusError
	if !errors.As(err, &status) || status.Location == "" {
		return "", false
	}
	return (&url.URL{Scheme: strings.TrimSuffix(schemeOf(from), "://"), Host: status.Location}).String(), true
}

// sleep is false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
