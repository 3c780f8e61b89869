package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/loopback"
	"github.com/aosc/aosc/internal/mysql"
	"github.com/aosc/aosc/internal/mysqld"
	"github.com/aosc/aosc/internal/process"
	"github.com/aosc/aosc/internal/testkit/site"
)

// createRuns are taken one after the other; their median counts.
const createRuns = 5

// BenchmarkCreate: a cluster of three from the request until a client has written through what is published and both
// replicas stream, beside what one bare server takes by hand: mysqld --initialize-insecure, and a start until it answers.
func BenchmarkCreate(b *testing.B) {
	c := site.NewCotton(b, 3, 10)
	c.Start()
	c.Create("warm", v1.Create{User: "app", Password: c.Password, Size: &v1.Size{Name: "small"}}) // makes the template, once per machine
	c.Delete("warm")
	for range b.N {
		var bare, created []time.Duration
		for i := range createRuns {
			bare = append(bare, bareServer(b))
			name := fmt.Sprintf("c%d", i)
			created = append(created, took(func() { createWritable(b, c, name) }))
			c.Delete(name)
		}
		b.ReportMetric(median(bare).Seconds(), "bare-s")
		b.ReportMetric(median(created).Seconds(), "create-s")
		b.ReportMetric(median(created).Seconds()/median(bare).Seconds(), "create/bare")
	}
	b.ReportMetric(0, "ns/op")
}

// createWritable returns once a write is acknowledged and both replicas have it.
func createWritable(b *testing.B, c *site.Cotton, name string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	defer cancel()
	do := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatalf("cluster %s: %v", name, err)
		}
	}
	_, err := c.API.Create(ctx, name, v1.Create{User: "app", Password: c.Password, Nodes: 3, Size: &v1.Size{Name: "small"}})
	do(err)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var e v1.Endpoints
	for e.Primary == nil || len(e.Replicas) < 2 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			do(ctx.Err())
		}
		e, err = c.API.Endpoints(ctx, name)
		do(err)
	}
	pool := mysql.NewPool(mysql.Credentials{User: "app", Password: c.Password, TLS: "skip-verify"}, mysql.Options{})
	defer pool.Close()
	primary, err := pool.DB(mysql.Addr{Host: e.Primary.Host, Port: e.Primary.Port})
	do(err)
	_, err = primary.ExecContext(ctx, "CREATE DATABASE shop")
	do(err)
	for _, r := range e.Replicas {
		replica, err := pool.DB(mysql.Addr{Host: r.Host, Port: r.Port})
		do(err)
		// The account itself may be under way to a replica that is published already.
		for err = mysql.CatchUp(ctx, replica, primary, time.Minute); mysql.IsAccessDenied(err) && ctx.Err() == nil; err = mysql.CatchUp(ctx, replica, primary, time.Minute) {
			<-tick.C
		}
		do(err)
	}
}

// bareServer is what a person would type, with mysqld's own defaults.
func bareServer(b *testing.B) time.Duration {
	b.Helper()
	do := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatalf("a bare server: %v", err)
		}
	}
	in, err := mysqld.Find(b.Context())
	do(err)
	dir, err := os.MkdirTemp("", "aosc-bare-")
	do(err)
	defer os.RemoveAll(dir)
	port, err := loopback.Reserve()
	do(err)
	defer func() { do(port.Release()) }()
	args := []string{"--no-defaults", "--user=root", "--datadir=" + filepath.Join(dir, "data"), "--log-error=" + filepath.Join(dir, "log")}
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	defer cancel()
	var server *process.Process
	duration := took(func() {
		do(process.Run(ctx, exec.Command(in.Mysqld, append(args, "--initialize-insecure")...)))
		server, err = process.Start(exec.Command(in.Mysqld, append(args, "--mysqlx=OFF", "--bind-address=127.0.0.1",
			fmt.Sprintf("--port=%d", port.Number), "--socket="+filepath.Join(dir, "s"))...))
		do(err)
		db, err := mysql.Open(mysql.Addr{Host: "127.0.0.1", Port: port.Number}, mysql.Credentials{User: "root"}, mysql.Options{})
		do(err)
		defer db.Close()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		// It answers, even if only that root may not come in by TCP.
		for err = db.PingContext(ctx); err != nil && !mysql.IsAccessDenied(err) && ctx.Err() == nil && !server.Ended(); err = db.PingContext(ctx) {
			<-tick.C
		}
		if !mysql.IsAccessDenied(err) {
			do(err)
		}
	})
	do(server.Stop(ctx))
	return duration
}
