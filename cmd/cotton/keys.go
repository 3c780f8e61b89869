package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/viper"

	"github.com/aosc/aosc/internal/cotton"
	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/daemon"
	"github.com/aosc/aosc/internal/mesos"
	"github.com/aosc/aosc/internal/zookeeper"
)

// defaultListen is where the API is, and where the commands look for it.
const defaultListen = "127.0.0.1:5055"

// schedulerKeys are those of `cotton scheduler`.
func schedulerKeys() []daemon.Key {
	atLeast := func(name string, least time.Duration) func(*viper.Viper) error { return daemon.AtLeast(name, least) }
	return append(backupKeys(), []daemon.Key{
		{Name: "mesos", Default: "", Check: checkMesos, Mask: maskZK,
			Help: "http://host:port[,host:port...], zk://host:port[,...]/mesos, or mini:N for N agents of an embedded Mesos on this machine"},
		{Name: "work-dir", Default: defaultWorkDir(), Help: "directory for what is kept here: the embedded Mesos, a store in files, a made key"},
		{Name: "store", Default: "", Check: checkStore, Mask: maskZK,
			Help: "file:DIR or zk://[user:password@]host:port[,...]/path; empty = file:store in work-dir"},
		{Name: "discovery", Default: "", Check: checkZK("discovery"), Mask: maskZK,
			Help: "zk://... under whose path /discover is published; empty = the store's ZooKeeper, if it has one"},
		{Name: "zk-credentials-file", Default: "",
			Help: "file with user:password for the store's and the discovery's ZooKeeper, where their addresses name no user; the store is then closed to everybody else, and what is published can be read by all and written by nobody else"},
		{Name: "zk-session", Default: 10 * time.Second, Check: atLeast("zk-session", 2*time.Second),
			Help: "how long ZooKeeper waits for a silent leader before another scheduler leads"},
		{Name: "haproxy-file", Default: "", Help: "configuration for HAProxy, kept up to date here and served as /haproxy.cfg; empty = none"},
		{Name: "haproxy-bind", Default: "127.0.0.1", Help: "address that HAProxy listens on"},
		{Name: "haproxy-ports", Default: "33000-33999", Check: checkRange("haproxy-ports"), Help: "ports that HAProxy gives to clusters, two each"},

		{Name: "api-url", Default: "", Help: "what clients call this scheduler by, for cluster_url where nothing is published in ZooKeeper; empty = the address it listens on"},
		{Name: "token-file", Default: "", Help: "hashed tokens of those who may use the API, see `cotton token`; empty = everybody on this " +
			"machine may look, " +
			"and its own account makes changes, through the socket in work-dir"},
		{Name: "insecure-open-api", Default: false,
			Help: "without a token-file: every account of this machine may create, change and delete clusters"},
		{Name: "tls-cert", Default: "", Help: "certificate of the API, PEM; taken up anew when it changes"},
		{Name: "tls-key", Default: "", Help: "its key, PEM"},
		{Name: "insecure-http", Default: false, Help: "serve other machines without TLS, when something in front of this port has it"},
		{Name: "sizes", Default: []string{"small=0.5/512mb/1gb", "medium=1/2gb/20gb", "large=4/16gb/200gb"}, Check: checkSizes,
			Help: "sizes by name: name=cpus/memory/disk, may be repeated"},
		{Name: "default-size", Default: "1/512mb/2gb", Check: checkDefaultSize, Help: "of clusters that name none: cpus/memory/disk"},
		{Name: "packages", Default: []string{}, Check: checkPackages,
			Help: "what clusters may name as package: name=URI#sha256=HEX of a tar archive of MySQL; may be repeated"},

		{Name: "admin-keyfile", Default: "", Help: "key that the passwords of cotton's own accounts are derived from; made when it is missing and Mesos is embedded; empty = admin.key in work-dir"},
		{Name: "agent-admin-keyfile", Default: "", Help: "where the same key lies on every agent; empty = the same path"},
		{Name: "framework-name", Default: "cotton", Help: "as Mesos shows it"},
		{Name: "framework-user", Default: "", Help: "account of the agents that instances run as; empty = the one this runs as"},
		{Name: "role", Default: "cotton", Check: needed("role"), Help: "whose resources are used; all reservations are made for it"},
		{Name: "principal", Default: "cotton", Check: needed("principal"), Help: "of the framework in Mesos; reservations carry it"},
		{Name: "secret-file", Default: "", Help: "file with the principal's secret; empty = Mesos does not ask for it"},
		{Name: "failover-timeout", Default: 14 * 24 * time.Hour, Check: atLeast("failover-timeout", time.Minute),
			Help: "how long Mesos keeps all instances running without a scheduler"},
		{Name: "executor-cmd", Default: "", Help: "how an agent starts an executor, by the shell; empty = what executor-uri brings, else this program, which must lie at the same path there"},
		{Name: "executor-uri", Default: []string{}, Help: "fetched into the sandbox before executor-cmd and made executable, an archive (.tar.gz, .zip ...) unpacked; may be repeated"},
		{Name: "executor-env", Default: []string{}, Check: checkEnv,
			Help: "name=value for executors and sidecars, such as COTTON_MYSQLD=/opt/mysql/bin/mysqld for agents whose mysqld is in none of the " +
				"usual places, which are not those of the agent's PATH; no secrets: Mesos shows them; may be repeated"},

		{Name: "kill-grace", Default: time.Minute, Check: atLeast("kill-grace", time.Second), Help: "for mysqld to stop in good order"},
		{Name: "launch-timeout", Default: time.Minute, Check: atLeast("launch-timeout", time.Second), Help: "without any word of a launched task, until Mesos is asked what became of it"},
		{Name: "quarantine", Default: 10 * time.Minute, Check: atLeast("quarantine", time.Second),
			Help: "how long reservations of ours that no cluster claims are left alone before they are given back"},
		{Name: "replace-after", Default: 10 * time.Minute, Check: checkReplaceAfter,
			Help: "how long an instance may be down or out of sight before another takes its place, while the rest of its cluster is well; negative = never by itself"},
		{Name: "clone-mb", Default: 256, Unit: "MB", Help: "from this much data on a new replica is cloned from the primary instead of replaying its binary logs; negative = only where it must be"},
		{Name: "failover-silence", Default: 2500 * time.Millisecond, Check: atLeast("failover-silence", time.Second),
			Help: "how long a primary must not have answered before its replicas are asked whether it is dead; one whose mysqld ended is replaced at once"},
		{Name: "failover-cooldown", Default: 30 * time.Second, Check: atLeast("failover-cooldown", 0),
			Help: "after a failover, in which there is no other of the same cluster; 0 = none"},
		{Name: "primary-lease", Default: 10 * time.Second, Check: atLeast("primary-lease", 2*time.Second),
			Help: "a primary that has heard neither the scheduler nor a replica for this long closes itself; a policy that falls back waits for it before it fails over"},

		{Name: "mini-listen", Default: "127.0.0.1:0", Unit: "host:port", Help: "embedded Mesos: the master's address; with port 0, that of the last run if it is free"},
		{Name: "mini-agent", Default: "8/16gb/100gb", Check: checkMiniAgent, Help: "embedded Mesos: what each agent offers, cpus/memory/disk; nothing holds instances to it"},
		{Name: "mini-ports", Default: "31000-31999", Check: checkRange("mini-ports"), Help: "embedded Mesos: ports of all agents together"},
		{Name: "mini-stop-tasks", Default: false, Help: "embedded Mesos: end all instances with the scheduler; their volumes stay, and they come back with it"},
	}...)
}

// schedulerChecks relate keys to each other.
func schedulerChecks() []func(*viper.Viper) error {
	return []func(*viper.Viper) error{checkExposure, func(v *viper.Viper) error {
		if err := timing(v).Validate(); err != nil {
			return fmt.Errorf("primary-lease, failover-silence: %w", err)
		}
		return nil
	}}
}

// checkExposure refuses to serve strangers what only this machine may have.
func checkExposure(v *viper.Viper) error {
	if (v.GetString("tls-cert") == "") != (v.GetString("tls-key") == "") {
		return errors.New("tls-cert and tls-key belong together")
	}
	host, _, err := net.SplitHostPort(v.GetString("listen"))
	if err != nil {
		return fmt.Errorf("listen: %q is not host:port", v.GetString("listen"))
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	if v.GetString("token-file") == "" {
		return fmt.Errorf("listen: %s can be reached from other machines, so everybody could create and delete clusters: give a --token-file, or listen on 127.0.0.1", v.GetString("listen"))
	}
	if v.GetString("tls-cert") == "" && !v.GetBool("insecure-http") {
		return fmt.Errorf("listen: %s can be reached from other machines, and tokens and passwords would go there in the clear: give --tls-cert and --tls-key, "+
			"or --insecure-http when a proxy in front has them", v.GetString("listen"))
	}
	return nil
}

// defaultWorkDir follows the XDG rules; without a home it is below the working directory.
func defaultWorkDir() string {
	if state := os.Getenv("XDG_STATE_HOME"); state != "" {
		return filepath.Join(state, "cotton")
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "state", "cotton")
	}
	return "cotton-state"
}

func needed(key string) func(*viper.Viper) error {
	return func(v *viper.Viper) error {
		if strings.TrimSpace(v.GetString(key)) == "" {
			return fmt.Errorf("is needed: --%s, $COTTON_%s or the file", key, strings.ToUpper(strings.ReplaceAll(key, "-", "_")))
		}
		return nil
	}
}

// maxMiniAgents of one machine; each has a range of ports and three pages of state.
const maxMiniAgents = 64

// miniAgents is how many agents mini:N asks for; ok is false for a real Mesos.
func miniAgents(text string) (n int, ok bool, err error) {
	count, ok := strings.CutPrefix(text, "mini:")
	if !ok {
		return 0, false, nil
	}
	n, err = strconv.Atoi(count)
	if err != nil || n < 1 || n > maxMiniAgents {
		return 0, true, fmt.Errorf("%q: want mini:N with 1 to %d agents", text, maxMiniAgents)
	}
	return n, true, nil
}

func checkMesos(v *viper.Viper) error {
	if err := needed("mesos")(v); err != nil {
		return fmt.Errorf("%w; for a first try: --mesos mini:3", err)
	}
	if _, mini, err := miniAgents(v.GetString("mesos")); mini {
		return err
	}
	d, err := mesos.ParseMaster(v.GetString("mesos"))
	if err == nil {
		d.Close()
	}
	return err
}

func checkStore(v *viper.Viper) error {
	text := v.GetString("store")
	if dir, ok := strings.CutPrefix(text, "file:"); ok {
		if dir == "" {
			return errors.New("file: needs a directory after it")
		}
		return nil
	}
	if text == "" || strings.HasPrefix(text, "zk://") {
		return checkZK("store")(v)
	}
	return errors.New("want file:DIR or zk://host:port[,...]/path") // what was given may hold a password
}

func checkZK(key string) func(*viper.Viper) error {
	return func(v *viper.Viper) error {
		if v.GetString(key) == "" {
			return nil
		}
		u, err := zookeeper.ParseURL(v.GetString(key))
		if err == nil && u.Path == "" {
			err = fmt.Errorf("%s has no path, such as /cotton", u)
		}
		return err
	}
}

// maskZK hides the credentials of a zk:// address.
func maskZK(text string) string {
	if !strings.HasPrefix(text, "zk://") {
		return text
	}
	rest := strings.TrimPrefix(text, "zk://")
	hosts, path, hasPath := strings.Cut(rest, "/")
	if at := strings.LastIndexByte(hosts, '@'); at >= 0 {
		hosts = "***@" + hosts[at+1:]
	} else if strings.Contains(path, "@") {
		return "***" // a password with a slash, which the check refuses
	}
	if hasPath {
		hosts += "/" + path
	}
	return "zk://" + hosts
}

func checkSizes(v *viper.Viper) error { _, err := sizes(v); return err }

var sizeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$`)

// sizes reads name=cpus/memory/disk.
func sizes(v *viper.Viper) (map[string]cotton.Size, error) {
	out := map[string]cotton.Size{}
	for _, text := range v.GetStringSlice("sizes") {
		name, amounts, _ := strings.Cut(text, "=")
		if !sizeName.MatchString(name) {
			return nil, fmt.Errorf("%q: want name=cpus/memory/disk, such as small=0.5/512mb/1gb", text)
		}
		size, err := parseSize(amounts)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		out[name] = size
	}
	return out, nil
}

func parseSize(text string) (cotton.Size, error) {
	parts := strings.Split(text, "/")
	if len(parts) != 3 {
		return cotton.Size{}, fmt.Errorf("%q: want cpus/memory/disk, such as 1/512mb/2gb", text)
	}
	r, err := v1.ParseResources(parts[0], parts[1], parts[2])
	return cotton.Size{CPUs: r.CPUs, MemMB: r.MemMB, DiskMB: r.DiskMB}, err
}

func checkDefaultSize(v *viper.Viper) error {
	_, err := parseSize(v.GetString("default-size"))
	return err
}
func checkMiniAgent(v *viper.Viper) error { _, err := parseSize(v.GetString("mini-agent")); return err }

// checkReplaceAfter: less than a restart of an agent takes would copy data for nothing.
func checkReplaceAfter(v *viper.Viper) error {
	if d := v.GetDuration("replace-after"); d >= 0 && d < time.Minute {
		return fmt.Errorf("%v: want at least 1m, or a negative time", d)
	}
	return nil
}

func checkPackages(v *viper.Viper) error { _, err := pairs(v, "packages"); return err }
func checkEnv(v *viper.Viper) error      { _, err := pairs(v, "executor-env"); return err }

// pairs reads a list of name=value.
func pairs(v *viper.Viper, key string) (map[string]string, error) {
	out := map[string]string{}
	for _, text := range v.GetStringSlice(key) {
		name, value, ok := strings.Cut(text, "=")
		if !ok || strings.TrimSpace(name) == "" {
			return nil, fmt.Errorf("%q: want name=value", text)
		}
		out[strings.TrimSpace(name)] = value
	}
	return out, nil
}

func checkRange(key string) func(*viper.Viper) error {
	return func(v *viper.Viper) error { _, _, err := portRange(v.GetString(key)); return err }
}

// portRange reads first-last.
func portRange(text string) (first, last int, err error) {
	from, to, _ := strings.Cut(text, "-")
	first, err1 := strconv.Atoi(from)
	last, err2 := strconv.Atoi(to)
	if err1 != nil || err2 != nil || first < 1 || last > 65535 || first > last {
		return 0, 0, fmt.Errorf("%q: want first-last, such as 31000-31999", text)
	}
	return first, last, nil
}
