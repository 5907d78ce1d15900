package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"math/rand"
	"time"

	"becalm/generated"
)

// Velero reads and sends objects in pieces of 16 KiB (pkg/plugin/framework/stream_reader.go).
const pieceBytes = 16384

// Bytes from a seed: no two pieces are equal, and none of them compresses.
type generator struct {
	left, number int64
	piece        []byte
	rest         []byte
}

func newGenerator(seed uint64, count int64) *generator {
	g := &generator{left: count, piece: make([]byte, pieceBytes)}
	rand.New(rand.NewSource(int64(seed))).Read(g.piece)
	return g
}

func (g *generator) Read(data []byte) (int, error) {
	if len(g.rest) == 0 {
		if g.left == 0 {
			return 0, io.EOF
		}
		binary.BigEndian.PutUint64(g.piece, uint64(g.number))
		g.number++
		g.rest = g.piece
		if int64(len(g.rest)) > g.left {
			g.rest = g.rest[:g.left]
		}
		g.left -= int64(len(g.rest))
	}
	count := copy(data, g.rest)
	g.rest = g.rest[count:]
	return count, nil
}

func (c command) source() io.Reader {
	if c.Body != nil {
		return bytes.NewReader(c.Body)
	}
	return newGenerator(c.Seed, c.Bytes)
}

func (h *host) objectStore(c command) (generated.ObjectStoreClient, error) {
	p, err := h.find(c)
	if err != nil {
		return nil, err
	}
	client, err := p.protocol.Dispense("ObjectStore")
	if err != nil {
		return nil, err
	}
	return client.(generated.ObjectStoreClient), nil
}

// Stores an object as Velero's client does: an error of Send ends it, and hides the plugin's own.
func (h *host) put(c command) (answer, error) {
	client, err := h.objectStore(c)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	stream, err := client.PutObject(context.Background())
	if err != nil {
		return outcome(err), nil
	}
	source, chunk := c.source(), make([]byte, pieceBytes)
	for {
		count, err := source.Read(chunk)
		if err == io.EOF {
			_, err := stream.CloseAndRecv()
			result := outcome(err)
			result["seconds"] = time.Since(began).Seconds()
			return result, nil
		}
		if err != nil {
			return nil, err
		}
		request := &generated.PutObjectRequest{Plugin: c.Plugin, Bucket: c.Bucket, Key: c.Key, Body: chunk[:count]}
		if err := stream.Send(request); err != nil {
			return outcome(err), nil
		}
	}
}

// Reads an object and compares it with what it must be, byte for byte; `stop` gives up after so many messages.
func (h *host) get(c command) (answer, error) {
	client, err := h.objectStore(c)
	if err != nil {
		return nil, err
	}
	scope, cancel := context.WithCancel(context.Background())
	defer cancel()
	began := time.Now()
	stream, err := client.GetObject(scope, &generated.GetObjectRequest{Plugin: c.Plugin, Bucket: c.Bucket, Key: c.Key})
	if err != nil {
		return outcome(err), nil
	}
	expected := c.source()
	var received, largest, messages, differs int64 = 0, 0, 0, -1
	wanted := make([]byte, pieceBytes)
	for {
		message, err := stream.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			result := outcome(err)
			result["bytes"] = received
			return result, nil
		}
		messages++
		if int64(len(message.Data)) > largest {
			largest = int64(len(message.Data))
		}
		for data := message.Data; len(data) > 0 && differs < 0; {
			part := wanted
			if len(part) > len(data) {
				part = part[:len(data)]
			}
			count, _ := io.ReadFull(expected, part)
			if count < len(part) || !bytes.Equal(part, data[:count]) {
				differs = received + int64(len(message.Data)-len(data))
			}
			data = data[len(part):]
		}
		received += int64(len(message.Data))
		if c.Stop > 0 && messages >= int64(c.Stop) {
			return answer{"bytes": received, "stopped": true}, nil
		}
	}
	if rest, _ := io.Copy(io.Discard, expected); rest > 0 && differs < 0 {
		differs = received
	}
	return answer{
		"seconds": time.Since(began).Seconds(), "bytes": received, "messages": messages, "largest": largest,
		"differs": differs,
	}, nil
}
