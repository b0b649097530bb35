// Confluent's own client for Node, through all that it does: it says what it saw as one line of JSON.

"use strict";

const Client = require("kafka-rest");

const [url, topic] = process.argv.slice(2);
const client = new Client({ url, timeout: 20000 });
const seen = {};

function asked(call) {
  return new Promise((resolve, reject) => call((error, answer) => (error ? reject(error) : resolve(answer))));
}

async function main() {
  seen.brokers = (await asked((then) => client.brokers.list(then))).map((broker) => broker.id);
  seen.topics = (await asked((then) => client.topics.list(then))).map((one) => one.name);
  seen.partitions = (await asked((then) => client.topic(topic).partitions.list(then))).map((one) => one.id);
  const placed = await asked((then) => client.topic(topic).produce(["one", { key: "k", value: "two" }], then));
  seen.offsets = placed.offsets.map((one) => one.offset);
  const more = await asked((then) => client.topicPartition(topic, 0).produce(["three"], then));
  seen.offsets.push(...more.offsets.map((one) => one.offset));
  try {
    await asked((then) => client.topic("nothing").produce("x", then));
  } catch (error) {
    seen.refused = [error.status, error.data.error_code];
  }
  const settings = { "auto.offset.reset": "smallest", "auto.commit.enable": "false" };
  const instance = await asked((then) => client.consumer("javascript").join(settings, then));
  const stream = instance.subscribe(topic, { requestDelay: 20 });
  seen.read = [];
  await new Promise((resolve, reject) => {
    stream.on("error", reject);
    stream.on("data", (messages) => {
      for (const { key, value, offset } of messages) seen.read.push([key && key.toString(), value.toString(), offset]);
      if (seen.read.length >= 4) resolve();
    });
  });
  seen.committed = (await asked((then) => instance.commit(then))).map((one) => one.committed);
  await asked((then) => instance.shutdown(then));
  console.log(JSON.stringify(seen));
  process.exit(0);
}

main().catch((error) => {
  console.error(seen, error);
  process.exit(1);
});
