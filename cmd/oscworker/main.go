// Command oscworker is the daemon that alters tables.
package main

import (
	"github.com/aosc/aosc/internal/daemon"
	"github.com/aosc/aosc/internal/oscworker"
)

func main() { daemon.Main(oscworker.Spec()) }
