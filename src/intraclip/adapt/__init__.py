"""A network learns a site's own people from tracklets that nobody labelled.

Rounds of four things: embed every tracklet (`look`), group them (`clusters`), train on the groups with
`intraclip.train`, and, in the end, compare with the network that it began with (`guard`). See `adapting`.
"""

from intraclip.core.callable_package import make_callable

make_callable(__name__, module="adapting", function="adapt")
