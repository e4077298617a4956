"""The gallery: embeddings of tracklets that last, can be searched, and can be deleted for good.

::

    gallery = open_gallery("people")                     # a folder; or "milvus+http://host:19530/people"
    found = gallery.search_tracklet("cam1_t0007", k=10)
    for match in found.matches:
        print(match.rank, match.record.id, match.record.camera, match.distance, match.probability)
"""
