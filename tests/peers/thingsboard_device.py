"""A device on a ThingsBoard client library: telemetry, attributes both ways, RPC both ways.

Argument: {"port", "token", "telemetry": {...}, "attributes": {...}, "shared": "key", "answer": {...}}.
Says one JSON line a step: "ready", "shared" (the server changed a shared attribute), "asked" (attributes it asked
for), "limits" (what its own RPC was answered), "command", "answered".
"""
import json
import queue
import sys

from tb_device_mqtt import TBDeviceMqttClient

from thingsboard_version import comes_in, speaks_3_1_1

WAIT_S = 60


def say(word, **more):
    print(json.dumps({"said": word, **more}), flush=True)


def main():
    task = json.loads(sys.argv[1])
    shared, asked, commands = queue.Queue(), queue.Queue(), queue.Queue()
    client = speaks_3_1_1(TBDeviceMqttClient("127.0.0.1", task["port"], task["token"]))
    client.set_server_side_rpc_request_handler(lambda *args: commands.put(args[-2:]))
    client.subscribe_to_attribute(task["shared"], lambda content, *_: shared.put(content))
    client.connect()
    comes_in(client, WAIT_S)
    for sent in (client.send_attributes(task["attributes"]), client.send_telemetry(task["telemetry"])):
        assert sent.get() == 0, "not acknowledged"
    client.request_attributes(client_keys=list(task["attributes"]), shared_keys=[task["shared"]],
                              callback=lambda content, *_: asked.put(content))
    say("ready")
    say("asked", content=asked.get(timeout=WAIT_S))
    say("shared", content=shared.get(timeout=WAIT_S))
    number, content = commands.get(timeout=WAIT_S)
    say("command", **content)
    client.send_rpc_reply(number, json.dumps(task["answer"]), wait_for_publish=True)
    say("answered")
    client.disconnect()


main()
