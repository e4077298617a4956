"""Alerts by MQTT, with the tracklet's vector, for other systems on the same network."""

from __future__ import annotations

import queue
import ssl
from typing import Any

from intraclip.core.extras import require_extra
from intraclip.errors import ConfigError
from intraclip.live.senders import NotDeliveredError, address, body_of

TIMEOUT_S = 10.0


class Mqtt:
    """Publishes alerts at a broker, to be delivered at least once; see `intraclip.live.senders.Channel`.

    Args:
        url: ``mqtt://host:1883/topic``, or ``mqtts://`` with TLS; may name a user, never a password.
        password: of the user.

    Raises:
        ConfigError: no such address, or one with a password in it.
        MissingExtraError: paho-mqtt is not installed.
    """

    def __init__(self, url: str, *, password: str = "") -> None:
        parts, host, port = address(url)
        topic = parts.path.strip("/")
        if parts.scheme not in ("mqtt", "mqtts") or not host or not topic or set(url) & set("#?+\0"):
            raise ConfigError(
                "--mqtt wants an address with a topic, such as mqtt://localhost:1883/intraclip/alerts"
            )
        if parts.password:
            raise ConfigError(
                "--mqtt: leave the password out of the address; it comes with --mqtt-password-file"
            )
        self._client_module = require_extra("paho.mqtt.client", extra="mqtt", purpose="alerts by MQTT")
        self._host, self._port = host, port or (8883 if parts.scheme == "mqtts" else 1883)
        self._tls = parts.scheme == "mqtts"
        self._topic = topic
        self._user, self._password = parts.username, password
        self.name = f"mqtt {host}:{self._port}/{topic}"
        self._client: Any = None

    def send(self, message: dict[str, Any], vector: list[float]) -> None:
        """See `Channel`."""
        try:
            client = self._connected()
            told = client.publish(self._topic, body_of({**message, "vector": vector}), qos=1)
            told.wait_for_publish(TIMEOUT_S)
            arrived = told.is_published()
        except (OSError, ValueError, RuntimeError) as error:
            self.close()
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise NotDeliveredError(f"the MQTT broker {self._host} cannot be used: {reason}") from None
        if not arrived:
            self.close()
            raise NotDeliveredError(f"the MQTT broker did not answer within {TIMEOUT_S:g} s")

    def close(self) -> None:
        """See `Channel`."""
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            client.loop_stop()

    def _connected(self) -> Any:
        if self._client is None or not self._client.is_connected():
            self.close()
            mqtt = self._client_module
            client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
            if self._user:
                client.username_pw_set(self._user, self._password)
            if self._tls:
                client.tls_set_context(ssl.create_default_context())
            client.connect_timeout = TIMEOUT_S
            answers: queue.Queue[Any] = queue.Queue()
            # client, userdata, flags, reason, properties
            client.on_connect = lambda *told: answers.put(told[3])
            client.connect(self._host, self._port, keepalive=30)
            client.loop_start()
            self._client = client
            try:
                reason = answers.get(timeout=TIMEOUT_S)
            except queue.Empty:
                raise TimeoutError(f"no answer within {TIMEOUT_S:g} s") from None
            if reason.is_failure:
                raise ConnectionRefusedError(f"it refuses the connection ({reason})")
        return self._client
