"""`load` opens a network, whatever it is; `Network` turns clips into embeddings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from intraclip.config import TIMM, Recipe
from intraclip.core.progress import Progress
from intraclip.data.in_memory import ArrayTracklet
from intraclip.embed.default import SHIPPED, calibration_of
from intraclip.embed.encoders import open_encoder
from intraclip.embed.extract import collect, extractor_of, load_run, of_tracklets, require_test_tracklets
from intraclip.embed.extractors import Extractor, ExtractSettings, FrameExtractor
from intraclip.errors import ConfigError, DataError, did_you_mean
from intraclip.export.engines import RUNS
from intraclip.metrics.embeddings import Embeddings
from intraclip.models.heads.tap import TAP
from intraclip.models.other_passes import needs_clips
from intraclip.models.zoo import entries, find, resolve, shipped_name
from intraclip.types import UNKNOWN_PID, Split, Tracklet

if TYPE_CHECKING:
    from intraclip.embed.streaming import LiveEmbedder
    from intraclip.metrics.match_probability import MatchCalibration


class Network:
    """A network with everything that turns clips into embeddings; `load` opens one.

    Attributes:
        name: of network and engine, for people.
        settings: how it samples and reads tracklets.
        recipe: of its training; the default one for networks of other people.
    """

    def __init__(self, extractor: Extractor, settings: ExtractSettings, recipe: Recipe | None = None) -> None:
        self.extractor = extractor
        self.settings = settings
        self.recipe = recipe or Recipe()
        self.name = extractor.name

    @property
    def embedding_size(self) -> int:
        """D."""
        return self.extractor.embedding_size

    @cached_property
    def fingerprint(self) -> str:
        """Of network and sampling: embeddings with the same one can be compared."""
        return self.extractor.fingerprint(self.settings.clip)

    @cached_property
    def calibration(self) -> MatchCalibration | None:
        """What its distances mean, where that came with it: for `similarity`; None for other networks."""
        return calibration_of(self.fingerprint)

    def __repr__(self) -> str:
        return f"Network({self.name}, {self.embedding_size} numbers, {self.fingerprint[:12]})"

    def embed(
        self, clips: Any, *, workers: int | None = None, progress: Progress | None = None
    ) -> Embeddings:
        """One embedding a clip: the mean over its frames, as the network samples them.

        Args:
            clips: a list whose items may be arrays or tensors uint8 ``[T, H, W, 3]`` RGB of any size; lists of
                pictures ``[h, w, 3]``; folders of frames; or `Tracklet`. A `Split` stands for its test tracklets,
                and one item for a list of one.
            workers: processes that decode files; by default as the network's recipe says, and none for arrays.
            progress: called with frames done and frames in all.

        Returns:
            In the order of the clips, with names and fingerprint. What has no labels gets pid -2 (unknown), camid 0,
            and is no query.

        Raises:
            DataError: nothing to embed, an item that is no clip, or an embedding that is not finite.
            FrameError: a frame cannot be read.

        >>> import numpy as np
        >>> clips = np.random.default_rng(0).integers(0, 256, (2, 8, 128, 64, 3), dtype=np.uint8)
        >>> load("base").embed(clips)
        Embeddings(2 x 256, 0 queries, 0 pids)
        """
        split = clips if isinstance(clips, Split) else None
        if split is not None:
            require_test_tracklets(split)
        tracklets = split.test if split is not None else tracklets_of(clips)
        if workers is None and all(isinstance(t, ArrayTracklet) for t in tracklets):
            workers = 0
        settings = self.settings if workers is None else replace(self.settings, workers=workers)
        features = collect(self.extractor, tracklets, settings, progress=progress)
        queries = len(split.query) if split is not None else 0
        found = of_tracklets(features, tracklets, queries=queries, fingerprint=self.fingerprint)
        return replace(found, names=_distinct(found.names))

    def live(self, *, max_frames: int = 256, max_tracklets: int = 10_000) -> LiveEmbedder:
        """Embeddings of people who are still being followed: ``live.update(ids, crops)`` behind a tracker.

        A network that samples tracklets evenly, which nobody can while they last, takes all frames.

        Raises:
            ConfigError: its head reads maps or the order of frames.

        >>> import numpy as np
        >>> live = load("base").live()
        >>> live.update(["anna"], [np.zeros((128, 64, 3), np.uint8)]).shape
        (1, 256)
        """
        from intraclip.embed.streaming import LiveEmbedder

        clip = self.settings.clip
        if clip.test_sampling == "even":
            clip = replace(clip, test_sampling="all")
        return LiveEmbedder(self.extractor, clip, max_frames=max_frames, max_tracklets=max_tracklets)


def load(
    source: str | Path = SHIPPED,
    *,
    engine: str | None = None,
    device: str | None = None,
    sampling: Literal["dense", "even", "all"] | None = None,
) -> Network:
    """Open a network.

    Args:
        source: ``base``, the network that comes with the package; a run folder; a file of weights (.safetensors),
            of `intraclip export --part frame` (.onnx, .xml, .pt2), or a description of somebody's network (.toml);
            ``timm:NAME`` with its usual weights; or a name of `intraclip models list`.
        engine: ``torch``, ``onnxruntime``, ``openvino``, or ``auto`` for the fastest exact one that is installed; by
            default torch for a run, and for other networks what they ask for.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; by default as the network's recipe says.
        sampling: of a tracklet's frames: ``dense``, ``even`` or ``all``; by default as its recipe says.

    Raises:
        ConfigError: nothing of that name, or something that does not embed people.
        CheckpointError: no trained network there, a damaged one, or one of the zoo that is not here yet.
        DeviceError: the device is not there.
        MissingExtraError: a package is not installed; the message has the install command.

    >>> load("base")
    Network(base (torch), 256 numbers, 41a751a5cf9a)
    """
    _require_network(source)
    return opened(Path(source), engine=engine, device=device, sampling=sampling)


def opened(
    model: Path,
    *,
    head: Path | None = None,
    engine: str | None = None,
    device: str | None = None,
    sampling: Literal["dense", "even", "all"] | None = None,
) -> Network:
    """As `load`, where it is known that there is a network.

    `head` is a run whose head aggregates the vectors of somebody else's network; by default they are averaged (TAP).

    Raises:
        ConfigError: sizes that do not fit, or a head that reads more than frame vectors on another engine than torch.
    """
    ours = is_ours(model)
    run = resolve(model, kinds=("checkpoint",)) if ours else head
    engine = engine or ("torch" if ours else "auto")
    recipe, frame_head = Recipe(), None
    extractor: Extractor | None = None
    if run is not None:
        in_torch = ours and engine == "torch"
        network, recipe = load_run(run, device=device if in_torch else "cpu")
        frame_head = network.frame_head
        # Only torch runs heads that read maps.
        if in_torch or (ours and engine == "auto" and frame_head is None):
            extractor = extractor_of(network)
        elif frame_head is None:
            raise ConfigError(
                f"{run}: {needs_clips(network)}; other engines and networks give one vector a frame. Use --engine "
                "torch and no other network"
            )
    if extractor is None:
        frames = open_encoder(model, engine=engine, device=device)
        extractor = FrameExtractor(frames, frame_head or TAP(frames.num_features))
    if run is not None and ours and (shipped := shipped_name(run)):  # a gallery shows its name to people
        extractor.name = f"{shipped} ({extractor.name.rpartition('(')[2]}"
    clip = replace(recipe.clip, test_sampling=sampling) if sampling else recipe.clip
    return Network(extractor, ExtractSettings.of(recipe, clip=clip), recipe)


def is_ours(model: Path) -> bool:
    """Whether this stands for a run or checkpoint, with a head of its own; other networks only embed frames."""
    if str(model).startswith(TIMM) or model.suffix.lower() in (".toml", *RUNS):
        return False
    entry = None if model.exists() else find(str(model))
    return entry is None or entry.kind != "re-ID network"


def tracklets_of(clips: Any) -> list[Tracklet]:
    """Clips of any kind that `Network.embed` takes, as tracklets.

    Raises:
        DataError: nothing there, or an item that is no clip.
    """
    alone = isinstance(clips, str | Path | Tracklet) or getattr(clips, "ndim", 5) == 4
    try:
        items: list[Any] = [clips] if alone else list(clips)
    except TypeError:
        raise DataError(f"{type(clips).__name__} is no list of clips; {_CLIPS}") from None
    if not items:
        raise DataError("no clips to embed; give at least one")
    return [_tracklet(item, number) for number, item in enumerate(items)]


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Names with a number where one occurs twice, as those of embeddings must differ.

    >>> _distinct(["a", "b", "a"])
    ('a (1)', 'b', 'a (2)')
    """
    counts, seen = Counter(names), Counter[str]()
    found = []
    for name in names:
        seen[name] += 1
        found.append(f"{name} ({seen[name]})" if counts[name] > 1 else name)
    return tuple(found)


_EMBEDS = ("checkpoint", "re-ID network")
_CLIPS = "a clip is an array uint8 [T, H, W, 3] in RGB, a list of pictures [h, w, 3], a folder of frames, or a Tracklet"


def _tracklet(item: Any, number: int) -> Tracklet:
    if isinstance(item, Tracklet):
        return item
    if isinstance(item, str | Path):
        from intraclip.data.readers.common import list_images  # loads every reader

        folder = Path(item)
        frames = list_images(folder)
        if not frames:
            there = "holds no pictures" if folder.exists() else "is not there"
            what = "is a file" if folder.is_file() else there
            raise DataError(f"{folder} {what}; {_CLIPS}. Videos become tracklets with ic.ingest")
        name = folder.resolve().name
        return Tracklet(name=name, root=folder, frames=tuple(frames), pid=UNKNOWN_PID, camid=0)
    if not hasattr(item, "ndim") and not isinstance(item, list | tuple):
        raise DataError(f"clip {number} is {type(item).__name__}; {_CLIPS}")
    return ArrayTracklet.of(item, name=f"clip {number}")


def _require_network(source: str | Path) -> None:
    """Refuse what is no network, by its name alone."""
    path = Path(source)
    if path.is_dir() or path.suffix == ".safetensors" or not is_ours(path):
        return
    entry = None if path.exists() else find(str(source))
    if entry is not None and entry.kind in _EMBEDS:
        return
    if entry is not None:
        what = f"is a {entry.kind} of the zoo, and embeds nobody"
    else:
        what = "is none of these" if path.exists() else "is not there, and the zoo has no such name"
    zoo = [e.name for e in entries().values() if e.kind in _EMBEDS]
    names = list(dict.fromkeys((SHIPPED, *zoo)))
    hint = did_you_mean(str(source), names)
    raise ConfigError(
        f"{source!s} {what}{hint}. A network is: {SHIPPED}; a run folder; a "
        f"file .safetensors, {', '.join(RUNS)} or .toml; {TIMM}NAME; or one of {', '.join(names[1:])}"
    )
