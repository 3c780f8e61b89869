package ghost

import (
	"bytes"
	"context"
	"net"

	driver "github.com/go-sql-driver/mysql"
)

// While its RENAME waits for the table, gh-ost looks for it in information_schema.processlist. That table cannot be read
// as long as any session runs a statement with a character outside of utf8mb3, such as an emoji (error 3854, seen on MySQL
// 9.7; not with performance_schema_show_processlist=ON): under such a load, with every writer waiting for the locked
// table, no cut-over would ever succeed. performance_schema.processlist has the same columns and no such weakness, so
// that one statement is corrected on its way to the server. Both names are equally long: the packet stays what it is.
//
// Over TLS the statement cannot be seen; such a cut-over fails, again and again, until a moment without such a statement.
var (
	expectProcess     = []byte("\x03\n\t\tselect /* gh-ost */ id\n\t\tfrom\n\t\t\tinformation_schema.processlist\n")
	informationSchema = []byte("information_schema.processlist")
	performanceSchema = []byte("performance_schema.processlist")
)

// packetHeader is the length of what precedes the payload of a packet: its length and sequence number.
const packetHeader = 4

// correctedConn corrects the statement above in what is written to it.
type correctedConn struct{ net.Conn }

func (c correctedConn) Write(p []byte) (int, error) {
	if len(p) > packetHeader && bytes.HasPrefix(p[packetHeader:], expectProcess) {
		p = bytes.Replace(p, informationSchema, performanceSchema, 1)
	}
	return c.Conn.Write(p)
}

// correctStatements makes all connections of this process that are not encrypted corrected ones.
func correctStatements() {
	driver.RegisterDialContext("tcp", func(ctx context.Context, addr string) (net.Conn, error) {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			// As the driver does for its own connections; keeping one alive is an extra that may fail.
			_ = tcp.SetKeepAlive(true)
		}
		return correctedConn{conn}, nil
	})
}
