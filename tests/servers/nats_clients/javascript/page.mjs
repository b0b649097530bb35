// In a page: what to do comes from where the page came from, and goes there.

import { wsconnect } from "@nats-io/nats-core";
import { run } from "./behaviours.mjs";

const post = async (line) => (await fetch("/line", { method: "POST", body: JSON.stringify(line) })).json();
const config = await (await fetch("/config")).json();
await run({ connect: wsconnect, config, say: post, ask: post, transport: "websocket" });
