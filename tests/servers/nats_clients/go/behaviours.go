package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

var behaviours = []struct {
	name    string
	act     func(*witness) any
	onlyTCP bool
}{
	{name: "connect", act: connect},
	{name: "publish and subscribe", act: publishAndSubscribe},
	{name: "payload sizes", act: payloadSizes},
	{name: "wildcards", act: wildcards},
	{name: "queue group", act: queueGroup},
	{name: "request and reply", act: requestAndReply},
	{name: "request many", act: requestMany},
	{name: "headers", act: headers},
	{name: "no responders", act: noResponders},
	{name: "request without an answer", act: requestWithoutAnswer},
	{name: "auto-unsubscribe", act: autoUnsubscribe},
	{name: "unsubscribe", act: unsubscribe},
	{name: "no echo", act: noEcho},
	{name: "drain a subscription", act: drainSubscription},
	{name: "drain a connection", act: drainConnection},
	{name: "flush and round trip", act: flushAndRoundTrip},
	{name: "many messages in order", act: manyMessages},
	{name: "many subscriptions", act: manySubscriptions},
	{name: "verbose and pedantic", act: verboseAndPedantic},
	{name: "payload over the limit", act: payloadOverLimit},
	{name: "user and password", act: userAndPassword},
	{name: "bcrypt password", act: bcryptPassword},
	{name: "refused logins", act: refusedLogins},
	{name: "token", act: token},
	{name: "nkey", act: nkey},
	{name: "no credentials where somebody stands for them", act: noCredentials},
	{name: "denied publish", act: deniedPublish},
	{name: "denied subscription", act: deniedSubscription},
	{name: "a request that is denied", act: deniedRequest},
	{name: "a deny within an allow", act: denyWithinAllow},
	{name: "answers that are allowed", act: allowedAnswers},
	{name: "accounts are separate", act: separateAccounts},
	{name: "stream of another account", act: importedStream},
	{name: "service of another account", act: importedService},
	{name: "service of another account that nobody gives", act: absentService},
	{name: "mapped subject", act: mappedSubject},
	{name: "credentials file", act: credentialsFile},
	{name: "credentials that are refused", act: refusedCredentials},
	{name: "credentials that end", act: endingCredentials},
	{name: "TLS", act: overTLS},
	{name: "reconnect after a restart", act: reconnect},
	{name: "lame duck", act: lameDuck},
	{name: "too many connections", act: tooManyConnections},
	{name: "the list of servers", act: listServers, onlyTCP: true},
	{name: "information about a server", act: serverInfo, onlyTCP: true},
	{name: "the report of connections", act: reportConnections, onlyTCP: true},
	{name: "monitoring by HTTP", act: monitored, onlyTCP: true},
	{name: "events of accounts", act: accountEvents, onlyTCP: true},
	{name: "TLS that nobody vouches for", act: strangeTLS, onlyTCP: true},
	{name: "TLS first", act: firstTLS, onlyTCP: true},
	{name: "client certificate", act: clientCertificate, onlyTCP: true},
	{name: "TLS for those who want it", act: mixedTLS, onlyTCP: true},
}

var (
	alice   = nats.UserInfo("alice", "secret")
	guest   = nats.UserInfo("guest", "secret")
	service = nats.UserInfo("service", "secret")
	a       = nats.UserInfo("a", "secret")
	b       = nats.UserInfo("b", "secret")
)

// What is told to a connection's handler of errors.
func noting() (nats.Option, <-chan string) {
	errors := make(chan string, 100)
	return nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { errors <- err.Error() }), errors
}

func connect(w *witness) any {
	client := w.join("plain", nats.Name("a name"))
	check(must(client.GetClientID()) > 0, "no client id")
	check(client.ConnectedServerId() != "", "no server id")
	check(client.ConnectedServerVersion() != "", "no version")
	address := must(url.Parse(w.url("plain")))
	check(must(url.Parse(client.ConnectedUrl())).Port() == address.Port(), "another port")
	return []any{client.MaxPayload(), client.HeadersSupported(), client.AuthRequired(), client.TLSRequired(),
		must(client.GetClientIP()).String(), client.ConnectedClusterName(), len(client.DiscoveredServers())}
}

func publishAndSubscribe(w *witness) any {
	reader, writer := w.join("plain"), w.join("plain")
	subscription := must(reader.SubscribeSync("basic.one"))
	flush(reader)
	done(writer.Publish("basic.other", []byte("not this")))
	done(writer.PublishRequest("basic.one", "basic.back", []byte("hello")))
	message := take(subscription, 1)[0]
	return []any{message.Subject, message.Reply, string(message.Data), message.Header}
}

func payloadSizes(w *witness) any {
	client := w.join("plain")
	subscription := must(client.SubscribeSync("size"))
	limit := int(client.MaxPayload())
	sizes := []int{0, 1, 127, 4096, 65536, 65537, limit - 1, limit}
	for _, size := range sizes {
		done(client.Publish("size", bytes.Repeat([]byte{byte(size % 251)}, size)))
	}
	for i, message := range take(subscription, len(sizes)) {
		expected := bytes.Repeat([]byte{byte(sizes[i] % 251)}, sizes[i])
		check(bytes.Equal(message.Data, expected), "the payload of %d bytes has changed", sizes[i])
	}
	return sizes
}

func wildcards(w *witness) any {
	client := w.join("plain")
	found := map[string][]string{}
	subscriptions := map[string]*nats.Subscription{}
	for _, pattern := range []string{"wild.*", "wild.>", "wild.*.b", "*.a", "wild.*.>", "*.*.*.*", "wild.a", "été.*"} {
		subscriptions[pattern] = must(client.SubscribeSync(pattern))
	}
	for _, subject := range []string{"wild", "wild.a", "wild.b", "wild.a.b", "wild.a.b.c", "other.a", "été.œuf"} {
		done(client.Publish(subject, nil))
	}
	flush(client)
	for pattern, subscription := range subscriptions {
		for _, message := range take(subscription, pending(subscription)) {
			found[pattern] = append(found[pattern], message.Subject)
		}
	}
	return found
}

func pending(subscription *nats.Subscription) int {
	count, _, err := subscription.Pending()
	done(err)
	return count
}

func queueGroup(w *witness) any {
	members := []*nats.Conn{w.join("plain"), w.join("plain"), w.join("plain")}
	writer := w.join("plain")
	shares := []*nats.Subscription{}
	for _, member := range members {
		shares = append(shares, must(member.QueueSubscribeSync("queue.one", "workers")))
	}
	everything := must(members[0].SubscribeSync("queue.*"))
	flush(members...)
	for i := range 600 {
		done(writer.Publish("queue.one", []byte(strconv.Itoa(i))))
	}
	flush(writer)
	flush(members...)
	total := 0
	for _, share := range shares {
		check(pending(share) > 100, "a part of %d only", pending(share))
		total += pending(share)
	}
	for i, text := range texts(take(everything, 600)) {
		check(text == strconv.Itoa(i), "%s in place of %d", text, i)
	}
	return total
}

func requestAndReply(w *witness) any {
	server, client := w.join("plain"), w.join("plain")
	old := w.join("plain", nats.UseOldRequestStyle())
	must(server.Subscribe("request.one", func(m *nats.Msg) { done(m.Respond(append([]byte("re:"), m.Data...))) }))
	flush(server)
	shared := must(client.Request("request.one", []byte("a"), patience))
	own := must(old.Request("request.one", []byte("b"), patience))
	for i := range 200 {
		reply := must(client.Request("request.one", []byte(strconv.Itoa(i)), patience))
		check(string(reply.Data) == fmt.Sprintf("re:%d", i), "the wrong answer")
	}
	return texts([]*nats.Msg{shared, own})
}

func requestMany(w *witness) any {
	server, client := w.join("plain"), w.join("plain")
	for _, name := range []string{"a", "b", "c"} {
		must(server.Subscribe("many.one", func(m *nats.Msg) { done(m.Respond([]byte(name))) }))
	}
	flush(server)
	inbox := must(client.SubscribeSync(client.NewRespInbox()))
	done(client.PublishRequest("many.one", inbox.Subject, nil))
	found := texts(take(inbox, 3))
	slices.Sort(found)
	_, err := inbox.NextMsg(300 * time.Millisecond)
	return []any{found, fmt.Sprint(err)}
}

func headers(w *witness) any {
	server, client := w.join("plain"), w.join("plain")
	heard := make(chan *nats.Msg, 1)
	must(server.Subscribe("headers.one", func(m *nats.Msg) {
		heard <- m
		answer := nats.NewMsg(m.Reply)
		answer.Header.Set("Answer", "oui")
		answer.Data = []byte("pong")
		done(m.RespondMsg(answer))
	}))
	flush(server)
	asked := nats.NewMsg("headers.one")
	asked.Header = nats.Header{"Question": {"a: b", "again"}, "Egg": {"œuf"}}
	asked.Data = []byte("ping")
	reply := must(client.RequestMsg(asked, patience))
	question := until(heard, "the question")
	alone := must(client.SubscribeSync("headers.two"))
	done(client.PublishMsg(&nats.Msg{Subject: "headers.two", Header: asked.Header}))
	message := take(alone, 1)[0]
	return []any{question.Header, string(question.Data), reply.Header, string(reply.Data), message.Header, len(message.Data)}
}

func noResponders(w *witness) any {
	client, old := w.join("plain"), w.join("plain", nats.UseOldRequestStyle())
	began := time.Now()
	_, first := client.Request("nobody.here", nil, patience)
	_, second := old.Request("nobody.here", nil, patience)
	check(time.Since(began) < patience/2, "no answer at once")
	check(errors.Is(first, nats.ErrNoResponders), "another error: %v", first)
	return []any{fmt.Sprint(first), fmt.Sprint(second)}
}

func requestWithoutAnswer(w *witness) any {
	deaf, client := w.join("plain"), w.join("plain")
	must(deaf.SubscribeSync("silent.one"))
	flush(deaf)
	_, err := client.Request("silent.one", nil, 200*time.Millisecond)
	return fmt.Sprint(err)
}

func autoUnsubscribe(w *witness) any {
	reader, writer := w.join("plain"), w.join("plain")
	subscription, later := must(reader.SubscribeSync("auto.one")), must(reader.SubscribeSync("auto.one"))
	done(subscription.AutoUnsubscribe(3))
	flush(reader)
	for i := range 5 {
		done(writer.Publish("auto.one", []byte(strconv.Itoa(i))))
	}
	flush(writer, reader)
	first := texts(take(subscription, 3))
	_, err := subscription.NextMsg(time.Millisecond)
	before := reader.Stats().InMsgs
	done(later.AutoUnsubscribe(5))
	flush(reader)
	done(writer.Publish("auto.one", []byte("too late")))
	flush(writer, reader)
	return []any{first, fmt.Sprint(err), before, reader.Stats().InMsgs - before}
}

func unsubscribe(w *witness) any {
	client := w.join("plain")
	gone, stays := must(client.SubscribeSync("unsub.one")), must(client.SubscribeSync("unsub.one"))
	done(gone.Unsubscribe())
	done(client.Publish("unsub.one", []byte("x")))
	heard := texts(take(stays, 1))
	flush(client)
	return []any{heard, client.Stats().InMsgs}
}

func noEcho(w *witness) any {
	quiet, other := w.join("plain", nats.NoEcho()), w.join("plain")
	subscription := must(quiet.SubscribeSync("noecho.one"))
	done(quiet.Publish("noecho.one", []byte("mine")))
	flush(quiet)
	done(other.Publish("noecho.one", []byte("theirs")))
	heard := texts(take(subscription, 1))
	_, err := quiet.Request("noecho.one", nil, patience)
	return []any{heard, fmt.Sprint(err)}
}

func drainSubscription(w *witness) any {
	reader, writer := w.join("plain"), w.join("plain")
	handled := make(chan string, 1000)
	subscription := must(reader.Subscribe("drain.one", func(m *nats.Msg) { handled <- string(m.Data) }))
	flush(reader)
	for i := range 500 {
		done(writer.Publish("drain.one", []byte(strconv.Itoa(i))))
	}
	flush(writer)
	done(subscription.Drain())
	for i := range 500 {
		check(until(handled, "a message") == strconv.Itoa(i), "not in order")
	}
	end := time.Now().Add(patience)
	for subscription.IsValid() && time.Now().Before(end) {
		time.Sleep(time.Millisecond)
	}
	done(writer.Publish("drain.one", []byte("too late")))
	flush(writer, reader)
	return []any{len(handled), subscription.IsValid()}
}

func drainConnection(w *witness) any {
	closed := make(chan bool, 1)
	other := w.join("plain")
	worker := w.join("plain", nats.ClosedHandler(func(*nats.Conn) { closed <- true }))
	results := must(other.SubscribeSync("drain.results"))
	must(worker.Subscribe("drain.jobs", func(m *nats.Msg) { done(worker.Publish("drain.results", m.Data)) }))
	flush(worker, other)
	for i := range 500 {
		done(other.Publish("drain.jobs", []byte(strconv.Itoa(i))))
	}
	flush(other)
	done(worker.Drain())
	until(closed, "the end")
	return []any{texts(take(results, 500))[499], worker.IsClosed()}
}

func flushAndRoundTrip(w *witness) any {
	client := w.join("plain")
	subscription := must(client.SubscribeSync("flush.one"))
	for range 100 {
		done(client.Publish("flush.one", nil))
		flush(client)
	}
	check(must(client.RTT()) < patience, "a long time")
	return pending(subscription)
}

func manyMessages(w *witness) any {
	reader, writer := w.join("plain"), w.join("plain")
	subscription := must(reader.SubscribeSync("order.>"))
	flush(reader)
	for i := range 50_000 {
		done(writer.Publish([]string{"order.even", "order.odd"}[i%2], []byte(strconv.Itoa(i))))
	}
	flush(writer)
	for i, text := range texts(take(subscription, 50_000)) {
		check(text == strconv.Itoa(i), "%s in place of %d", text, i)
	}
	return true
}

func manySubscriptions(w *witness) any {
	reader, writer := w.join("plain"), w.join("plain")
	subscriptions := []*nats.Subscription{}
	for i := range 1000 {
		subscriptions = append(subscriptions, must(reader.SubscribeSync(fmt.Sprintf("subs.%d", i))))
	}
	flush(reader)
	for i := range 2000 {
		done(writer.Publish(fmt.Sprintf("subs.%d", i%1000), nil))
	}
	flush(writer, reader)
	for i, subscription := range subscriptions {
		check(pending(subscription) == 2, "%d messages", pending(subscription))
		check(take(subscription, 1)[0].Subject == fmt.Sprintf("subs.%d", i), "the wrong subject")
	}
	return reader.Stats().InMsgs
}

func verboseAndPedantic(w *witness) any {
	pedantic := func(options *nats.Options) error {
		options.Verbose, options.Pedantic = true, true
		return nil
	}
	client := w.join("plain", pedantic)
	must(client.Subscribe("verbose.echo", func(m *nats.Msg) { done(m.Respond(m.Data)) }))
	subscription := must(client.QueueSubscribeSync("verbose.one", "workers"))
	for i := range 100 {
		done(client.Publish("verbose.one", []byte(strconv.Itoa(i))))
	}
	heard := texts(take(subscription, 100))
	return []any{len(heard), string(must(client.Request("verbose.echo", []byte("x"), patience)).Data)}
}

func payloadOverLimit(w *witness) any {
	client := w.join("plain")
	subscription := must(client.SubscribeSync("over.one"))
	err := client.Publish("over.one", make([]byte, client.MaxPayload()+1))
	done(client.Publish("over.one", []byte("x")))
	return []any{fmt.Sprint(err), texts(take(subscription, 1))}
}

func userAndPassword(w *witness) any {
	client := w.join("users", alice)
	subscription := must(client.SubscribeSync("login.one"))
	done(client.Publish("login.one", []byte("by password")))
	return []any{client.AuthRequired(), texts(take(subscription, 1))}
}

func bcryptPassword(w *witness) any {
	flush(w.join("users", nats.UserInfo("hashed", "a longer secret")))
	return true
}

func refusedLogins(w *witness) any {
	return map[string]string{
		"wrong password": w.refused("users", nats.UserInfo("alice", "wrong")),
		"empty password": w.refused("users", nats.UserInfo("alice", "")),
		"unknown user":   w.refused("users", nats.UserInfo("nobody", "secret")),
		"a token":        w.refused("users", nats.Token("t0ken")),
		"none":           w.refused("users"),
		"wrong token":    w.refused("token", nats.Token("wrong")),
	}
}

func token(w *witness) any {
	client := w.join("token", nats.Token("t0ken"))
	flush(client)
	return client.AuthRequired()
}

func file(content string) string {
	home := must(os.MkdirTemp("", "brokerkit-"))
	path := filepath.Join(home, "file")
	done(os.WriteFile(path, []byte(content), 0o600))
	return path
}

func nkey(w *witness) any {
	known, strange := file(w.Seed), file(w.StrangeSeed)
	defer os.RemoveAll(filepath.Dir(known))
	defer os.RemoveAll(filepath.Dir(strange))
	flush(w.join("users", must(nats.NkeyOptionFromSeed(known))))
	return w.refused("users", must(nats.NkeyOptionFromSeed(strange)))
}

func noCredentials(w *witness) any {
	client := w.join("accounts")
	subscription := must(client.SubscribeSync("public.one"))
	done(client.Publish("public.one", []byte("x")))
	return texts(take(subscription, 1))
}

func deniedPublish(w *witness) any {
	note, errors := noting()
	client := w.join("users", guest, note)
	done(client.Publish("denied.one", []byte("no")))
	reported := until(errors, "the error")
	flush(client)
	return []any{reported, client.IsConnected()}
}

func deniedSubscription(w *witness) any {
	note, errors := noting()
	client := w.join("users", guest, nats.PermissionErrOnSubscribe(true), note)
	found := []any{}
	for _, pattern := range []string{"denied.two", "*.one"} {
		subscription := must(client.SubscribeSync(pattern))
		flush(client)
		_, err := subscription.NextMsg(patience)
		found = append(found, until(errors, "the error"), fmt.Sprint(err))
	}
	subscription := must(client.QueueSubscribeSync(">", "workers"))
	flush(client)
	_, err := subscription.NextMsg(patience)
	return append(found, until(errors, "the error"), fmt.Sprint(err), client.IsConnected())
}

func deniedRequest(w *witness) any {
	note, errors := noting()
	client := w.join("users", guest, note)
	_, err := client.Request("denied.three", nil, 500*time.Millisecond)
	return []any{fmt.Sprint(err), until(errors, "the error")}
}

func denyWithinAllow(w *witness) any {
	reader, writer := w.join("users", guest), w.join("users", alice)
	subscription := must(reader.SubscribeSync("guest.>"))
	flush(reader)
	for _, subject := range []string{"guest.secret", "guest.open"} {
		done(writer.Publish(subject, []byte(subject)))
	}
	return texts(take(subscription, 1))
}

func allowedAnswers(w *witness) any {
	note, errors := noting()
	server, client := w.join("users", service, note), w.join("users", alice)
	must(server.Subscribe("service.one", func(m *nats.Msg) {
		done(m.Respond([]byte("first")))
		done(m.Respond([]byte("second")))
	}))
	flush(server)
	inbox := must(client.SubscribeSync("an.inbox"))
	done(client.PublishRequest("service.one", "an.inbox", nil))
	heard := texts(take(inbox, 1))
	reported := until(errors, "the error")
	flush(client)
	return []any{heard, reported, pending(inbox)}
}

func separateAccounts(w *witness) any {
	one, two := w.join("accounts", a), w.join("accounts", b)
	heard := must(two.SubscribeSync("private.>"))
	flush(two)
	done(one.Publish("private.one", []byte("of a")))
	flush(one)
	done(two.Publish("private.one", []byte("of b")))
	return texts(take(heard, 1))
}

func importedStream(w *witness) any {
	one, two := w.join("accounts", a), w.join("accounts", b)
	heard := must(two.SubscribeSync("from.a.>"))
	flush(two)
	done(one.Publish("news.sport", []byte("goal")))
	message := take(heard, 1)[0]
	return []any{message.Subject, string(message.Data)}
}

func importedService(w *witness) any {
	one, two := w.join("accounts", a), w.join("accounts", b)
	asked := make(chan string, 1)
	must(one.Subscribe("help.me", func(m *nats.Msg) {
		asked <- m.Subject
		done(m.Respond(append([]byte("re:"), m.Data...)))
	}))
	flush(one)
	reply := must(two.Request("ask.a", []byte("how"), patience))
	return []any{string(reply.Data), until(asked, "the question")}
}

func absentService(w *witness) any {
	_, err := w.join("accounts", b).Request("ask.nobody", nil, patience)
	return fmt.Sprint(err)
}

func mappedSubject(w *witness) any {
	client := w.join("accounts", a)
	heard := must(client.SubscribeSync("new.*.*"))
	done(client.Publish("old.x.y", []byte("z")))
	return take(heard, 1)[0].Subject
}

func credentials(text string) nats.Option { return nats.UserCredentialBytes([]byte(text)) }

func credentialsFile(w *witness) any {
	note, errors := noting()
	client := w.join("jwt", credentials(w.Creds["good"]), note)
	subscription := must(client.SubscribeSync("allowed.jwt"))
	done(client.Publish("allowed.jwt", []byte("x")))
	heard := texts(take(subscription, 1))
	done(client.Publish("elsewhere", []byte("no")))
	return []any{heard, until(errors, "the error")}
}

func refusedCredentials(w *witness) any {
	found := map[string]string{}
	for _, name := range []string{"expired", "stranger", "revoked"} {
		found[name] = w.refused("jwt", credentials(w.Creds[name]))
	}
	return found
}

func endingCredentials(w *witness) any {
	note, errors := noting()
	short := w.ask(seen{"wants": "short credentials"})["creds"]
	closed := make(chan bool, 1)
	client := w.join("jwt", credentials(short), note, nats.ClosedHandler(func(*nats.Conn) { closed <- true }))
	until(closed, "the end")
	return []any{until(errors, "the error"), client.IsClosed()}
}

func (w *witness) trust() *tls.Config {
	pool := x509.NewCertPool()
	check(pool.AppendCertsFromPEM([]byte(w.CA)), "no certificate")
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

func overTLS(w *witness) any {
	client := w.join("tls", alice, nats.Secure(w.trust()))
	subscription := must(client.SubscribeSync("tls.one"))
	sent := bytes.Repeat([]byte{7}, 300_000)
	done(client.Publish("tls.one", sent))
	check(bytes.Equal(take(subscription, 1)[0].Data, sent), "another payload")
	state := must(client.TLSConnectionState())
	return []any{client.TLSRequired(), state.Version}
}

func strangeTLS(w *witness) any { return w.refused("tls", alice) }

func firstTLS(w *witness) any {
	client := w.join("first", nats.Secure(w.trust()), nats.TLSHandshakeFirst())
	flush(client)
	return client.TLSRequired()
}

func clientCertificate(w *witness) any {
	config := w.trust()
	config.Certificates = []tls.Certificate{must(tls.X509KeyPair([]byte(w.Certificate), []byte(w.Key)))}
	client := w.join("verify", nats.Secure(config))
	flush(client)
	_, err := w.dial("verify", nats.Secure(w.trust()))
	check(err != nil, "it was let in without a certificate")
	return client.TLSRequired()
}

func mixedTLS(w *witness) any {
	plain, secure := w.join("mixed"), w.join("mixed", nats.Secure(w.trust()))
	subscription := must(plain.SubscribeSync("mixed.one"))
	flush(plain)
	done(secure.Publish("mixed.one", []byte("x")))
	return []any{texts(take(subscription, 1)), plain.TLSRequired(), secure.TLSRequired()}
}

func reconnect(w *witness) any {
	back := make(chan bool, 2)
	options := []nats.Option{
		func(options *nats.Options) error {
			options.AllowReconnect, options.MaxReconnect, options.ReconnectWait = true, -1, 100*time.Millisecond
			return nil
		},
		nats.ReconnectHandler(func(*nats.Conn) { back <- true }),
	}
	reader, writer := w.join("moves", options...), w.join("moves", options...)
	plain, share := must(reader.SubscribeSync("restart.*")), must(reader.QueueSubscribeSync("restart.one", "workers"))
	flush(reader)
	done(writer.Publish("restart.one", []byte("before")))
	heard := append(texts(take(plain, 1)), texts(take(share, 1))...)
	w.ask(seen{"wants": "restart", "of": "moves"})
	until(back, "the first that comes back")
	until(back, "the second that comes back")
	flush(reader)
	done(writer.Publish("restart.one", []byte("after")))
	return append(heard, append(texts(take(plain, 1)), texts(take(share, 1))...)...)
}

func lameDuck(w *witness) any {
	told, closed := make(chan bool, 1), make(chan bool, 1)
	client := w.join("moves",
		nats.LameDuckModeHandler(func(*nats.Conn) { told <- true }),
		nats.ClosedHandler(func(*nats.Conn) { closed <- true }))
	flush(client)
	w.ask(seen{"wants": "lame duck", "of": "moves"})
	until(told, "the announcement")
	refused := w.refused("moves")
	until(closed, "the end")
	w.ask(seen{"wants": "start", "of": "moves"})
	return refused
}

func tooManyConnections(w *witness) any {
	w.join("limits")
	return w.refused("limits")
}
