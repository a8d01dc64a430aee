"""Points on influxdb-client over line protocol, in every precision and as each of its write types.

Argument: {"url", "token", "device", "points": [[seconds, {field: value}], ...], "bad": "a line that is no line"}.
Says {"said": "written"} once all is acknowledged, then {"said": "refused", "status", "body"} for the bad line.
"""
import json
import sys

from influxdb_client import InfluxDBClient, Point, WritePrecision
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException

#: Precision and how many of it a second has.
PRECISIONS = [(WritePrecision.S, 1), (WritePrecision.MS, 10**3), (WritePrecision.US, 10**6), (WritePrecision.NS, 10**9)]


def say(word, **more):
    print(json.dumps({"said": word, **more}), flush=True)


def main():
    task = json.loads(sys.argv[1])
    with InfluxDBClient(url=task["url"], token=task["token"], org="city", timeout=30_000) as client:
        api = client.write_api(write_options=SYNCHRONOUS)
        for number, (seconds, fields) in enumerate(task["points"]):
            precision, per_second = PRECISIONS[number % len(PRECISIONS)]
            point = Point("weather").tag("device", task["device"]).time(int(seconds * per_second), precision)
            for field, value in fields.items():
                point = point.field(field, value)
            api.write(bucket="onemap", record=point, write_precision=precision)
        say("written")
        try:
            api.write(bucket="onemap", record=task["bad"], write_precision=WritePrecision.MS)
            say("taken")
        except ApiException as refusal:
            say("refused", status=refusal.status, body=refusal.body)


main()
