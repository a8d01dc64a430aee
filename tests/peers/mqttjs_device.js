// A device on mqtt.js: telemetry at every quality of service, one command, its answer.
//
// Argument: {"url", "token", "readings": [[qos, {"ts", "values"}], ...], "answer": {...}, "ca": path or null};
// the url is mqtt://, mqtts://, ws:// or wss://. Says one JSON line a step, as paho_device.py does.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const mqtt = createRequire(process.env.PEERS_NODE + "/")("mqtt");
const WAIT_MS = 60_000;
const RPC = "v1/devices/me/rpc/";
const say = (word, more = {}) => console.log(JSON.stringify({ said: word, ...more }));

setTimeout(() => {
  console.error("nothing came in time");
  process.exit(1);
}, WAIT_MS).unref();

const task = JSON.parse(process.argv[2]);
const client = await mqtt.connectAsync(task.url, {
  username: task.token,
  clientId: "mqttjs",
  protocolVersion: 4,
  reconnectPeriod: 0,
  ...(task.ca ? { ca: readFileSync(task.ca) } : {}),
});
const command = new Promise((resolve) =>
  client.once("message", (topic, payload, packet) => resolve({ topic, payload, packet })),
);
const granted = await client.subscribeAsync(RPC + "request/+", { qos: 1 });
if (granted.length !== 1 || granted[0].qos !== 1) throw new Error("subscription: " + JSON.stringify(granted));
for (const [qos, reading] of task.readings) {
  await client.publishAsync("v1/devices/me/telemetry", JSON.stringify(reading), { qos });
}
say("ready");
const { topic, payload, packet } = await command;
say("command", { topic, qos: packet.qos, retain: packet.retain, ...JSON.parse(payload) });
await client.publishAsync(topic.replace("/request/", "/response/"), JSON.stringify(task.answer), { qos: 1 });
say("answered");
await client.endAsync();
process.exit(0);
