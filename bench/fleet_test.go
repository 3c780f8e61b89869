package bench

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
	"github.com/aosc/aosc/internal/loopback"
	"github.com/aosc/aosc/internal/mesos/mini"
	"github.com/aosc/aosc/internal/testkit/site"
)

// fleetClusters is how many there are: 100, or COTTON_FLEET.
var fleetClusters = func() int {
	if n, err := strconv.Atoi(os.Getenv("COTTON_FLEET")); err == nil && n > 0 {
		return n
	}
	return 100
}()

const (
	fleetNodes = 3
	// fleetWatch is how long the scheduler is watched once all clusters are whole.
	fleetWatch = 30 * time.Second
)

// BenchmarkFleet: 100 clusters of three under one scheduler: how long until all are whole, then its share of a core and its
// peak of resident memory. The servers are stand-ins that answer all that the scheduler asks, see standInEnv. Mesos is not
// in the scheduler's process. One core and 300 MB are the limits.
func BenchmarkFleet(b *testing.B) {
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	m := fleetMesos(b)
	c := site.NewCottonOn(b, m.URL())
	c.Start("--executor-cmd=exec "+self+" executor", "--executor-env="+standInEnv+"="+certificate(b), "--admin-keyfile="+adminKey(b))
	for range b.N {
		b.ReportMetric(took(func() { createFleet(b, c) }).Seconds(), "whole-s")
		before := cpuSeconds(b, c.Process.Pid())
		watched := took(func() { time.Sleep(fleetWatch) }) // what is measured is how it idles
		b.ReportMetric((cpuSeconds(b, c.Process.Pid())-before)/watched.Seconds(), "cores")
		b.ReportMetric(peakMemory(b, c.Process.Pid()), "MiB")
		list, err := c.API.Clusters(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		for _, cluster := range list {
			if len(cluster.Problems) > 0 || len(cluster.Endpoints.Replicas) != fleetNodes-1 {
				b.Fatalf("cluster %s is not whole at the end: %v", cluster.Name, cluster.Problems)
			}
		}
		for path, text := range c.Outputs() {
			if strings.Contains(text, "the stand-in knows no answer") {
				b.Fatalf("%s: %s", path, text)
			}
		}
		for i := range fleetClusters {
			if err := c.API.Delete(b.Context(), clusterName(i), c.Password); err != nil {
				b.Fatal(err)
			}
		}
		for i := range fleetClusters {
			if err := c.API.WaitGone(b.Context(), clusterName(i)); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(0, "ns/op")
}

func clusterName(i int) string { return fmt.Sprintf("c%03d", i) }

// fleetAtOnce bounds how many clusters come up at the same time: what is measured is the scheduler, not how quickly one
// machine starts 300 processes.
const fleetAtOnce = 4

// createFleet creates all clusters and waits until each is whole.
func createFleet(b *testing.B, c *site.Cotton) {
	b.Helper()
	group, ctx := errgroup.WithContext(b.Context())
	group.SetLimit(fleetAtOnce)
	for i := range fleetClusters {
		group.Go(func() error {
			ask := v1.Create{User: "app", Password: c.Password, Nodes: fleetNodes, Size: &v1.Size{Name: "small"}}
			if _, err := c.API.Create(ctx, clusterName(i), ask); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
			defer cancel()
			_, err := c.API.WaitRunning(ctx, clusterName(i))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
}

// fleetMesos is an embedded Mesos in this process, with three agents that have room for all.
func fleetMesos(b *testing.B) *mini.Mini {
	b.Helper()
	dir, err := os.MkdirTemp("", "aosc-fleet-")
	if err != nil {
		b.Fatal(err)
	}
	const spare = 20 // ports of an agent that nothing uses
	block, err := loopback.ReserveBlock(fleetNodes * (fleetClusters + spare))
	if err != nil {
		b.Fatal(err)
	}
	config := mini.Config{Dir: filepath.Join(dir, "mesos")}
	for i := range fleetNodes {
		first := block[i*(fleetClusters+spare)].Number
		config.Agents = append(config.Agents, mini.AgentConfig{Name: string(rune('a' + i)), CPUs: 200, MemMB: 400_000, DiskMB: 1_000_000,
			Ports: fmt.Sprintf("%d-%d", first, first+fleetClusters+spare-1)})
	}
	m, err := mini.Start(b.Context(), config)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := m.StopAll(context.Background()); err != nil {
			b.Error(err)
		}
		for _, p := range block {
			if err := p.Release(); err != nil {
				b.Error(err)
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			b.Error(err)
		}
	})
	return m
}

// certificate writes one for all stand-ins, with its key, and returns its path.
func certificate(b *testing.B) string {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		b.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		b.Fatal(err)
	}
	var text bytes.Buffer
	for _, block := range []*pem.Block{{Type: "CERTIFICATE", Bytes: cert}, {Type: "PRIVATE KEY", Bytes: private}} {
		if err := pem.Encode(&text, block); err != nil {
			b.Fatal(err)
		}
	}
	return secretFile(b, "certificate.pem", text.String())
}

func adminKey(b *testing.B) string { return secretFile(b, "admin.key", rand.Text()+rand.Text()+"\n") }

func secretFile(b *testing.B, name, text string) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}

// cpuSeconds is what a process has used so far, by /proc/PID/stat; a tick is 10 ms on all Linux there is.
func cpuSeconds(b *testing.B, pid int) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var ticks float64
	for _, field := range fields[11:13] { // utime and stime
		n, err := strconv.ParseFloat(field, 64)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return ticks / 100
}
