package main

import (
	"context"
	"net"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/channelz/grpc_channelz_v1"
	"google.golang.org/grpc/channelz/service"
)

// Counts what really went over the connections that go-plugin made. grpc-go repeats calls by itself after a GOAWAY, on a new
// connection, and nobody who calls sees it; its own statistics, channelz, which only a gRPC service gives out, do.
type meter struct {
	client grpc_channelz_v1.ChannelzClient
	err    error
}

func newMeter() *meter {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return &meter{err: err}
	}
	server := grpc.NewServer()
	service.RegisterChannelzServiceToServer(server)
	go server.Serve(listener)
	connection, err := grpc.Dial(listener.Addr().String(), grpc.WithInsecure())
	if err != nil {
		return &meter{err: err}
	}
	return &meter{client: grpc_channelz_v1.NewChannelzClient(connection)}
}

// The connections to the plugins that run: their sockets, by id, with the streams begun on each.
func (h *host) connection(c command) (answer, error) {
	if h.meter.err != nil {
		return nil, h.meter.err
	}
	scope := context.Background()
	channels, err := h.meter.client.GetTopChannels(scope, &grpc_channelz_v1.GetTopChannelsRequest{})
	if err != nil {
		return nil, err
	}
	sockets, calls := map[int64]int64{}, int64(0)
	for _, channel := range channels.Channel {
		// go-plugin dials under this name, whatever the address.
		if !strings.HasSuffix(channel.Data.Target, "unused") {
			continue
		}
		calls += channel.Data.CallsStarted
		for _, reference := range channel.SubchannelRef {
			asked := &grpc_channelz_v1.GetSubchannelRequest{SubchannelId: reference.SubchannelId}
			sub, err := h.meter.client.GetSubchannel(scope, asked)
			if err != nil {
				return nil, err
			}
			for _, reference := range sub.Subchannel.SocketRef {
				asked := &grpc_channelz_v1.GetSocketRequest{SocketId: reference.SocketId}
				socket, err := h.meter.client.GetSocket(scope, asked)
				if err != nil {
					return nil, err
				}
				sockets[reference.SocketId] = socket.Socket.Data.StreamsStarted
			}
		}
	}
	return answer{"sockets": sockets, "calls": calls}, nil
}
