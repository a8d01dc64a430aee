"""A gateway on a ThingsBoard client library: a child connects, speaks, is commanded and answers.

Argument: {"port", "token", "child", "type", "telemetry": {...}, "attributes": {...}, "answer": {...}}.
Says one JSON line a step: "ready", "command", "answered".
"""
import json
import queue
import sys

from tb_gateway_mqtt import TBGatewayMqttClient

from thingsboard_version import comes_in, is_acknowledged, speaks_3_1_1

WAIT_S = 60


def say(word, **more):
    print(json.dumps({"said": word, **more}), flush=True)


def main():
    task = json.loads(sys.argv[1])
    commands = queue.Queue()
    client = speaks_3_1_1(TBGatewayMqttClient("127.0.0.1", task["port"], task["token"]))
    client.gw_set_server_side_rpc_request_handler(lambda _gateway, content: commands.put(content))
    client.connect()
    comes_in(client, WAIT_S)
    child = task["child"]
    client.gw_connect_device(child, task["type"])
    client.gw_send_attributes(child, task["attributes"])
    sent = client.gw_send_telemetry(child, task["telemetry"])
    assert sent.get() == 0, "not acknowledged"
    say("ready")
    content = commands.get(timeout=WAIT_S)
    say("command", **content)
    is_acknowledged(client.gw_send_rpc_reply(content["device"], content["data"]["id"], task["answer"]))
    say("answered")
    client.gw_disconnect_device(child)
    client.disconnect()


main()
