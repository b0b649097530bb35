// What a NATS client sees of a broker, one function for each behaviour, with the NATS client for Go.
//
// Lines of JSON on standard input and output: the first line in is what to do; a line out with "wants" waits for one in.
// A function gives what was seen: the same must be seen of every broker.  What it knows must be so, it checks by itself.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
)

const patience = 10 * time.Second

type place struct{ Nats, Websocket, Monitor string }

type told struct {
	Places      map[string]place
	Only        []string
	Transport   string
	Seed        string
	StrangeSeed string `json:"strange_seed"`
	Creds       map[string]string
	CA          string `json:"ca"`
	Certificate string
	Key         string
}

type seen map[string]any

// One run of all behaviours, with the connections of the present one.
type witness struct {
	told
	lines  *bufio.Reader
	opened []*nats.Conn
}

// What ends a behaviour early.
type failed struct{ what string }

func check(condition bool, format string, arguments ...any) {
	if !condition {
		panic(failed{fmt.Sprintf(format, arguments...)})
	}
}

func must[T any](value T, err error) T {
	check(err == nil, "unexpected error: %v", err)
	return value
}

func done(err error) { check(err == nil, "unexpected error: %v", err) }

func say(line seen) {
	text, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
}

func (w *witness) ask(line seen) map[string]string {
	say(line)
	answer := map[string]string{}
	done(json.Unmarshal(must(w.lines.ReadBytes('\n')), &answer))
	return answer
}

func (w *witness) url(name string) string {
	if w.Transport == "tcp" {
		return w.Places[name].Nats
	}
	return w.Places[name].Websocket
}

func (w *witness) dial(name string, options ...nats.Option) (*nats.Conn, error) {
	usual := []nats.Option{nats.NoReconnect(), nats.Timeout(patience)}
	client, err := nats.Connect(w.url(name), append(usual, options...)...)
	if err == nil {
		w.opened = append(w.opened, client)
	}
	return client, err
}

func (w *witness) join(name string, options ...nats.Option) *nats.Conn {
	client, err := w.dial(name, options...)
	check(err == nil, "cannot connect to %s: %v", name, err)
	return client
}

// The error that a connection must end in.  A server that closes may reset, and the error is lost: then it is tried again.
func (w *witness) refused(name string, options ...nats.Option) string {
	for range 50 {
		_, err := w.dial(name, options...)
		check(err != nil, "it was let in")
		var lost *net.OpError
		if !errors.As(err, &lost) && !errors.Is(err, io.EOF) {
			return err.Error()
		}
	}
	panic(failed{"no reason is given"})
}

func (w *witness) try(name string, act func(*witness) any) {
	defer func() {
		if wrong := recover(); wrong != nil {
			say(seen{"behaviour": name, "failed": fmt.Sprint(wrong)})
		}
		for _, client := range w.opened {
			client.Close()
		}
		w.opened = nil
	}()
	say(seen{"behaviour": name, "seen": act(w)})
}

func flush(clients ...*nats.Conn) {
	for _, client := range clients {
		done(client.FlushTimeout(patience))
	}
}

func take(subscription *nats.Subscription, count int) []*nats.Msg {
	found := make([]*nats.Msg, 0, count)
	for range count {
		message, err := subscription.NextMsg(patience)
		check(err == nil, "message %d of %d to %s: %v", len(found)+1, count, subscription.Subject, err)
		found = append(found, message)
	}
	return found
}

func texts(messages []*nats.Msg) []string {
	found := make([]string, len(messages))
	for i, message := range messages {
		found[i] = string(message.Data)
	}
	return found
}

func until[T any](events <-chan T, what string) T {
	select {
	case event := <-events:
		return event
	case <-time.After(3 * patience):
		panic(failed{what + ": nothing came"})
	}
}

func main() {
	w := &witness{lines: bufio.NewReader(os.Stdin)}
	done(json.Unmarshal(must(w.lines.ReadBytes('\n')), &w.told))
	for _, each := range behaviours {
		if w.Only == nil || slices.Contains(w.Only, each.name) {
			if w.Transport == "tcp" || !each.onlyTCP {
				w.try(each.name, each.act)
			}
		}
	}
	say(seen{"end": true})
}
