"""A device on paho-mqtt: telemetry at every quality of service, one command, its answer.

Argument: {"port", "token", "readings": [[qos, {"ts", "values"}], ...], "answer": {...}}.
Says one JSON line a step: {"said": "ready"} once all is acknowledged, {"said": "command", ...}, {"said": "answered"}.
"""
import json
import queue
import sys

import paho.mqtt.client as mqtt

WAIT_S = 60
RPC = "v1/devices/me/rpc/"


def say(word, **more):
    print(json.dumps({"said": word, **more}), flush=True)


def main():
    task = json.loads(sys.argv[1])
    connected, subscribed, commands = queue.Queue(), queue.Queue(), queue.Queue()
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="paho", protocol=mqtt.MQTTv311)
    client.username_pw_set(task["token"])
    client.on_connect = lambda _client, _data, _flags, reason, _properties: connected.put(reason)
    client.on_subscribe = lambda _client, _data, _id, reasons, _properties: subscribed.put(reasons)
    client.on_message = lambda _client, _data, message: commands.put(message)
    client.connect("127.0.0.1", task["port"], keepalive=30)
    client.loop_start()
    reason = connected.get(timeout=WAIT_S)
    assert not reason.is_failure, f"refused: {reason}"
    client.subscribe(RPC + "request/+", qos=1)
    reasons = subscribed.get(timeout=WAIT_S)
    assert [r.value for r in reasons] == [1], f"subscription: {reasons}"
    for qos, reading in task["readings"]:
        sent = client.publish("v1/devices/me/telemetry", json.dumps(reading), qos=qos)
        sent.wait_for_publish(WAIT_S)
        assert sent.is_published(), f"no end of a QoS {qos} message"
    say("ready")
    message = commands.get(timeout=WAIT_S)
    say("command", topic=message.topic, qos=message.qos, retain=message.retain, **json.loads(message.payload))
    number = message.topic.removeprefix(RPC + "request/")
    answer = client.publish(f"{RPC}response/{number}", json.dumps(task["answer"]), qos=1)
    answer.wait_for_publish(WAIT_S)
    assert answer.is_published(), "the answer was not acknowledged"
    say("answered")
    client.disconnect()
    client.loop_stop()


main()
