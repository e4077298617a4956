"""The service: a gallery as an HTTP API and a page in the browser, for this machine or for holders of a token.

The way of a request, outermost first::

    security.SecureHeaders  tells the browser what the page may do
    telemetry.Telemetry     gives it a number, counts and logs it, turns a bug into a plain 500
    security.Gate           host name, token or session, no foreign page behind it; else it ends here
    security.BodyLimit      cuts off what is larger than allowed, while it arrives
    routes/*.py             one file a subject; `app.create_app` puts them together

Searches wait for a free slot (`slots.Slots`) and run in threads, so that the event loop always answers.
"""
