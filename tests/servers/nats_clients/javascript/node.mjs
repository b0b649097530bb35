// In Node: lines of JSON on standard input and output.  The first line in is what to do; `ask` is a line out that waits
// for one in.

import { createInterface } from "node:readline";
import { wsconnect } from "@nats-io/nats-core";
import { connect } from "@nats-io/transport-node";
import WebSocket from "ws";
import { run } from "./behaviours.mjs";

globalThis.WebSocket = WebSocket; // Node 20 has none

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const next = async () => JSON.parse((await lines.next()).value);
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const ask = async (question) => {
  say(question);
  return next();
};

const main = async () => {
  const config = await next();
  const transport = config.transport;
  await run({ connect: transport === "tcp" ? connect : wsconnect, config, say, ask, transport });
  process.exit(0);
};

main();
