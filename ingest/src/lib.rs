//! Listeners: MQTT front end, admission, fan-out and downlink.
