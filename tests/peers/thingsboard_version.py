"""What both generations of the library need around them."""
import time


def speaks_3_1_1(client):
    """Releases from 1.8 on ask for MQTT 5; version and session are paho's own settings. No change to 1.4."""
    client._client._protocol = 4
    client._client._clean_session = True
    return client


def comes_in(client, limit_s):
    """Waits for the CONNACK. The library takes its callback only after it may have come already."""
    end = time.monotonic() + limit_s
    while not client.is_connected():
        assert time.monotonic() < end, "the server let nobody in"
        time.sleep(0.01)


def is_acknowledged(sent):
    """Waits for the PUBACK; some calls give the library's own object, in 1.4 some paho's."""
    sent.get() if hasattr(sent, "get") else sent.wait_for_publish(30)
