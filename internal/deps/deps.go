// Package deps pins modules while the house is being built.
package deps

import (
	_ "github.com/block/spirit/pkg/migration"
	_ "github.com/chromedp/chromedp"
	_ "github.com/github/gh-ost/go/base"
	_ "github.com/github/gh-ost/go/logic"
	_ "github.com/github/gh-ost/go/sql"
	_ "github.com/go-git/go-git/v5"
	_ "github.com/go-sql-driver/mysql"
	_ "github.com/go-zookeeper/zk"
	_ "github.com/google/uuid"
	_ "github.com/mesos/mesos-go/api/v1/lib"
	_ "github.com/mesos/mesos-go/api/v1/lib/httpcli/httpexec"
	_ "github.com/mesos/mesos-go/api/v1/lib/httpcli/httpsched"
	_ "github.com/prometheus/client_golang/prometheus/promhttp"
	_ "github.com/spf13/cobra"
	_ "github.com/spf13/viper"
	_ "github.com/vbauerster/mpb/v8"
	_ "golang.org/x/sync/errgroup"
	_ "golang.org/x/term"
	_ "golang.org/x/time/rate"
	_ "gopkg.in/yaml.v3"
	_ "vitess.io/vitess/go/vt/schemadiff"
)
