"""Groups the tracklets of several cameras into people.

`travel` and `evidence` say what speaks for and against a pair being one person, `agglomeration` groups, `people` is
the whole of it, `scores` compares with known identities, and `output` writes the tables.
"""

from intraclip.core.callable_package import make_callable

make_callable(__name__, module="linking", function="link")
