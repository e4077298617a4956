"""`Gallery`: the one face of all stores. Checks what comes in, ranks what is found, says what a distance means."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from intraclip.arrays import as_reals
from intraclip.errors import ConfigError, DataError, IntraclipError, OutputError
from intraclip.gallery.checks import (
    checked_vectors,
    require_once,
    require_same_record,
    require_same_vector,
    require_times,
)
from intraclip.gallery.papers import paper
from intraclip.gallery.records import (
    AddResult,
    AuditEntry,
    Deleted,
    Filters,
    GalleryInfo,
    Judgement,
    Match,
    Page,
    Pictures,
    SearchResult,
    Stats,
    TrackletRecord,
    check_name,
)
from intraclip.gallery.store import Store, Vectors
from intraclip.metrics.distance import DISTANCES, Distance, paired_distances
from intraclip.metrics.embeddings import Embeddings
from intraclip.models.zoo import shipped_calibrations
from intraclip.types import Tracklet

if TYPE_CHECKING:
    from intraclip.embed.network import Network
    from intraclip.metrics.match_probability import MatchCalibration


MAX_RESULTS = 1_000
"""Most answers of a search, and most records of a page."""

TAKES_BACK = frozenset({"delete", "delete-failed", "retract", "label"})
"""Actions that are written to the audit log even when the disk is full, because they are done even then."""

_CALIBRATION = "calibration"
_NETWORK = "network"


def open_gallery(address: str | Path) -> Gallery:
    """Open a gallery that exists.

    Args:
        address: a folder, or ``milvus+http://host:port/name`` (``milvus+https`` with TLS).

    Raises:
        DataError: there is none, or it was written by another version of intraclip.
        DamagedError: it is damaged.
        MissingExtraError: a server's address, and its client library is not installed.
        OutputError: the server does not answer.
    """
    return Gallery(_stores_at(address).open_store(str(address)))


def create_gallery(
    address: str | Path, *, fingerprint: str, dimension: int, metric: Distance = "cosine", model: str = ""
) -> Gallery:
    """Create an empty gallery.

    Args:
        address: as in `open_gallery`; the folder must be new or empty.
        fingerprint: of the model whose embeddings it will take.
        dimension: D, their size.
        metric: ``cosine`` or ``euclidean``.
        model: name of the model, for people.

    Raises:
        ConfigError: a value is out of range.
        MissingExtraError: a server's address, and its client library is not installed.
        OutputError: something is there already, it cannot be written, or the server does not answer.
    """
    if metric not in DISTANCES:
        raise ConfigError(f"metric {metric!r} is not one of {', '.join(DISTANCES)}")
    if not 1 <= dimension <= 32_768:
        raise ConfigError(f"dimension {dimension}: embeddings of 1 to 32,768 numbers are kept")
    if not fingerprint:
        raise ConfigError("the fingerprint is empty; a gallery must know whose embeddings it holds")
    info = GalleryInfo(
        address=str(address),
        fingerprint=fingerprint,
        model=model,
        dimension=dimension,
        metric=metric,
        format_version=0,  # the store says
        created_at=time.time(),
    )
    gallery = Gallery(_stores_at(address).create_store(info))
    for text in shipped_calibrations():
        known = json.loads(text)
        if (known["fingerprint"], known["metric"]) == (fingerprint, metric):
            gallery._store.put_document(_CALIBRATION, text)  # as is: it is known to fit
    return gallery


def is_taken(address: str | Path) -> bool:
    """Whether something is at an address already: a gallery, or anything else that must not be written over.

    Raises:
        MissingExtraError: a server's address, and its client library is not installed.
        OutputError: the server does not answer.
    """
    return bool(_stores_at(address).is_taken(str(address)))


def _stores_at(address: str | Path) -> ModuleType:
    """The module that has `open_store`, `create_store` and `is_taken` for an address."""
    return import_module(f"intraclip.gallery.{'milvus' if is_server(address) else 'folder'}")


@contextmanager
def opened_or_created(
    address: str | Path, *, fingerprint: str, dimension: int, metric: Distance | None = None, model: str = ""
) -> Iterator[Gallery]:
    """Open a gallery to add to, or create it where there is none; the arguments are those of `create_gallery`.

    A gallery that was created here does not outlast an error unless something was added; one that was made for
    something else and never held anything is made anew. One with tracklets of another model is opened, and refuses
    these. Without a metric it is that of a gallery that is there, and ``cosine`` for a new one.

    Raises:
        ConfigError: the gallery that is there measures another distance than `metric`.
        DataError: as `open_gallery`.
        OutputError: as `create_gallery`.
    """

    def create() -> Gallery:
        return create_gallery(
            address, fingerprint=fingerprint, dimension=dimension, metric=metric or "cosine", model=model
        )

    gallery: Gallery | None = None
    if not is_taken(address):
        try:
            gallery = create()
        except OutputError:
            if not is_taken(address):
                raise
            # Another process was quicker: both add to its gallery.
    new = gallery is not None
    gallery = gallery or open_gallery(address)
    info = gallery.info
    try:
        asked = (fingerprint, dimension, metric or info.metric)
        if (info.fingerprint, info.dimension, info.metric) != asked and gallery.discard():
            gallery, new = create(), True
            info = gallery.info
        if metric is not None and metric != info.metric:
            raise ConfigError(
                f"the gallery {address} measures {info.metric} distances, which cannot be changed; leave --distance "
                f"{metric} out, or make a new gallery"
            )
        yield gallery
    except BaseException:
        if new:
            with suppress(IntraclipError):
                gallery.discard()
        raise
    finally:
        gallery.close()


def _is_clip(query: Any) -> bool:
    """Whether a query is pictures, not a vector."""
    if isinstance(query, list | tuple):
        return bool(query) and getattr(query[0], "ndim", 0) == 3
    return isinstance(query, str | Path | Tracklet) or getattr(query, "ndim", 1) == 4


def is_server(address: str | Path) -> bool:
    """Whether an address names a server rather than a folder."""
    return "://" in str(address)


class Gallery:
    """Tracklets with their embeddings: add, search, label, delete.

    One gallery may be open in several processes, and be used from several threads: a search sees what was added or
    deleted before it began. One at a time writes; another waits up to ten seconds, and is then refused.

    `Gallery.open` opens one that is there; `intraclip gallery add` and `create_gallery` make one.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     create_gallery(f"{folder}/people", fingerprint="f00d", dimension=2).close()
    ...     with Gallery.open(f"{folder}/people") as gallery:
    ...         record = TrackletRecord(id="cam1_t0001", camera="lobby", camid=1)
    ...         added = gallery.add([record], np.array([[3, 4]], np.float32), fingerprint="f00d")
    ...         gallery.search([4, 3]).matches[0].record.id
    'cam1_t0001'
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._calibration: tuple[str, MatchCalibration] | None = None
        self._network: Network | None = None

    @classmethod
    def open(cls, address: str | Path) -> Gallery:
        """Open a gallery that exists; see `open_gallery`."""
        return open_gallery(address)

    @property
    def info(self) -> GalleryInfo:
        """What it was made for: model, dimension, metric."""
        return self._store.info

    def __enter__(self) -> Gallery:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release files and connections; nothing needs saving."""
        self._store.close()

    def ready(self) -> None:
        """Do nothing where the gallery can be read and written.

        Raises:
            DamagedError: damage was met, now or before.
            OutputError: the disk is full, or the server does not answer.
        """
        self._store.ready()

    def check(self) -> list[str]:
        """Read everything and compare it with its digests; what is damaged, in words.

        Raises:
            DamagedError: it cannot be read at all.
        """
        return self._store.check()

    def discard(self) -> bool:
        """Remove the gallery, and close it, if nothing was ever added; False if something was."""
        return self._store.discard()

    # -- adding --------------------------------------------------------------------------------------------

    def add(
        self,
        records: Sequence[TrackletRecord],
        vectors: Vectors,
        *,
        fingerprint: str,
        pictures: Sequence[Pictures] | None = None,
    ) -> AddResult:
        """Add tracklets, all or none of them. When this returns they survive a crash.

        Tracklets that are there already with the same content are skipped.

        Args:
            records: N of them; `added_at` is set where it is 0.
            vectors: float32 ``[N, D]``.
            fingerprint: of the model that made the vectors.
            pictures: N of them; none without it.

        Raises:
            DataError: another model's vectors, a wrong size, not finite, a zero vector under ``cosine``, an id twice,
                a tracklet that ends before it starts, or an id that is there with other content. Nothing was added.
            OutputError: it cannot be written, such as on a full disk. Nothing was added.
        """
        self.require_fingerprint(fingerprint)
        if not records:
            return AddResult(added=0, skipped=0)
        pictures = [Pictures()] * len(records) if pictures is None else pictures
        if len(vectors) != len(records) or len(pictures) != len(records):
            raise DataError(
                f"{len(records)} tracklets come with {len(vectors)} vectors and {len(pictures)} sets of pictures; "
                "each needs one"
            )
        vectors = checked_vectors(self.info, vectors, [r.id for r in records])
        require_once(records)
        require_times(records)
        present = self.present(records)
        stored = self._store.vectors(list(present))
        for record, vector in zip(records, vectors, strict=True):
            if record.id in stored:
                require_same_vector(self.info, record.id, stored[record.id], vector)
        new = [i for i, r in enumerate(records) if r.id not in present]
        if new:
            now = time.time()
            self._store.insert(
                [replace(records[i], added_at=records[i].added_at or now) for i in new],
                vectors[new],
                [pictures[i] for i in new],
            )
        return AddResult(added=len(new), skipped=len(present))

    def present(self, records: Sequence[TrackletRecord]) -> set[str]:
        """Ids of those records that are there already.

        Raises:
            DataError: one is there with other content.
        """
        there = self._store.records([r.id for r in records])
        for record in records:
            if record.id in there:
                require_same_record(self.info, there[record.id], record)
        return set(there)

    def require_fingerprint(self, fingerprint: str) -> None:
        """Refuse embeddings of another model.

        Raises:
            DataError: the fingerprint is another one; both are named.
        """
        if fingerprint != self.info.fingerprint:
            raise DataError(
                f"the gallery {self.info.address} holds embeddings of {self.info.model or 'a model'} (fingerprint "
                f"{self.info.fingerprint[:16]}), these are of another model or sampling (fingerprint "
                f"{fingerprint[:16] or 'missing'}); they cannot be compared. Use the gallery's model, or make a "
                "new gallery for this one"
            )

    # -- searching -----------------------------------------------------------------------------------------

    def search(
        self,
        query: Any,
        *,
        fingerprint: str | None = None,
        network: Network | None = None,
        k: int = 10,
        filters: Filters | None = None,
        false_match_rate: float | None = None,
    ) -> SearchResult:
        """The tracklets most similar to an embedding, or to a clip.

        Args:
            query: vector ``[D]``; `Embeddings` of one clip; or a clip as `Network.embed` takes it: uint8
                ``[T, H, W, 3]``, a list of pictures, a folder of frames, a `Tracklet`.
            fingerprint: of the model that made a vector. None: the caller answers for it.
            network: that embeds a clip; by default the gallery's own, see `network`.
            k: answers wanted, 1 to `MAX_RESULTS`.
            filters: which tracklets count.
            false_match_rate: share of strangers that may pass as the same person, inside (0, 1); with a calibration
                each match then says whether it passes.

        Raises:
            ConfigError: `k` or the rate is out of range, or a rate is asked of a gallery without calibration.
            DataError: another model's vector, a wrong size, not finite, or zero under ``cosine``; or a clip, and the
                gallery's network is not known.
        """
        if isinstance(query, Embeddings):
            if len(query) != 1:
                raise DataError(
                    f"{len(query)} embeddings are {len(query)} queries; search with one at a time"
                )
            query, fingerprint = query[0], query.fingerprint
        elif _is_clip(query):
            network = network or self.network()
            query, fingerprint = network.embed([query])[0], network.fingerprint
        if fingerprint is not None:
            self.require_fingerprint(fingerprint)
        vector = as_reals(query, name="the query")
        if vector.ndim != 1:
            raise DataError(f"the query has the shape {list(vector.shape)}; one vector [D] is needed")
        found = checked_vectors(self.info, vector[None], ["the query"])[0]
        return self._search(found, k, filters or Filters(), false_match_rate)

    def network(self) -> Network:
        """The network that the gallery was made with: the one that was noted, else one that is here by name.

        Raises:
            DataError: neither made the gallery's embeddings.
        """
        if self._network is not None:
            return self._network
        from intraclip.embed.default import load_noted, network_of

        why = ""
        text = self._store.document(_NETWORK)
        if text is not None:
            try:
                noted = load_noted(json.loads(text))
                self.require_fingerprint(noted.fingerprint)
            except IntraclipError as error:
                why = f" ({error})"
            else:
                self._network = noted
                return noted
        found = network_of(self.info.fingerprint)
        if found is None:
            raise DataError(
                f"the gallery {self.info.address} holds embeddings of {self.info.model or 'a model'}, which is not "
                f"known here{why}; open it yourself: gallery.search(clip, network=ic.load(...))"
            )
        self._network = found[1]
        return self._network

    def note_network(self, note: Mapping[str, Any]) -> None:
        """Keep what `network` opens; see `intraclip.embed.default.load_noted`."""
        self._store.put_document(_NETWORK, json.dumps(dict(note)))

    def search_tracklet(
        self,
        tracklet: str,
        *,
        k: int = 10,
        filters: Filters | None = None,
        own_camera: bool = False,
        false_match_rate: float | None = None,
    ) -> SearchResult:
        """The tracklets most similar to one of the gallery's own, which is never among the answers.

        `own_camera` searches the tracklet's own camera too; the rest is as for `search`.

        Raises:
            ConfigError: see `search`.
            DataError: no such tracklet.
        """
        record = self.record(tracklet)
        filters = filters or Filters()
        filters = replace(filters, exclude_ids=filters.exclude_ids | {tracklet})
        if not own_camera:
            filters = replace(filters, exclude_cameras=filters.exclude_cameras | {record.camera})
        return self._search(self.vectors([tracklet])[0], k, filters, false_match_rate)

    def _search(
        self, query: Vectors, k: int, filters: Filters, false_match_rate: float | None
    ) -> SearchResult:
        if not 1 <= k <= MAX_RESULTS:
            raise ConfigError(f"k is {k}: 1 to {MAX_RESULTS} answers can be asked for")
        calibration, threshold = self.calibration(), None
        if false_match_rate is not None:
            if calibration is None:
                raise ConfigError(
                    f"a false-match rate needs a calibration, and the gallery {self.info.address} has none; make one "
                    "with `intraclip gallery calibrate`"
                )
            threshold = calibration.threshold(false_match_rate)
        found = self._store.nearest(query, k=k, filters=filters)
        distances = self.distances(query, found.vectors)
        order = sorted(range(len(found.ids)), key=lambda i: (distances[i], found.ids[i]))
        records = self._store.records([found.ids[i] for i in order[:k]])
        if len(records) < min(k, len(order)):  # some were deleted while the search ran: others move up
            records = self._store.records(found.ids)
        best = [i for i in order if found.ids[i] in records][:k]
        likely = None if calibration is None else calibration.probability(distances[best])
        return SearchResult(
            matches=tuple(
                Match(
                    rank=place + 1,
                    record=records[found.ids[i]],
                    distance=float(distances[i]),
                    probability=None if likely is None else float(likely[place]),
                    passes=None if threshold is None else bool(distances[i] < threshold),
                )
                for place, i in enumerate(best)
            ),
            metric=self.info.metric,
            threshold=threshold,
            false_match_rate=false_match_rate,
            exact=found.exact,
        )

    def distances(self, query: Vectors, vectors: Vectors) -> npt.NDArray[np.float32]:
        """Distances ``[N]`` of ``[D]`` from ``[N, D]``: the same in every store, whatever it computes for itself."""
        rows = np.arange(len(vectors))
        return paired_distances(
            query[None],
            vectors,
            rows=np.zeros_like(rows),
            columns=rows,
            distance=self.info.metric,
        )

    # -- reading -------------------------------------------------------------------------------------------

    def record(self, tracklet: str) -> TrackletRecord:
        """One record.

        Raises:
            DataError: no such tracklet.
        """
        found = self._store.records([tracklet]).get(tracklet)
        if found is None:
            raise DataError(
                f"the gallery {self.info.address} has no tracklet {tracklet!r}; `intraclip gallery list` shows them"
            )
        return found

    def find(self, ids: Sequence[str]) -> dict[str, TrackletRecord]:
        """Records of those tracklets that are there."""
        return self._store.records(ids)

    def vectors(self, ids: Sequence[str]) -> Vectors:
        """Embeddings of tracklets, float32 ``[N, D]``, as stored: of length 1 under ``cosine``.

        Raises:
            DataError: one of them is not there.
        """
        found = self._store.vectors(ids)
        self._require(ids, found)
        return np.stack([found[i] for i in ids]) if ids else np.zeros((0, self.info.dimension), np.float32)

    def find_vectors(self, ids: Sequence[str]) -> dict[str, Vectors]:
        """Embeddings ``[D]`` of those of the tracklets that are there; see `vectors`."""
        return self._store.vectors(ids)

    def strip(self, tracklet: str) -> bytes:
        """Film strip of a tracklet, a JPEG file; empty when there is none."""
        return self._store.pictures(tracklet).strip

    def crops(self, tracklet: str) -> tuple[bytes, ...]:
        """A few frames of a tracklet in order of time, JPEG files; for playing it."""
        return self._store.pictures(tracklet).crops

    def page(self, filters: Filters | None = None, *, limit: int = 100, cursor: str = "") -> Page:
        """Records in order of their ids, at most `limit`, 1 to `MAX_RESULTS`; `cursor` is that of the page before.

        Raises:
            ConfigError: the limit is out of range.
        """
        if not 1 <= limit <= MAX_RESULTS:
            raise ConfigError(f"limit is {limit}: a page holds 1 to {MAX_RESULTS} records")
        found = self._store.page(filters or Filters(), limit=limit + 1, after=cursor)
        return Page(records=tuple(found[:limit]), cursor=found[limit - 1].id if len(found) > limit else "")

    def all_records(self, filters: Filters | None = None) -> Iterator[TrackletRecord]:
        """Every record that passes, page by page."""
        cursor = ""
        while True:
            page = self.page(filters, limit=MAX_RESULTS, cursor=cursor)
            yield from page.records
            cursor = page.cursor
            if not cursor:
                return

    def stats(self) -> Stats:
        """Counts."""
        counts = self._store.counts()
        return Stats(info=self.info, calibrated=self.calibration() is not None, **vars(counts))

    def build_index(self) -> str:
        """Make large galleries fast to search; call it after adding many. Returns in words what there is.

        Searches never wait for it: without it they compare every tracklet.
        """
        return self._store.build_index()

    # -- deleting ------------------------------------------------------------------------------------------

    def delete(self, filters: Filters, *, dry_run: bool = False) -> Deleted:
        """Remove tracklets for good: vectors, pictures, records, and what was said about them.

        At least one filter must be given; `dry_run` only counts.

        Raises:
            ConfigError: no filter is given; to delete everything, delete the gallery itself.
            OutputError: it cannot be written. Nothing was removed.
        """
        if filters == Filters():
            raise ConfigError(
                "say which tracklets to delete: ids, people, cameras, sources or an age; to delete everything, remove "
                f"the gallery {self.info.address} itself"
            )
        chosen = self._store.select(filters)
        removed = self._store.remove([b.id for b in chosen], dry_run=dry_run)
        return Deleted(
            ids=tuple(b.id for b in chosen),
            cameras=dict(sorted(Counter(b.camera for b in chosen).items())),
            people=dict(sorted(Counter(b.person for b in chosen if b.person).items())),
            dry_run=dry_run,
            **removed._asdict(),
        )

    # -- what people say -----------------------------------------------------------------------------------

    def set_person(self, ids: Sequence[str], person: str) -> None:
        """Say who is on tracklets; "" takes a label away.

        Raises:
            DataError: a tracklet is not there, or the label is no name.
        """
        check_name(person, what="the person's label")
        self._require(ids)
        self._store.set_person(ids, person)

    def confirm(self, query: str, tracklet: str, *, by: str = "") -> Judgement:
        """A human says that two tracklets show the same person; replaces what was said before about the two.

        Raises:
            DataError: a tracklet is not there, or they are one.
        """
        return self.judge(query, tracklet, same=True, by=by)

    def reject(self, query: str, tracklet: str, *, by: str = "") -> Judgement:
        """A human says that two tracklets show different people; see `confirm`."""
        return self.judge(query, tracklet, same=False, by=by)

    def judge(self, query: str, tracklet: str, *, same: bool, by: str = "") -> Judgement:
        """`confirm` or `reject`."""
        if query == tracklet:
            raise DataError(f"{query!r} was compared with itself; a judgement is about two tracklets")
        check_name(by, what="the name of who judges")
        self._require([query, tracklet])
        judgement = Judgement(query=query, tracklet=tracklet, same=same, by=by, at=time.time())
        self._store.put_judgement(judgement)
        return judgement

    def judged(self, query: str, tracklet: str) -> bool:
        """Whether anything was said about two tracklets, in whichever order."""
        return any({j.query, j.tracklet} == {query, tracklet} for j in self._store.judgements())

    def retract(self, query: str, tracklet: str) -> bool:
        """Forget what was said about two tracklets; False if nothing was."""
        return self._store.drop_judgement(query, tracklet)

    def judgements(self) -> list[Judgement]:
        """All that was said, in order of time."""
        return self._store.judgements()

    def _require(self, ids: Sequence[str], found: Container[str] | None = None) -> None:
        found = self._store.records(ids) if found is None else found
        missing = [i for i in ids if i not in found]
        if missing:
            raise DataError(f"the gallery {self.info.address} has no tracklets {', '.join(missing[:5])}")

    # -- calibration and audit -----------------------------------------------------------------------------

    def calibration(self) -> MatchCalibration | None:
        """What turns distances into probabilities; None when there is none."""
        text = self._store.document(_CALIBRATION)
        if text is None:
            return None
        # Imported here because it brings scipy, most of the time that opening a gallery would take.
        from intraclip.metrics.match_probability import MatchCalibration

        if self._calibration is None or self._calibration[0] != text:
            self._calibration = text, MatchCalibration.from_json_dict(json.loads(text))
        return self._calibration[1]

    def set_calibration(self, calibration: MatchCalibration | None) -> None:
        """Keep a calibration in the gallery, or with None remove it.

        Raises:
            DataError: it was fitted for another model or metric.
        """
        if calibration is None:
            self._store.put_document(_CALIBRATION, None)
            return
        self.require_fingerprint(calibration.fingerprint)
        if calibration.metric != self.info.metric:
            raise DataError(
                f"the calibration is for {calibration.metric} distances, the gallery {self.info.address} measures "
                f"{self.info.metric} ones; fit it for these"
            )
        self._store.put_document(_CALIBRATION, json.dumps(calibration.to_json_dict()))

    # -- papers: what else is kept about tracklets -----------------------------------------------------------

    def papers(
        self, kind: str, *, after: str = "", newest: bool = False, limit: int = 0
    ) -> dict[str, dict[str, Any]]:
        """Papers of a kind by key, in order of their keys; see `intraclip.gallery.papers`.

        At most `limit`, 0 for all, of those whose key is greater than `after`; with `newest` the greatest key first.
        """
        start = f"{kind}/"
        found = self._store.documents(start, after=after and start + after, newest=newest, limit=limit)
        return {name.removeprefix(start): json.loads(text) for name, text in found.items()}

    def put_paper(
        self, kind: str, key: str, content: Mapping[str, Any], tracklets: Sequence[str], *, needs_all: bool
    ) -> None:
        """Keep a paper, in place of one with the same key.

        Raises:
            DataError: one of its tracklets is not there.
        """
        self._require(tracklets)
        self._store.put_document(f"{kind}/{key}", paper(content, tracklets, needs_all=needs_all))

    def add_paper(
        self,
        kind: str,
        next_key: Callable[[], str],
        content: Mapping[str, Any],
        tracklets: Sequence[str],
        *,
        needs_all: bool,
    ) -> str:
        """Keep a new paper under a key of its own, also where other processes add some at the same moment; its key.

        `next_key` gives one that is free as far as the gallery knows, and is asked again where somebody was quicker.

        Raises:
            DataError: one of its tracklets is not there.
        """
        self._require(tracklets)
        text = paper(content, tracklets, needs_all=needs_all)
        while True:
            key = next_key()
            if self._store.add_document(f"{kind}/{key}", text):
                return key

    def drop_paper(self, kind: str, key: str) -> None:
        """Forget a paper, if it is there."""
        self._store.put_document(f"{kind}/{key}", None)

    def linked_alone(self) -> AbstractContextManager[None]:
        """Keep others from linking this gallery meanwhile; they may add, judge, delete and search.

        A server cannot say who links: there, who finds another linking in the end is refused
        (`intraclip.link.kept.keep_in`).

        Raises:
            OutputError: somebody links it now.
        """
        return self._store.linked_alone()

    def audit(self, action: str, detail: Mapping[str, Any], *, actor: str = "", origin: str = "") -> None:
        """Append to the audit log (`AuditEntry`), which outlives what it is about: put no names of people into it.

        Actions of `TAKES_BACK` find room on a full disk too.
        """
        entry = AuditEntry(number=0, at=time.time(), action=action, actor=actor, origin=origin, detail=detail)
        self._store.append_audit(entry, essential=action in TAKES_BACK)

    def audit_log(self, *, limit: int = 100, before: int | None = None) -> list[AuditEntry]:
        """The newest lines of the audit log, newest first; `before` is the number of the last one seen."""
        return self._store.audit(limit=min(max(limit, 1), MAX_RESULTS), before=before)
