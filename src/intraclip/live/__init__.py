"""Cameras -> tracklets in a gallery as they end, a watch-list, and alerts.

`cameras` reads streams, `follow` finds and follows people in one of them, `live` joins several with one detector and
one network, `watchlist` says who is looked for, and `alerts` what was found; `webhook` and `mqtt` tell others.
"""
