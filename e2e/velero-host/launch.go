package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"time"

	"becalm/generated"
	"becalm/v1"
	"becalm/v2"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
)

// Velero's (pkg/plugin/framework/handshake.go).
var handshake = plugin.HandshakeConfig{
	ProtocolVersion: 2, MagicCookieKey: "VELERO_PLUGIN", MagicCookieValue: "hello",
}

// A kind of plugin, whose client is made for the connection to a plugin's process.
type kind struct {
	plugin.NetRPCUnsupportedPlugin
	client func(*grpc.ClientConn) interface{}
}

// GRPCServer is never called on the host's side.
func (kind) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error { return nil }

func (k kind) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, c *grpc.ClientConn) (interface{}, error) {
	return k.client(c), nil
}

// The kinds that Velero knows (pkg/plugin/framework/common/plugin_kinds.go), by its words for them.
var kinds = map[string]plugin.Plugin{
	"PluginLister": kind{client: func(c *grpc.ClientConn) interface{} { return generated.NewPluginListerClient(c) }},
	"ObjectStore":  kind{client: func(c *grpc.ClientConn) interface{} { return generated.NewObjectStoreClient(c) }},
	"VolumeSnapshotter": kind{client: func(c *grpc.ClientConn) interface{} {
		return generated.NewVolumeSnapshotterClient(c)
	}},
	"BackupItemActionV2":  kind{client: func(c *grpc.ClientConn) interface{} { return v2.NewBackupItemActionClient(c) }},
	"RestoreItemActionV2": kind{client: func(c *grpc.ClientConn) interface{} { return v2.NewRestoreItemActionClient(c) }},
	"DeleteItemAction":    kind{client: func(c *grpc.ClientConn) interface{} { return generated.NewDeleteItemActionClient(c) }},
	"ItemBlockAction":     kind{client: func(c *grpc.ClientConn) interface{} { return v1.NewItemBlockActionClient(c) }},
}

// A plugin's process.
type process struct {
	client   *plugin.Client
	protocol plugin.ClientProtocol
	// What came on the plugin's standard error, as it came, and what go-plugin made of it and said itself.
	stderr, log *lockedBuffer
}

type host struct {
	running map[string]*process
	meter   *meter
}

func newHost() *host { return &host{running: map[string]*process{}, meter: newMeter()} }

func (h *host) close() {
	for _, p := range h.running {
		p.client.Kill()
	}
}

func (h *host) find(c command) (*process, error) {
	p := h.running[c.Client]
	if p == nil {
		return nil, fmt.Errorf("no plugin %q has been launched", c.Client)
	}
	return p, nil
}

// Launches a plugin and connects, as Velero's client builder does.
func (h *host) launch(c command) (answer, error) {
	p := &process{stderr: &lockedBuffer{}, log: &lockedBuffer{}}
	p.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  handshake,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Plugins:          kinds,
		Cmd:              exec.Command(c.Path, c.Arguments...),
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: p.log, JSONFormat: true}),
		Stderr:           p.stderr,
	})
	began := time.Now()
	address, err := p.client.Start()
	took := time.Since(began)
	if err != nil {
		p.client.Kill()
		return answer{"refused": err.Error(), "log": p.log.lines()}, nil
	}
	p.protocol, err = p.client.Client()
	if err != nil {
		p.client.Kill()
		return answer{"refused": err.Error(), "log": p.log.lines()}, nil
	}
	h.running[c.Client] = p
	return answer{
		"handshake_ms": milliseconds(took), "pid": p.client.ReattachConfig().Pid, "network": address.Network(),
		"address": address.String(), "version": p.client.NegotiatedVersion(),
	}, nil
}

// Ends a plugin as Velero's server does: Shutdown, and a signal when it has not gone after 2 s.
func (h *host) kill(c command) (answer, error) {
	p, err := h.find(c)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	p.client.Kill()
	took := time.Since(began)
	delete(h.running, c.Client)
	return answer{"kill_ms": milliseconds(took), "exited": p.client.Exited(), "log": p.log.lines()}, nil
}

// What has been logged so far.
func (h *host) log(c command) (answer, error) {
	p, err := h.find(c)
	if err != nil {
		return nil, err
	}
	return answer{"stderr": p.stderr.lines(), "log": p.log.lines()}, nil
}

func (h *host) ping(c command) (answer, error) {
	p, err := h.find(c)
	if err != nil {
		return nil, err
	}
	return outcome(p.protocol.Ping()), nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// A buffer that is written and read at once.
type lockedBuffer struct {
	lock   sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(data []byte) (int, error) {
	b.lock.Lock()
	defer b.lock.Unlock()
	return b.buffer.Write(data)
}

func (b *lockedBuffer) lines() []string {
	b.lock.Lock()
	defer b.lock.Unlock()
	text := strings.TrimRight(b.buffer.String(), "\n")
	if text == "" {
		return []string{}
	}
	return strings.Split(text, "\n")
}
