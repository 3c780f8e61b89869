// Package wire speaks the two encodings of Mesos' v1 HTTP APIs: protobuf, and
// JSON as Apache Mesos itself writes and reads it. The messages are mesos-go's
// generated types; their own JSON is not used, because it differs from that of
// a real master in numbers, enumerations, unset fields and error messages.
package wire

import (
	"fmt"
	"strconv"
	"strings"
)

// Media is an encoding that a v1 API can be spoken in.
type Media int

// The encodings, by their media types application/json and
// application/x-protobuf.
const (
	JSON Media = iota
	Protobuf
)

// String is the media type as it stands in Content-Type and Accept.
func (m Media) String() string {
	if m == Protobuf {
		return "application/x-protobuf"
	}
	return "application/json"
}

// ParseContentType reads the Content-Type of a request. As in Mesos only the
// bare type is taken: a charset parameter is refused.
func ParseContentType(s string) (Media, bool) {
	switch s {
	case "application/json":
		return JSON, true
	case "application/x-protobuf":
		return Protobuf, true
	}
	return 0, false
}

// ParseAccept chooses the encoding of a response. No header, or one that
// allows JSON, gives JSON; ok is false when neither encoding is allowed.
func ParseAccept(values []string) (m Media, ok bool) {
	if len(values) == 0 {
		return JSON, true
	}
	protobuf := false
	for _, v := range values {
		for _, part := range strings.Split(v, ",") {
			typ, params, _ := strings.Cut(part, ";")
			if refused(params) {
				continue
			}
			switch strings.TrimSpace(typ) {
			case "*/*", "application/*", "application/json":
				return JSON, true
			case "application/x-protobuf":
				protobuf = true
			}
		}
	}
	return Protobuf, protobuf
}

// refused reports whether the parameters of an Accept item hold q=0.
func refused(params string) bool {
	for _, p := range strings.Split(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if q, err := strconv.ParseFloat(value, 64); name == "q" && err == nil && q == 0 {
			return true
		}
	}
	return false
}

type protoMarshaler interface{ Marshal() ([]byte, error) }

type protoUnmarshaler interface{ Unmarshal([]byte) error }

// Marshal encodes msg, a pointer to a generated message.
func Marshal(m Media, msg protoMarshaler) ([]byte, error) {
	if m == Protobuf {
		return msg.Marshal()
	}
	return marshalJSON(msg)
}

// Unmarshal decodes data into msg, a pointer to an empty generated message.
// Errors are worded as Mesos words them, since they become response bodies.
func Unmarshal(m Media, data []byte, msg protoUnmarshaler) error {
	if m == Protobuf {
		if err := msg.Unmarshal(data); err != nil {
			return fmt.Errorf("Failed to parse body into Call protobuf")
		}
		return nil
	}
	return unmarshalJSON(data, msg)
}

// Record frames one message for a stream (RecordIO): its length in decimal, a
// newline, and nothing after the message.
func Record(data []byte) []byte {
	head := strconv.Itoa(len(data)) + "\n"
	out := make([]byte, 0, len(head)+len(data))
	return append(append(out, head...), data...)
}
