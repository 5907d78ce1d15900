// A Velero server as far as plugins see it, on the real go-plugin library: it launches a plugin as Velero's server does, and
// calls what it is told to. One command a line on standard input, as a JSON object with "do"; one answer a line on standard
// output, an object with "failure" when the host itself could not do it. The scripts in e2e/ ask, and judge the answers.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
)

// What a script asks for. Each command reads the members it needs.
type command struct {
	Do string `json:"do"`
	// Names one of several plugins that run at once.
	Client string `json:"client"`

	// launch
	Path      string   `json:"path"`
	Arguments []string `json:"arguments"`

	// call, calls: a method of a kind, with a request in protobuf's JSON
	Kind    string          `json:"kind"`
	Method  string          `json:"method"`
	Request json.RawMessage `json:"request"`
	Count   int             `json:"count"`
	Workers int             `json:"workers"`

	// put, get: an object, of bytes that are given or made from a seed
	Plugin string `json:"plugin"`
	Bucket string `json:"bucket"`
	Key    string `json:"key"`
	Bytes  int64  `json:"bytes"`
	Seed   uint64 `json:"seed"`
	Body   []byte `json:"body"`
	// Messages to read before the call is given up; 0 reads all.
	Stop int `json:"stop"`

	// fetch
	URL string `json:"url"`
}

type answer map[string]interface{}

func main() {
	host := newHost()
	defer host.close()
	lines := bufio.NewReader(os.Stdin)
	answers := json.NewEncoder(os.Stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return // the script is done, or gone
		}
		result, err := host.obey(line)
		if err != nil {
			result = answer{"failure": err.Error()}
		}
		if err := answers.Encode(result); err != nil {
			fmt.Fprintln(os.Stderr, "velero-host:", err)
			return
		}
	}
}

func (h *host) obey(line []byte) (answer, error) {
	var c command
	if err := json.Unmarshal(line, &c); err != nil {
		return nil, err
	}
	switch c.Do {
	case "launch":
		return h.launch(c)
	case "kill":
		return h.kill(c)
	case "log":
		return h.log(c)
	case "ping":
		return h.ping(c)
	case "connection":
		return h.connection(c)
	case "call":
		return h.call(c)
	case "calls":
		return h.calls(c)
	case "put":
		return h.put(c)
	case "get":
		return h.get(c)
	case "fetch":
		return fetch(c)
	default:
		return nil, fmt.Errorf("unknown command %q", c.Do)
	}
}
