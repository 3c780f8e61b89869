package cottonkit

import (
	"fmt"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/aosc/aosc/internal/cotton/discovery"
	"github.com/aosc/aosc/internal/mysql"
)

// InZooKeeper is the primary that clients find in ZooKeeper, by the original's layout.
func (s *Site) InZooKeeper(cluster string) (mysql.Addr, error) {
	conn, _, err := zk.Connect(s.ZK.Addrs(), 10*time.Second, zk.WithLogInfo(false))
	if err != nil {
		return mysql.Addr{}, err
	}
	defer conn.Close()
	dir := "/cotton/discover/" + cluster + "/master"
	names, _, err := conn.Children(dir)
	if err != nil {
		return mysql.Addr{}, fmt.Errorf("look into %s: %w", dir, err)
	}
	if len(names) != 1 {
		return mysql.Addr{}, fmt.Errorf("%s has %d members: %v", dir, len(names), names)
	}
	data, _, err := conn.Get(dir + "/" + names[0])
	if err != nil {
		return mysql.Addr{}, fmt.Errorf("read %s/%s: %w", dir, names[0], err)
	}
	e, err := discovery.DecodeServerSet(data)
	return mysql.Addr{Host: e.Host, Port: e.Port}, err
}
