package discovery

import (
	"encoding/json"
	"fmt"
)

// statusAlive is the only status the original writes: an instance that is not alive is not in the set.
const statusAlive = "ALIVE"

// serviceInstance is a member of a ServerSet as Twitter's commons write it, in their order of fields.
type serviceInstance struct {
	ServiceEndpoint     hostPort            `json:"serviceEndpoint"`
	AdditionalEndpoints map[string]hostPort `json:"additionalEndpoints"`
	Status              string              `json:"status"`
	Shard               *int                `json:"shard,omitempty"`
}

type hostPort struct {
	Host string `json:"host"`
	Port int    `json:"port"`
}

// EncodeServerSet is the JSON of a ServerSet's member; the id is not part of it.
func EncodeServerSet(e Endpoint) ([]byte, error) {
	return json.Marshal(serviceInstance{hostPort{e.Host, e.Port}, map[string]hostPort{}, statusAlive, e.Shard})
}

// DecodeServerSet reads what EncodeServerSet, or the original, wrote.
func DecodeServerSet(data []byte) (Endpoint, error) {
	var s serviceInstance
	if err := json.Unmarshal(data, &s); err != nil {
		return Endpoint{}, fmt.Errorf("member of a ServerSet: %w", err)
	}
	if s.ServiceEndpoint.Host == "" || s.ServiceEndpoint.Port == 0 {
		return Endpoint{}, fmt.Errorf("member of a ServerSet: no serviceEndpoint in %.200q", data)
	}
	return Endpoint{Host: s.ServiceEndpoint.Host, Port: s.ServiceEndpoint.Port, Shard: s.Shard}, nil
}
