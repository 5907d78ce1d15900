package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"becalm/generated"

	"github.com/golang/protobuf/jsonpb"
	"github.com/golang/protobuf/proto"
	"google.golang.org/grpc/status"
)

// A method of a kind's client, and the type of its request.
type method struct {
	function reflect.Value
	request  reflect.Type
}

func (h *host) method(c command) (*method, error) {
	p, err := h.find(c)
	if err != nil {
		return nil, err
	}
	client, err := p.protocol.Dispense(c.Kind)
	if err != nil {
		return nil, err
	}
	function := reflect.ValueOf(client).MethodByName(c.Method)
	// A unary call takes a context, a request and options.
	if !function.IsValid() || function.Type().NumIn() != 3 {
		return nil, fmt.Errorf("%s has no unary method %q", c.Kind, c.Method)
	}
	return &method{function: function, request: function.Type().In(1).Elem()}, nil
}

func (m *method) decode(text json.RawMessage) (proto.Message, error) {
	request := reflect.New(m.request).Interface().(proto.Message)
	if len(text) == 0 {
		return request, nil
	}
	return request, jsonpb.Unmarshal(bytes.NewReader(text), request)
}

// Calls without a deadline, as Velero does.
func (m *method) call(request proto.Message) (proto.Message, error) {
	results := m.function.Call([]reflect.Value{reflect.ValueOf(context.Background()), reflect.ValueOf(request)})
	if failure := results[1].Interface(); failure != nil {
		return nil, failure.(error)
	}
	return results[0].Interface().(proto.Message), nil
}

// One unary call: its response in protobuf's JSON, or its error as Velero decodes it.
func (h *host) call(c command) (answer, error) {
	m, err := h.method(c)
	if err != nil {
		return nil, err
	}
	request, err := m.decode(c.Request)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	response, failure := m.call(request)
	took := time.Since(began)
	if failure != nil {
		return outcome(failure), nil
	}
	// A sub-message that is not set stays away, unlike a plain field.
	text, err := (&jsonpb.Marshaler{EmitDefaults: true, OrigName: true}).MarshalToString(response)
	if err != nil {
		return nil, err
	}
	return answer{"response": json.RawMessage(text), "ms": milliseconds(took)}, nil
}

// The same unary call many times, by workers at once.
func (h *host) calls(c command) (answer, error) {
	m, err := h.method(c)
	if err != nil {
		return nil, err
	}
	request, err := m.decode(c.Request)
	if err != nil {
		return nil, err
	}
	var left, failed int64 = int64(c.Count), 0
	var first error
	var lock sync.Mutex
	var group sync.WaitGroup
	began := time.Now()
	for worker := 0; worker < c.Workers; worker++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for atomic.AddInt64(&left, -1) >= 0 {
				if _, err := m.call(request); err != nil {
					lock.Lock()
					failed++
					if first == nil {
						first = err
					}
					lock.Unlock()
				}
			}
		}()
	}
	group.Wait()
	result := answer{"seconds": time.Since(began).Seconds(), "failed": failed}
	if first != nil {
		result["first"] = first.Error()
	}
	return result, nil
}

// How a call ended: nothing, or the error with what Velero reads of it (pkg/plugin/framework/common/client_errors.go).
func outcome(err error) answer {
	if err == nil {
		return answer{}
	}
	failure := answer{"message": err.Error()}
	if converted, ok := status.FromError(err); ok {
		failure = answer{"code": converted.Code().String(), "message": converted.Message()}
		var frames []string
		for _, detail := range converted.Details() {
			if stack, ok := detail.(*generated.Stack); ok {
				for _, frame := range stack.Frames {
					frames = append(frames, fmt.Sprintf("%s:%d %s", frame.File, frame.Line, frame.Function))
				}
			}
		}
		if frames != nil {
			failure["stack"] = frames
		}
	}
	return answer{"error": failure}
}

// Fetches a URL as somebody without our code does.
func fetch(c command) (answer, error) {
	client := &http.Client{Timeout: time.Minute}
	response, err := client.Get(c.URL)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 64<<20))
	if err != nil {
		return nil, err
	}
	return answer{"status": response.StatusCode, "body": body, "type": strings.ToLower(response.Header.Get("Content-Type"))}, nil
}
