// What a NATS client sees of a broker, one function for each behaviour, with the NATS client for JavaScript.
//
// A function gives what was seen as plain data: the same must be seen of every broker.  What it knows must be so, it
// checks by itself.  `connect` is the transport's (TCP, WebSocket in Node, or WebSocket in a page).  Each function has
// subjects of its own, as one broker serves them all.

import {
  createInbox,
  credsAuthenticator,
  Empty,
  errors,
  headers,
  nkeyAuthenticator,
} from "@nats-io/nats-core";

const SECONDS = 10;
const encode = (text) => new TextEncoder().encode(text);
const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

function check(condition, what) {
  if (!condition) throw new Error(`expected ${what}`);
}

function within(promise, what, seconds = SECONDS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing within ${seconds} s`)), seconds * 1000);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// How an error looks to a program: the classes on the way to its cause, and what they know.
function described(error) {
  const found = [];
  for (let each = error; each; each = each.cause) {
    const { name, operation, subject, queue } = each;
    const lost = ["EPIPE", "ECONNRESET"].includes(each.code);
    found.push(Object.fromEntries(Object.entries({ name, operation, subject, queue, lost }).filter((e) => e[1])));
  }
  return found;
}

async function failure(promise) {
  let result;
  try {
    result = await promise;
  } catch (error) {
    return described(error);
  }
  if (result?.close) await result.close();
  throw new Error("it did not fail");
}

async function take(subscription, count) {
  const found = [];
  const all = (async () => {
    for await (const message of subscription) {
      found.push(message);
      if (found.length === count) return;
    }
  })();
  await within(all, `message ${found.length + 1} of ${count} to ${subscription.getSubject()}`);
  check(found.length === count, `${count} messages and not ${found.length}`);
  return found;
}

const texts = (messages) => messages.map((message) => message.string());

// Wait until the broker has dealt with all that `client` sent, and what came of it is here.
const settle = (client) => within(client.flush(), "flush");

// The statuses of a connection, by type, as a promise for the first of each.
function watch(client) {
  const seen = [];
  const waiting = new Map();
  (async () => {
    for await (const status of client.status()) {
      seen.push(status);
      waiting.get(status.type)?.(status);
    }
  })().catch(() => {});
  return {
    seen,
    until: (type) =>
      within(
        new Promise((resolve) => {
          const found = seen.find((status) => status.type === type);
          if (found) resolve(found);
          else waiting.set(type, resolve);
        }),
        `the status ${type}`,
        20,
      ),
  };
}

export function behaviours({ connect, config, ask, transport }) {
  const { places, ca, certificate, key } = config;
  const tcp = transport === "tcp";
  const url = (place) => (tcp ? places[place].nats : places[place].websocket);
  const opened = [];
  const join = async (place, options = {}) => {
    const client = await within(
      connect({ servers: url(place), reconnect: false, timeout: SECONDS * 1000, ...options }),
      `connection to ${place}`,
    );
    opened.push(client);
    return client;
  };
  // The error that a connection must end in.  A server that closes may reset, and the error is lost: then it is tried again.
  const refused = async (place, options) => {
    for (let i = 0; i < 50; i++) {
      const found = await failure(join(place, options));
      if (!found.some(({ lost }) => lost)) return found;
    }
    throw new Error("no reason is given");
  };
  const alice = { user: "alice", pass: "secret" };
  const trust = tcp ? { tls: { ca } } : {};

  const all = {
    async connect() {
      const client = await join("plain", { name: "a name" });
      const { headers, max_payload, proto, client_id, client_ip, server_id, host, port, nonce, ...rest } = client.info;
      check(client_id > 0, "a client_id");
      check(port === Number(new URL(url("plain")).port), "the port of this listener in INFO");
      check(server_id, "a server_id");
      const { auth_required, tls_required, tls_available, tls_verify } = rest;
      return { headers, max_payload, proto, client_ip, nonce, auth_required, tls_required, tls_available, tls_verify };
    },

    async "publish and subscribe"() {
      const [reader, writer] = [await join("plain"), await join("plain")];
      const subscription = reader.subscribe("basic.one");
      await settle(reader);
      writer.publish("basic.other", "not this");
      writer.publish("basic.one", "hello", { reply: "basic.back" });
      const [message] = await take(subscription, 1);
      return [message.subject, message.reply, message.string(), message.headers ?? null];
    },

    async "payload sizes"() {
      const client = await join("plain");
      const subscription = client.subscribe("size");
      const sizes = [0, 1, 127, 4096, 65536, 65537, client.info.max_payload - 1, client.info.max_payload];
      for (const size of sizes) client.publish("size", new Uint8Array(size).fill(size % 251));
      const messages = await take(subscription, sizes.length);
      messages.forEach((message, i) => {
        check(message.data.every((byte) => byte === sizes[i] % 251), `the payload of ${sizes[i]} bytes unchanged`);
      });
      return messages.map((message) => message.data.length);
    },

    async wildcards() {
      const client = await join("plain");
      const patterns = ["wild.*", "wild.>", "wild.*.b", "*.a", "wild.*.>", "*.*.*.*", "wild.a", "été.*"];
      const found = Object.fromEntries(patterns.map((pattern) => [pattern, []]));
      for (const pattern of patterns) {
        client.subscribe(pattern, { callback: (_error, message) => found[pattern].push(message.subject) });
      }
      for (const subject of ["wild", "wild.a", "wild.b", "wild.a.b", "wild.a.b.c", "other.a", "été.œuf"]) {
        client.publish(subject);
      }
      await settle(client);
      return found;
    },

    async "queue group"() {
      const members = [await join("plain"), await join("plain"), await join("plain")];
      const writer = await join("plain");
      const shares = members.map(() => []);
      const everything = [];
      members.forEach((member, i) => {
        member.subscribe("queue.one", { queue: "workers", callback: (_error, m) => shares[i].push(m.string()) });
      });
      members[0].subscribe("queue.*", { callback: (_error, message) => everything.push(message.string()) });
      for (const member of members) await settle(member);
      const sent = Array.from({ length: 600 }, (_, i) => `${i}`);
      for (const text of sent) writer.publish("queue.one", text);
      await settle(writer);
      for (const member of members) await settle(member);
      check(Math.min(...shares.map((share) => share.length)) > 100, "a fair part for each member");
      check(everything.join() === sent.join(), "all messages in order for the plain subscription");
      return shares.flat().map(Number).sort((a, b) => a - b).length;
    },

    async "request and reply"() {
      const [server, client] = [await join("plain"), await join("plain")];
      server.subscribe("request.one", { callback: (_error, message) => message.respond(`re:${message.string()}`) });
      await settle(server);
      const shared = await client.request("request.one", "a", { timeout: 5000 });
      const own = await client.request("request.one", "b", { timeout: 5000, noMux: true, reply: createInbox() });
      const many = await Promise.all(
        Array.from({ length: 200 }, (_, i) => client.request("request.one", `${i}`, { timeout: 5000 })),
      );
      check(texts(many).every((text, i) => text === `re:${i}`), "the right answer to each of many requests");
      return [shared.string(), own.string()];
    },

    async "request many"() {
      const [server, client] = [await join("plain"), await join("plain")];
      for (const name of ["a", "b", "c"]) {
        server.subscribe("many.one", { callback: (_error, message) => message.respond(name) });
      }
      await settle(server);
      const found = [];
      const options = { strategy: "count", maxMessages: 3, maxWait: 5000 };
      for await (const message of await client.requestMany("many.one", Empty, options)) found.push(message.string());
      const stalled = [];
      const patient = { strategy: "stall", stall: 500, maxWait: 5000 };
      for await (const message of await client.requestMany("many.one", Empty, patient)) stalled.push(message.string());
      return [found.sort(), stalled.sort()];
    },

    async headers() {
      const [server, client] = [await join("plain"), await join("plain")];
      const heard = [];
      server.subscribe("headers.one", {
        callback: (_error, message) => {
          heard.push([...message.headers].map(([name, values]) => [name, values]), message.string());
          const answer = headers();
          answer.set("Answer", "oui");
          message.respond("pong", { headers: answer });
        },
      });
      await settle(server);
      const asked = headers();
      asked.append("Question", "a: b");
      asked.append("Question", "again");
      asked.set("Egg", "œuf");
      const reply = await client.request("headers.one", "ping", { timeout: 5000, headers: asked });
      const alone = client.subscribe("headers.two");
      client.publish("headers.two", Empty, { headers: asked });
      const [message] = await take(alone, 1);
      return [heard, reply.headers.get("Answer"), reply.string(), message.headers.values("Question"), message.data.length];
    },

    async "no responders"() {
      const client = await join("plain");
      const began = Date.now();
      const errors = [
        await failure(client.request("nobody.here", "?", { timeout: 9000 })),
        await failure(client.request("nobody.here", "?", { timeout: 9000, noMux: true, reply: createInbox() })),
      ];
      check(Date.now() - began < 5000, "an answer at once");
      return errors;
    },

    async "request without an answer"() {
      const [deaf, client] = [await join("plain"), await join("plain")];
      deaf.subscribe("silent.one");
      await settle(deaf);
      return failure(client.request("silent.one", "?", { timeout: 200 }));
    },

    async "auto-unsubscribe"() {
      const [reader, writer] = [await join("plain"), await join("plain")];
      const subscription = reader.subscribe("auto.one", { max: 3 });
      const later = reader.subscribe("auto.one");
      await settle(reader);
      for (let i = 0; i < 5; i++) writer.publish("auto.one", `${i}`);
      await settle(writer);
      await settle(reader);
      const first = [];
      for await (const message of subscription) first.push(message.string());
      const before = reader.stats().inMsgs;
      later.unsubscribe(5);
      await settle(reader);
      writer.publish("auto.one", "too late");
      await settle(writer);
      await settle(reader);
      return [first, before, reader.stats().inMsgs - before];
    },

    async unsubscribe() {
      const client = await join("plain");
      const [gone, stays] = [client.subscribe("unsub.one"), client.subscribe("unsub.one")];
      gone.unsubscribe();
      client.publish("unsub.one", "x");
      const messages = texts(await take(stays, 1));
      await settle(client);
      return [messages, client.stats().inMsgs];
    },

    async "no echo"() {
      const [quiet, other] = [await join("plain", { noEcho: true }), await join("plain")];
      const subscription = quiet.subscribe("noecho.one");
      await settle(quiet);
      quiet.publish("noecho.one", "mine");
      await settle(quiet);
      other.publish("noecho.one", "theirs");
      const heard = texts(await take(subscription, 1));
      return [heard, await failure(quiet.request("noecho.one", "?", { timeout: 5000 }))];
    },

    async "drain a subscription"() {
      const [reader, writer] = [await join("plain"), await join("plain")];
      const handled = [];
      const subscription = reader.subscribe("drain.one", { callback: (_error, m) => handled.push(m.string()) });
      await settle(reader);
      for (let i = 0; i < 500; i++) writer.publish("drain.one", `${i}`);
      await settle(writer);
      await within(subscription.drain(), "drain");
      writer.publish("drain.one", "too late");
      await settle(writer);
      await settle(reader);
      return [handled.length, handled.at(-1), subscription.isClosed()];
    },

    async "drain a connection"() {
      const [other, worker] = [await join("plain"), await join("plain")];
      const results = [];
      other.subscribe("drain.results", { callback: (_error, message) => results.push(message.string()) });
      worker.subscribe("drain.jobs", { callback: (_error, m) => worker.publish("drain.results", m.string()) });
      await settle(worker);
      await settle(other);
      for (let i = 0; i < 500; i++) other.publish("drain.jobs", `${i}`);
      await settle(other);
      await within(worker.drain(), "drain");
      await settle(other);
      return [results.length, results.at(-1), worker.isClosed()];
    },

    async "flush and round trip"() {
      const client = await join("plain");
      const subscription = client.subscribe("flush.one");
      for (let i = 0; i < 100; i++) {
        client.publish("flush.one");
        await settle(client);
      }
      const time = await client.rtt();
      check(time >= 0 && time < 5000, "a round trip time");
      return (await take(subscription, 100)).length;
    },

    async "many messages in order"() {
      const [reader, writer] = [await join("plain"), await join("plain")];
      const count = 20_000;
      const found = [];
      const complete = new Promise((resolve) => {
        reader.subscribe("order.>", {
          callback: (_error, message) => {
            found.push(message.string());
            if (found.length === count) resolve();
          },
        });
      });
      await settle(reader);
      for (let i = 0; i < count; i++) writer.publish(i % 2 ? "order.odd" : "order.even", `${i}`);
      await settle(writer);
      await within(complete, "all messages", 20);
      return found.every((text, i) => text === `${i}`);
    },

    async "many subscriptions"() {
      const [reader, writer] = [await join("plain"), await join("plain")];
      const tally = new Map();
      const subscriptions = Array.from({ length: 1000 }, (_, i) =>
        reader.subscribe(`subs.${i}`, {
          callback: (_error, message) => {
            check(message.subject === `subs.${i}`, "the right subscription");
            tally.set(i, (tally.get(i) ?? 0) + 1);
          },
        })
      );
      await settle(reader);
      for (let i = 0; i < 2000; i++) writer.publish(`subs.${i % 1000}`);
      await settle(writer);
      await settle(reader);
      for (const subscription of subscriptions) subscription.unsubscribe();
      return [tally.size, Math.min(...tally.values()), Math.max(...tally.values())];
    },

    async "verbose and pedantic"() {
      const client = await join("plain", { verbose: true, pedantic: true });
      client.subscribe("verbose.echo", { callback: (_error, message) => message.respond(message.data) });
      const subscription = client.subscribe("verbose.one", { queue: "workers" });
      for (let i = 0; i < 100; i++) client.publish("verbose.one", `${i}`);
      const heard = texts(await take(subscription, 100));
      return [heard.length, (await client.request("verbose.echo", "x", { timeout: 5000 })).string()];
    },

    async "payload over the limit"() {
      const client = await join("plain");
      const subscription = client.subscribe("over.one");
      let refused;
      try {
        client.publish("over.one", new Uint8Array(client.info.max_payload + 1));
      } catch (error) {
        refused = described(error);
      }
      client.publish("over.one", "x");
      return [refused, texts(await take(subscription, 1))];
    },

    async "user and password"() {
      const client = await join("users", alice);
      const subscription = client.subscribe("login.one");
      client.publish("login.one", "by password");
      return [client.info.auth_required, texts(await take(subscription, 1))];
    },

    async "bcrypt password"() {
      const client = await join("users", { user: "hashed", pass: "a longer secret" });
      await settle(client);
      return true;
    },

    async "refused logins"() {
      const wrong = {
        "wrong password": { user: "alice", pass: "wrong" },
        "empty password": { user: "alice", pass: "" },
        "unknown user": { user: "nobody", pass: "secret" },
        "a token": { token: "t0ken" },
        "none": {},
      };
      const seen = {};
      for (const [name, options] of Object.entries(wrong)) seen[name] = await refused("users", options);
      seen["wrong token"] = await refused("token", { token: "wrong" });
      return seen;
    },

    async token() {
      const client = await join("token", { token: "t0ken" });
      await settle(client);
      return client.info.auth_required;
    },

    async nkey() {
      const client = await join("users", { authenticator: nkeyAuthenticator(encode(config.seed)) });
      await settle(client);
      return refused("users", { authenticator: nkeyAuthenticator(encode(config.strange_seed)) });
    },

    async "no credentials where somebody stands for them"() {
      const client = await join("accounts");
      const subscription = client.subscribe("public.one");
      client.publish("public.one", "x");
      return texts(await take(subscription, 1)); // INFO says after the login that one was required, and not before
    },

    async "denied publish"() {
      const guest = await join("users", { user: "guest", pass: "secret" });
      const statuses = watch(guest);
      guest.publish("denied.one", "no");
      const { error } = await statuses.until("error");
      await settle(guest);
      return [described(error), guest.isClosed()];
    },

    async "denied subscription"() {
      const guest = await join("users", { user: "guest", pass: "secret" });
      const seen = [];
      for (const [pattern, queue] of [["denied.two", undefined], ["*.one", undefined], [">", "workers"]]) {
        const subscription = guest.subscribe(pattern, { queue });
        let error;
        try {
          await take(subscription, 1);
        } catch (thrown) {
          error = thrown;
        }
        seen.push(described(error));
      }
      await settle(guest);
      return [seen, guest.isClosed()];
    },

    async "a request that is denied"() {
      const guest = await join("users", { user: "guest", pass: "secret" });
      return failure(guest.request("denied.three", "?", { timeout: 5000 }));
    },

    async "a deny within an allow"() {
      const [guest, writer] = [await join("users", { user: "guest", pass: "secret" }), await join("users", alice)];
      const subscription = guest.subscribe("guest.>");
      await settle(guest);
      for (const subject of ["guest.secret", "guest.open"]) writer.publish(subject, subject);
      return texts(await take(subscription, 1));
    },

    async "answers that are allowed"() {
      const [server, client] = [await join("users", { user: "service", pass: "secret" }), await join("users", alice)];
      const statuses = watch(server);
      server.subscribe("service.one", {
        callback: (_error, message) => {
          message.respond("first");
          message.respond("second");
        },
      });
      await settle(server);
      const inbox = client.subscribe(createInbox("answers"));
      client.publish("service.one", "?", { reply: inbox.getSubject() });
      const heard = texts(await take(inbox, 1));
      const { error } = await statuses.until("error");
      await settle(client);
      return [heard, described(error).map(({ name, operation }) => [name, operation]), inbox.getReceived()];
    },

    async "accounts are separate"() {
      const [one, two] = [await join("accounts", { user: "a", pass: "secret" }), await join("accounts", { user: "b", pass: "secret" })];
      const heard = two.subscribe("private.>");
      await settle(two);
      one.publish("private.one", "of a");
      await settle(one);
      two.publish("private.one", "of b");
      return texts(await take(heard, 1));
    },

    async "stream of another account"() {
      const [one, two] = [await join("accounts", { user: "a", pass: "secret" }), await join("accounts", { user: "b", pass: "secret" })];
      const heard = two.subscribe("from.a.>");
      await settle(two);
      one.publish("news.sport", "goal");
      const [message] = await take(heard, 1);
      return [message.subject, message.string()];
    },

    async "service of another account"() {
      const [one, two] = [await join("accounts", { user: "a", pass: "secret" }), await join("accounts", { user: "b", pass: "secret" })];
      const asked = [];
      one.subscribe("help.me", {
        callback: (_error, message) => {
          asked.push(message.subject);
          message.respond(`re:${message.string()}`);
        },
      });
      await settle(one);
      const reply = await two.request("ask.a", "how", { timeout: 5000 });
      return [reply.string(), asked];
    },

    async "service of another account that nobody gives"() {
      const two = await join("accounts", { user: "b", pass: "secret" });
      return failure(two.request("ask.nobody", "how", { timeout: 5000 }));
    },

    async "mapped subject"() {
      const client = await join("accounts", { user: "a", pass: "secret" });
      const heard = client.subscribe("new.*.*");
      client.publish("old.x.y", "z");
      return (await take(heard, 1)).map((message) => [message.subject, message.string()]);
    },

    async "credentials file"() {
      const client = await join("jwt", { authenticator: credsAuthenticator(encode(config.creds.good)) });
      const subscription = client.subscribe("allowed.jwt");
      client.publish("allowed.jwt", "x");
      const heard = texts(await take(subscription, 1));
      const statuses = watch(client);
      client.publish("elsewhere", "no");
      return [heard, described((await statuses.until("error")).error)];
    },

    async "credentials that are refused"() {
      const seen = {};
      for (const name of ["expired", "stranger", "revoked"]) {
        seen[name] = await refused("jwt", { authenticator: credsAuthenticator(encode(config.creds[name])) });
      }
      return seen;
    },

    async "credentials that end"() {
      const { creds } = await ask({ wants: "short credentials" });
      const client = await join("jwt", { authenticator: credsAuthenticator(encode(creds)) });
      const error = await within(client.closed(), "the end", 20);
      return described(error);
    },

    async TLS() {
      const client = await join("tls", { ...alice, ...trust });
      const subscription = client.subscribe("tls.one");
      client.publish("tls.one", new Uint8Array(300_000).fill(7));
      const [message] = await take(subscription, 1);
      const { tls_required, tls_verify, tls_available } = client.info;
      return [message.data.length, message.data.every((byte) => byte === 7), tls_required, tls_verify, tls_available];
    },

    async "reconnect after a restart"() {
      const options = { reconnect: true, maxReconnectAttempts: -1, reconnectTimeWait: 100, ignoreAuthErrorAbort: true };
      const [reader, writer] = [await join("moves", options), await join("moves", options)];
      const statuses = [watch(reader), watch(writer)];
      const [plain, share] = [reader.subscribe("restart.*"), reader.subscribe("restart.one", { queue: "workers" })];
      await settle(reader);
      writer.publish("restart.one", "before");
      await settle(writer);
      await settle(reader);
      await ask({ wants: "restart", of: "moves" });
      for (const status of statuses) await status.until("reconnect");
      await settle(reader);
      writer.publish("restart.one", "after");
      await settle(writer);
      await settle(reader);
      return [plain, share].map((subscription) => subscription.getReceived());
    },

    async "lame duck"() {
      const client = await join("moves");
      const statuses = watch(client);
      await settle(client);
      await ask({ wants: "lame duck", of: "moves" });
      await statuses.until("ldm");
      const refused = await failure(join("moves"));
      await within(client.closed(), "the end", 30);
      await ask({ wants: "start", of: "moves" });
      return refused.map(({ name }) => name);
    },

    async "too many connections"() {
      await join("limits");
      return (await failure(join("limits"))).length > 0; // in whose words, depends on what the client sees first
    },
  };

  if (tcp) {
    Object.assign(all, {
      async "TLS that nobody vouches for"() {
        return (await failure(join("tls", alice))).length > 0;
      },

      async "TLS first"() {
        const client = await join("first", { tls: { ca, handshakeFirst: true } });
        await settle(client);
        return client.info.tls_required;
      },

      async "client certificate"() {
        const client = await join("verify", { tls: { ca, cert: certificate, key } });
        await settle(client);
        check((await failure(join("verify", trust))).length > 0, "an error without a certificate");
        return [client.info.tls_required, client.info.tls_verify];
      },

      async "TLS for those who want it"() {
        const [plain, secure] = [await join("mixed", { tls: null }), await join("mixed", { tls: { ca } })];
        const subscription = plain.subscribe("mixed.one");
        await settle(plain);
        secure.publish("mixed.one", "x");
        const { tls_required, tls_available } = plain.info;
        return [texts(await take(subscription, 1)), tls_required, tls_available];
      },
    });
  }

  const close = async () => {
    for (const client of opened.splice(0)) await client.close();
  };
  return { all, close };
}

// Do them all, or those that `config.only` names; `say` each as it ends.
export async function run({ connect, config, say, ask, transport }) {
  const { all, close } = behaviours({ connect, config, ask, transport });
  for (const [behaviour, act] of Object.entries(all)) {
    if (config.only && !config.only.includes(behaviour)) continue;
    try {
      await say({ behaviour, seen: (await within(act(), "the whole", 60)) ?? null });
    } catch (error) {
      await say({ behaviour, failed: `${error?.stack ?? error} ${error?.cause ?? ""}` });
    } finally {
      await close();
    }
  }
  await sleep(0);
  await say({ end: true });
}
