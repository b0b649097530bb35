package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// What tools ask of a server: `nats server list`, `info` and `report connections` by the system account's requests,
// nats-top and exporters by HTTP.  They read the answers into nats-server's own types, and so does this.

var admin = nats.UserInfo("admin", "secret")

type answer[T any] struct {
	Server server.ServerInfo `json:"server"`
	Data   T                 `json:"data"`
	Error  *server.ApiError  `json:"error"`
}

// Read JSON that must have no fields but those of T.
func read[T any](text []byte) T {
	var found T
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&found)
	check(err == nil, "%v in %s", err, text)
	return found
}

func ask[T any](client *nats.Conn, subject string, options any) T {
	question := must(json.Marshal(options))
	reply := must(client.Request(subject, question, patience))
	found := read[answer[T]](reply.Data)
	check(found.Error == nil, "an error: %+v", found.Error)
	check(found.Server.ID != "" && found.Server.Name != "", "who answers is not said: %+v", found.Server)
	check(time.Since(found.Server.Time).Abs() < time.Minute, "another time: %v", found.Server.Time)
	return found.Data
}

func get[T any](w *witness, path string) T {
	response := must(http.Get(w.Places["system"].Monitor + path))
	defer response.Body.Close()
	check(response.StatusCode == http.StatusOK, "%s: %s", path, response.Status)
	var text bytes.Buffer
	must(text.ReadFrom(response.Body))
	return read[T](text.Bytes())
}

// A user of an account with a subscription and some messages, for reports to tell of.
func (w *witness) customer() *nats.Conn {
	client := w.join("system", a, nats.Name("customer"))
	subscription := must(client.SubscribeSync("shop"))
	done(client.Publish("shop", []byte("hello")))
	take(subscription, 1)
	flush(client)
	return client
}

func listServers(w *witness) any {
	client := w.join("system", admin)
	inbox := must(client.SubscribeSync(client.NewRespInbox()))
	done(client.PublishRequest("$SYS.REQ.SERVER.PING", inbox.Subject, nil))
	message := take(inbox, 1)[0]
	found := read[server.ServerStatsMsg](message.Data)
	check(found.Server.Name != "" && found.Stats.Cores > 0 && found.Stats.Mem > 0, "too little: %+v", found)
	check(time.Since(found.Stats.Start) < time.Hour, "it started %v", found.Stats.Start)
	return []any{found.Stats.Connections, found.Stats.ActiveAccounts > 0}
}

func serverInfo(w *witness) any {
	w.customer()
	client := w.join("system", admin)
	pinged := ask[server.Varz](client, "$SYS.REQ.SERVER.PING.VARZ", server.VarzEventOptions{})
	asked := ask[server.Varz](client, fmt.Sprintf("$SYS.REQ.SERVER.%s.VARZ", pinged.ID), server.VarzOptions{})
	check(asked.ID == pinged.ID && asked.Name == pinged.Name, "another server")
	check(asked.Port > 0 && asked.Mem > 0 && asked.Uptime != "", "too little: %+v", asked)
	return []any{asked.Host, asked.MaxPayload, asked.MaxConn, asked.AuthRequired, asked.SystemAccount, asked.Connections,
		asked.PingInterval, asked.MaxPingsOut, asked.WriteDeadline, asked.MaxControlLine, asked.MaxPending}
}

func reportConnections(w *witness) any {
	w.customer()
	client := w.join("system", admin)
	options := server.ConnzEventOptions{ConnzOptions: server.ConnzOptions{Username: true, Subscriptions: true, Account: "A"}}
	return described(ask[server.Connz](client, "$SYS.REQ.SERVER.PING.CONNZ", options))
}

func monitored(w *witness) any {
	w.customer()
	varz := get[server.Varz](w, "/varz")
	check(varz.Connections == 1 && varz.InMsgs > 0 && varz.OutMsgs > 0 && varz.InBytes > 0, "not counted: %+v", varz)
	connz := get[server.Connz](w, "/connz?auth=1&subs=1&sort=cid")
	shops := 0 // nats-server's own subscriptions are in the list, too
	for _, each := range get[server.Subsz](w, "/subsz?subs=1&acc=A").Subs {
		if each.Subject == "shop" {
			shops++
		}
	}
	accounts := get[server.Accountz](w, "/accountz")
	states := get[server.AccountStatz](w, "/accstatz?unused=1")
	health := get[server.HealthStatus](w, "/healthz")
	check(len(states.Accounts) > 1, "too few accounts")
	return []any{described(connz), shops, accounts.SystemAccount, len(accounts.Accounts), health.Status}
}

// What connections look like, without numbers that are others each time, and without bytes: brokerkit counts those of
// the wire, nats-server payloads alone.
func described(connz server.Connz) any {
	found := []any{connz.NumConns, connz.Total, connz.Limit}
	for _, each := range connz.Conns {
		check(each.Cid > 0 && each.Port > 0 && each.Uptime != "" && each.RTT != "" && each.InBytes >= 5, "too little: %+v", each)
		found = append(found, each.Name, each.Lang, each.Version, each.AuthorizedUser, each.Account, each.IP, each.Kind,
			each.Type, each.NumSubs, each.Subs, each.InMsgs, each.OutMsgs)
	}
	return found
}

func accountEvents(w *witness) any {
	client := w.join("system", admin)
	connects := must(client.SubscribeSync("$SYS.ACCOUNT.A.CONNECT"))
	disconnects := must(client.SubscribeSync("$SYS.ACCOUNT.A.DISCONNECT"))
	flush(client)
	w.customer().Close()
	in := read[server.ConnectEventMsg](take(connects, 1)[0].Data)
	out := read[server.DisconnectEventMsg](take(disconnects, 1)[0].Data)
	check(in.ID != "" && in.Server.ID == out.Server.ID && in.Client.ID == out.Client.ID, "another client")
	check(out.Client.Stop != nil, "it has not ended")
	return []any{in.Type, in.Client.Account, in.Client.User, in.Client.Name, in.Client.Host, in.Client.Lang, out.Type,
		out.Reason, out.Sent.Msgs, out.Received.Msgs}
}
