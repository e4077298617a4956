"""A real RTSP server on loopback: GStreamer's, by Debian's packages, in a process of the system's Python.

    python3 rtsp_server.py FILE.h264 PORT

Serves the stream at rtsp://127.0.0.1:PORT/live, over and over, to whoever asks.
"""

from __future__ import annotations

import sys


def main() -> None:
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtspServer

    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(sys.argv[2])
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(
        f'( multifilesrc location="{sys.argv[1]}" loop=true '
        'caps="video/x-h264,stream-format=byte-stream,framerate=10/1" '
        "! h264parse ! identity sync=true ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
    )
    server.get_mount_points().add_factory("/live", factory)
    server.attach(None)
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
