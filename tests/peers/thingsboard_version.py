"""What the two generations of the library need to be told apart for."""


def speaks_3_1_1(client):
    """Releases from 1.8 on ask for MQTT 5; version and session are paho's own settings. No change to 1.4."""
    client._client._protocol = 4
    client._client._clean_session = True
    return client
