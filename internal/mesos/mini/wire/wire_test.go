package wire

import (
	"testing"

	mesos "github.com/mesos/mesos-go/api/v1/lib"
	"github.com/mesos/mesos-go/api/v1/lib/master"
	"github.com/mesos/mesos-go/api/v1/lib/scheduler"
)

func TestMarshalJSONAsMesosDoes(t *testing.T) {
	text := "a \"quote\" <b>\n"
	for name, c := range map[string]struct {
		msg  protoMarshaler
		want string
	}{
		"unset left out":  {&scheduler.Event{Type: scheduler.Event_HEARTBEAT}, `{"type":"HEARTBEAT"}`},
		"double":          {&mesos.Value_Scalar{Value: 15}, `{"value":15.0}`},
		"double to micro": {&mesos.Value_Scalar{Value: 1795323661.4367738}, `{"value":1795323661.4367738}`},
		"zero required":   {&mesos.Value_Scalar{}, `{"value":0.0}`},
		"huge double":     {&mesos.Value_Scalar{Value: 1e300}, `{"value":1e+300}`},
		"64 bits":         {&mesos.TimeInfo{Nanoseconds: 1795323921402745856}, `{"nanoseconds":1795323921402745856}`},
		"bytes":           {&mesos.UUID{Value: []byte{0xfb, 0xff}}, `{"value":"+/8="}`},
		"strings":         {&mesos.FrameworkID{Value: text}, `{"value":"a \"quote\" <b>\n"}`},
		"newer enum":      {&mesos.MasterInfo_Capability{Type: QuotaV2}, `{"type":"QUOTA_V2"}`},
		"order of the proto": {&mesos.CommandInfo{Value: &text, Shell: new(bool)},
			`{"shell":false,"value":"a \"quote\" <b>\n"}`},
		"empty lists of the operator API": {&master.Response_GetAgents{}, `{"agents":[],"recovered_agents":[]}`},
		"empty lists elsewhere":           {&mesos.Labels{}, `{}`},
	} {
		got, err := Marshal(JSON, c.msg)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %s, %v; want %s", name, got, err, c.want)
		}
	}
}

func TestUnmarshalJSONRefusals(t *testing.T) {
	const convert = "Failed to convert JSON into Call protobuf: "
	for body, want := range map[string]string{
		``:                       "Failed to parse body into JSON: syntax error at line 1 near: ",
		`{"type":`:               "Failed to parse body into JSON: syntax error at line 1 near: ",
		`[]`:                     convert + "Expecting a JSON object",
		`{"framework_id":"abc"}`: convert + "Not expecting a JSON string for field 'framework_id'",
		`{"type":"ACKNOWLEDGE","acknowledge":{"uuid":"-"}}`: convert + "Failed to base64 decode bytes field 'uuid': Invalid character '-'",
		`{"kill":{}}`:           convert + "Missing required fields: kill.task_id",
		`{"type":"FROBNICATE"}`: "",
		`{"nonsense":{"x":1}}`:  "",
		`{"decline":{"filters":{"refuse_seconds":"5"}}}`: "",
	} {
		var call scheduler.Call
		got := ""
		if err := Unmarshal(JSON, []byte(body), &call); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q; want %q", body, got, want)
		}
	}
}

// TestRoundTrip writes a call in each encoding and reads it back.
func TestRoundTrip(t *testing.T) {
	wait := 2.5
	call := scheduler.Call{Type: scheduler.Call_DECLINE, FrameworkID: &mesos.FrameworkID{Value: "f"},
		Decline: &scheduler.Call_Decline{OfferIDs: []mesos.OfferID{{Value: "o"}}, Filters: &mesos.Filters{RefuseSeconds: &wait}}}
	for _, m := range []Media{JSON, Protobuf} {
		data, err := Marshal(m, &call)
		if err != nil {
			t.Fatal(err)
		}
		var back scheduler.Call
		if err := Unmarshal(m, data, &back); err != nil || !call.Equal(back) {
			t.Errorf("%s: %s came back as %v, %v", m, data, back, err)
		}
	}
}

func TestParseAccept(t *testing.T) {
	for header, want := range map[string]string{
		"": "application/json", "*/*": "application/json", "application/json": "application/json",
		"application/x-protobuf": "application/x-protobuf", "application/json;q=0, application/x-protobuf": "application/x-protobuf",
		"text/html": "",
	} {
		var values []string
		if header != "" {
			values = []string{header}
		}
		m, ok := ParseAccept(values)
		if ok != (want != "") || ok && m.String() != want {
			t.Errorf("Accept %q gives %s, %t; want %q", header, m, ok, want)
		}
	}
}
