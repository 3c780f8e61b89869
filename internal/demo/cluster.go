package demo

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/mysql"
)

// catchUpLimit is how long a replica may be behind at the end, however slow the machine.
const catchUpLimit = 10 * time.Minute

// cluster is one of the clusters under load, as its clients see it.
type cluster struct {
	name string
	room *room
	// db is whoever is published as the primary: each new connection asks cotton.
	db *sql.DB
}

// member is one instance as it is published.
type member struct {
	mysql.Addr
	role string
	db   *sql.DB // of the room's pool
}

func newCluster(r *room, name string, c mysql.Credentials) (*cluster, error) {
	cl := &cluster{name: name, room: r}
	var err error
	cl.db, err = mysql.OpenMoving("the primary of "+name, cl.primary, c, mysql.Options{MaxOpen: 16})
	return cl, err
}

var errNoPrimary = errors.New("no primary is published")

// primary asks where writes go now.
func (c *cluster) primary(ctx context.Context) (mysql.Addr, error) {
	e, err := c.room.api.Endpoints(ctx, c.name)
	if err != nil {
		return mysql.Addr{}, err
	}
	if e.Primary == nil {
		return mysql.Addr{}, fmt.Errorf("cluster %s: %w", c.name, errNoPrimary)
	}
	return mysql.Addr{Host: e.Primary.Host, Port: e.Primary.Port}, nil
}

// members are all instances, the primary first; an error unless all are published.
func (c *cluster) members(ctx context.Context) ([]member, error) {
	e, err := c.room.api.Endpoints(ctx, c.name)
	if err != nil {
		return nil, err
	}
	if e.Primary == nil || len(e.Replicas) != agents-1 {
		return nil, fmt.Errorf("cluster %s is not whole: the primary is %+v, the replicas %+v", c.name, e.Primary, e.Replicas)
	}
	var all []member
	for i, published := range append([]v1.Endpoint{*e.Primary}, e.Replicas...) {
		m := member{Addr: mysql.Addr{Host: published.Host, Port: published.Port}, role: "replica"}
		if i == 0 {
			m.role = "primary"
		}
		if m.db, err = c.room.pool.DB(m.Addr); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

// sync returns when every replica has all that the primary has, and the members with it.
func (c *cluster) sync(ctx context.Context) ([]member, error) {
	all, err := c.members(ctx)
	if err != nil {
		return nil, err
	}
	for _, replica := range all[1:] {
		if err := mysql.CatchUp(ctx, replica.db, all[0].db, catchUpLimit); err != nil {
			return nil, fmt.Errorf("wait for %s to catch up with %s: %w", replica, all[0], err)
		}
	}
	return all, nil
}
