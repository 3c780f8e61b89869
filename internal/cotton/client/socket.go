package client

import (
	"context"
	"net"

	v1 "github.com/aosc/aosc/internal/cotton/api/v1"
)

type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

// viaSocket dials an address of this machine through the scheduler's socket, where that can be opened. Nobody but the
// scheduler's account can put a socket there, while every account can take a port.
func viaSocket(workDir string, port dialer) dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(addr)
		if ip := net.ParseIP(host); err == nil && (host == "localhost" || ip != nil && ip.IsLoopback()) {
			if path, err := v1.Socket(workDir, addr); err == nil {
				if c, err := (&net.Dialer{}).DialContext(ctx, "unix", path); err == nil {
					return c, nil
				}
			}
		}
		return port(ctx, network, addr)
	}
}
