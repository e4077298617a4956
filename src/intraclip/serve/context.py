"""What routes share: the gallery, the settings, the slots, the audit log, and what is said where nothing is."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import anyio.to_thread
from fastapi import Depends, Request

from intraclip.errors import ConfigError, DamagedError, DataError, IntraclipError
from intraclip.gallery.gallery import Gallery
from intraclip.gallery.records import TrackletRecord
from intraclip.serve.errors import Refused
from intraclip.serve.looks import Looks, Who
from intraclip.serve.security import NOBODY_ASKED, Asker
from intraclip.serve.settings import ServeSettings
from intraclip.serve.slots import Slots
from intraclip.serve.telemetry import LOGGER, Metrics
from intraclip.serve.tokens import Attempts, Sessions, Token, Tokens
from intraclip.serve.uploads import Decoders

if TYPE_CHECKING:
    from intraclip.adapt.questions import GalleryQuestions
    from intraclip.embed.network import Network
    from intraclip.live.live import Live

Result = TypeVar("Result")

GONE = "the gallery has no such tracklet; it may have been deleted"

ROOM_BYTES = 2**16
"""Must fit on the disk, or the service is not ready: less than a line of the log and its page need."""


class Context:
    """The parts of one running service; all but `stopping` stay as they are.

    Args:
        embedder: for uploads; None where no model was given.
        live: cameras that this process watches; None where it watches none.

    Attributes:
        attempts: wrong tokens of the last minute.
        stopping: set when the service is about to end; it is not ready any more.
    """

    def __init__(
        self, gallery: Gallery, settings: ServeSettings, embedder: Network | None, live: Live | None
    ) -> None:
        self.gallery, self.settings, self.embedder, self.live = gallery, settings, embedder, live
        self.tokens = Tokens(settings.tokens, settings.token_file)
        self.sessions = Sessions(settings.session_s)
        self.attempts = Attempts(settings.login_attempts, settings.login_attempts_all)
        self.decoders = Decoders(settings.decode, settings.decodings)
        self.searching = Slots(settings.searches, settings.waiting)
        self.decoding = Slots(settings.decodings, settings.waiting)
        self.embedding = Slots(settings.embeddings, settings.waiting)
        self.looks = Looks(self._write_look)
        self.stopping = False
        self.metrics = Metrics()
        for name, slots in (("search", self.searching), ("decode", self.decoding), ("embed", self.embedding)):
            self.metrics.watch(name, slots)
        if live is not None:
            self.metrics.watch_cameras(live.status)

    # -- what is there -------------------------------------------------------------------------------------

    def record(self, tracklet: str) -> TrackletRecord:
        """One tracklet.

        Raises:
            Refused: it is not there (404).
        """
        found = self.gallery.find([tracklet]).get(tracklet)
        if found is None:
            raise Refused(404, GONE)
        return found

    def require_two(self, *tracklets: str) -> None:
        """Something may be said of them.

        Raises:
            Refused: they are one (422), or one is not there (404).
        """
        if len(set(tracklets)) < 2:
            raise Refused(422, "a tracklet cannot be judged against itself")
        for tracklet in tracklets:
            self.record(tracklet)

    def require_rate(self, rate: float) -> None:
        """The gallery's calibration says what a false-match rate means.

        Raises:
            Refused: there is none (409), or it does not resolve so small a rate (422).
        """
        calibration = self.gallery.calibration()
        if calibration is None:
            raise Refused(
                409,
                "the gallery has no calibration, so a false-match rate means nothing; run `intraclip gallery "
                "calibrate`",
            )
        if rate < calibration.false_match_rates[-1]:
            raise Refused(
                422,
                f"the calibration resolves false-match rates down to {calibration.false_match_rates[-1]:.3g} only",
            )

    def require_ready(self) -> None:
        """Nothing that is asked now would fail for the service's own sake.

        Raises:
            Refused: the service is about to stop, the gallery is damaged or cannot be read, a disk is full, or the file
                of tokens cannot be used (503).
        """
        if self.stopping:
            raise Refused(503, "the service is about to stop")
        self.valid_tokens()
        try:
            self.gallery.ready()
        except IntraclipError as error:
            # Not the words: they may name tracklets, and nobody has shown a token.
            LOGGER.error("not ready", extra={"fields": {"error": type(error).__name__}})
            what = (
                "is damaged" if isinstance(error, DamagedError) else "cannot be written; the disk may be full"
            )
            raise Refused(503, f"the gallery {what}") from None
        if self.embedder is not None:
            try:
                with tempfile.TemporaryFile() as file:
                    file.write(bytes(ROOM_BYTES))
            except OSError as error:
                raise Refused(503, f"there is no room for temporary files: {error.strerror}") from None

    @cached_property
    def questions(self) -> GalleryQuestions:
        """Chooses what people are asked; opened with the first question, because it needs SciPy."""
        from intraclip.adapt.questions import GalleryQuestions

        return GalleryQuestions(self.gallery)

    # -- who is let in -------------------------------------------------------------------------------------

    def valid_tokens(self) -> tuple[Token, ...]:
        """Tokens that count now.

        Raises:
            Refused: their file cannot be used any more (503).
        """
        if not self.tokens.required:
            return (NOBODY_ASKED,)
        try:
            return self.tokens.current()
        except ConfigError as error:
            LOGGER.error("tokens-unusable", extra={"fields": {"reason": str(error)}})
            raise Refused(503, "the service cannot use its file of tokens; its log says why") from None

    async def admit(self, secret: str, address: str) -> Token | None:
        """The token of a secret; None for a wrong one, which leaves a line in the audit log.

        Raises:
            Refused: too many wrong ones came from there, or from everywhere (429); or see `valid_tokens`.
        """
        wait = self.attempts.wait_s(address)
        if wait:
            raise Refused(
                429,
                f"too many wrong tokens; try again in {math.ceil(wait)} s",
                headers={"Retry-After": str(math.ceil(wait))},
            )
        self.valid_tokens()
        token = self.tokens.find(secret)
        if token is not None:
            self.attempts.succeeded(address)
            return token
        self.attempts.failed(address)
        await anyio.to_thread.run_sync(lambda: self.gallery.audit("login-failed", {}, origin=address))
        return None

    # -- the audit log -------------------------------------------------------------------------------------

    def audited(
        self,
        action: str,
        detail: Mapping[str, Any],
        asker: Asker,
        work: Callable[[], Result],
        *,
        needs: Sequence[str] = (),
    ) -> Result:
        """Do something that the audit log must know, which is written first: what cannot be logged is not done.

        Raises:
            Refused: one of them is not there any more (404).
        """
        self.gallery.audit(action, detail, actor=asker.name, origin=asker.address)
        try:
            return work()
        except Exception as error:
            self.gallery.audit(f"{action}-failed", detail, actor=asker.name, origin=asker.address)
            if isinstance(error, DataError) and set(needs) - self.gallery.find(needs).keys():
                raise Refused(404, GONE) from None
            raise

    def looked(self, asker: Asker, action: str, item: str = "") -> None:
        """Somebody is about to see people; returns when the audit log has it."""
        self.looks.note((action, asker.name, asker.address), item)

    def _write_look(self, who: Who, items: list[str]) -> None:
        action, name, address = who
        told = {"tracklets": items} if any(items) else {}
        self.gallery.audit(action, told, actor=name, origin=address)


def _context(request: Request) -> Any:
    return request.app.state.context


def _asker(request: Request) -> Any:
    return request.state.asker


Served = Annotated[Context, Depends(_context)]
"""A route's parameter: the service."""

Actor = Annotated[Asker, Depends(_asker)]
"""A route's parameter: who asks."""
