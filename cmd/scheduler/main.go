// Command scheduler is the daemon that decides which instance is altered next.
package main

import (
	"github.com/aosc/aosc/internal/daemon"
	"github.com/aosc/aosc/internal/scheduler"
)

func main() { daemon.Main(scheduler.Spec()) }
