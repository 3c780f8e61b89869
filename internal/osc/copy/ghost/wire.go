package ghost

import (
	"bytes"
	"context"
	"io"
	"net"

	driver "github.com/go-sql-driver/mysql"
)

// While its RENAME waits for the table, gh-ost looks for it in information_schema.processlist. That table cannot be read
// as long as any session runs a statement with a character outside of utf8mb3, such as an emoji (error 3854, seen on MySQL
// 9.7): under such a load, with every writer waiting for the locked table, no cut-over would ever succeed.
// performance_schema.processlist has the same columns and no such weakness, so that one statement is corrected on its way
// to the server. Both names are equally long: the packet stays what it is.
var (
	expectProcess     = []byte("\x03\n\t\tselect /* gh-ost */ id\n\t\tfrom\n\t\t\tinformation_schema.processlist\n")
	informationSchema = []byte("information_schema.processlist")
	performanceSchema = []byte("performance_schema.processlist")
)

// packetHeader is the length of what precedes the payload of a packet: its length in three bytes, its sequence number.
const packetHeader = 4

// payloadLength reads the length from a packet's header.
func payloadLength(header []byte) int { return int(header[0]) | int(header[1])<<8 | int(header[2])<<16 }

// corrector follows the packets of one direction and corrects the statement above. Only the beginning of a packet is
// looked at: the same text within a row is left alone.
type corrector struct{ left int } // bytes of the current packet still to come

// correct returns p, or a corrected copy of it.
func (c *corrector) correct(p []byte) []byte {
	for rest := p; len(rest) > 0; {
		if c.left == 0 {
			if len(rest) < packetHeader {
				return p // the driver writes whole packets; whatever this is, it is not the statement
			}
			c.left = packetHeader + payloadLength(rest)
			if bytes.HasPrefix(rest[packetHeader:], expectProcess) {
				at := len(p) - len(rest)
				p = append(bytes.Clone(p[:at]), bytes.Replace(rest, informationSchema, performanceSchema, 1)...)
				rest = p[at:]
			}
		}
		n := min(c.left, len(rest))
		c.left -= n
		rest = rest[n:]
	}
	return p
}

// correctedConn corrects what is written to it.
type correctedConn struct {
	*net.TCPConn // not the interface: the driver asks the socket whether it still lives
	c            *corrector
}

func (c correctedConn) Write(p []byte) (int, error) { return c.TCPConn.Write(c.c.correct(p)) }

// ReadFrom hides that of TCPConn, which would pass Write by.
func (c correctedConn) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{c}, r)
}

// correctStatements makes all connections that gh-ost opens for statements corrected ones. secure is what it encrypts them
// with, nil when it does not.
func correctStatements(secure *relay) {
	driver.RegisterDialContext("tcp", func(ctx context.Context, addr string) (net.Conn, error) {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		tcp := conn.(*net.TCPConn) // what "tcp" is
		if secure != nil {
			return secure.connect(tcp, addr)
		}
		return correctedConn{tcp, &corrector{}}, nil
	})
}
