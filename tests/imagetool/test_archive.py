"""What is left out of an archive: never anything that the server's loader opens."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagetool.archive import chain_ids, chains_of, left_out, send
from tests.imagetool.archives import Writer, as_oci, config_of, legacy, oci, sha

Images = Sequence[Sequence[bytes]]
layers = st.sampled_from([b"base", b"python", b"app one", b"app two", b"", b"more" * 400])
images = st.lists(st.lists(layers, min_size=1, max_size=5), min_size=1, max_size=2)
"""Few kinds of layers, so that the same ones lie on different ones, and twice in one image."""


def opened(data: bytes) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BytesIO(data))


def diff_ids(image: Sequence[bytes]) -> list[str]:
    return [f"sha256:{sha(layer)}" for layer in image]


def filtered(data: bytes, there: Images) -> tuple[bytes, int]:
    """What is sent to a server that has these images, and how many bytes of layers were left out."""
    out = io.BytesIO()
    with opened(data) as archive:
        left = left_out(archive, chains_of(diff_ids(image) for image in there))
        send(archive, left.entries, out)
    return out.getvalue(), left.size


class Loader:
    """dockerd's: a layer is looked up by its chain first; only one that isn't there is read from the archive."""

    def __init__(self, there: Images) -> None:
        self.store = set(chains_of(diff_ids(image) for image in there))

    def load(self, data: bytes) -> None:
        with opened(data) as archive:
            for image in json.loads(self._read(archive, "manifest.json")):
                config = json.loads(self._read(archive, image["Config"]))
                chain = ""
                for diff_id, name in zip(config["rootfs"]["diff_ids"], image["Layers"], strict=True):
                    # The specification's own words, not the code under test.
                    chain = f"sha256:{hashlib.sha256(f'{chain} {diff_id}'.encode()).hexdigest()}" if chain else diff_id
                    if chain not in self.store:
                        assert f"sha256:{sha(self._read(archive, name))}" == diff_id
                        self.store.add(chain)

    @staticmethod
    def _read(archive: tarfile.TarFile, name: str) -> bytes:
        stream = archive.extractfile(name)  # follows links; KeyError where what it leads to is gone
        assert stream is not None
        return stream.read()


@pytest.mark.parametrize("layout", [legacy, oci])
@given(wanted=images, there=st.lists(st.lists(layers, max_size=5), max_size=3))
def test_what_is_sent_is_enough_and_what_is_left_out_is_there(
    layout: Callable[[Images], bytes], wanted: Images, there: Images
) -> None:
    data = layout(wanted)
    sent, _ = filtered(data, there)
    loader = Loader(there)
    loader.load(sent)
    assert chains_of(diff_ids(image) for image in wanted) <= loader.store
    with opened(data) as whole, opened(sent) as part:
        gone = set(whole.getnames()) - set(part.getnames())
        assert all(name.endswith("/layer.tar") or name.startswith("blobs/") for name in gone)
        had = chains_of(diff_ids(image) for image in there)
        for image in json.loads(Loader._read(whole, "manifest.json")):
            config = json.loads(Loader._read(whole, image["Config"]))
            for chain, name in zip(chain_ids(config["rootfs"]["diff_ids"]), image["Layers"], strict=True):
                assert name not in gone or chain in had


@pytest.mark.parametrize("layout", [legacy, oci])
@given(wanted=images)
def test_a_server_that_has_all_gets_no_layer_and_one_that_has_nothing_gets_all(
    layout: Callable[[Images], bytes], wanted: Images
) -> None:
    data = layout(wanted)
    none, size = filtered(data, wanted)
    with opened(none) as archive:
        assert not any(name.endswith("/layer.tar") for name in archive.getnames())
        kept = {name for name in archive.getnames() if name.startswith("blobs/sha256/")}
        assert kept.isdisjoint({f"blobs/sha256/{sha(layer)}" for image in wanted for layer in image})
    assert size == sum(len(layer) for layer in {layer for image in wanted for layer in image})
    every, size = filtered(data, [])
    assert size == 0
    with opened(data) as before, opened(every) as after:
        assert after.getnames() == before.getnames()
        for member in before.getmembers():
            if member.isreg():
                assert Loader._read(after, member.name) == Loader._read(before, member.name)


@pytest.mark.parametrize("layout", [legacy, oci])
def test_a_layer_counts_with_what_lies_under_it(layout: Callable[[Images], bytes]) -> None:
    sent, size = filtered(layout([[b"base", b"app"]]), [[b"other", b"app"], [b"app"]])
    assert size == 0
    Loader([[b"other", b"app"], [b"app"]]).load(sent)


@pytest.mark.parametrize("layout", [legacy, oci])
def test_a_layer_that_is_there_at_the_bottom_and_needed_at_the_top_is_sent(layout: Callable[[Images], bytes]) -> None:
    sent, size = filtered(layout([[b"twice", b"middle", b"twice"]]), [[b"twice"]])
    assert size == 0
    Loader([[b"twice"]]).load(sent)


def test_the_chain_ids_are_dockers() -> None:
    """Of docker.io/library/busybox-like images as `docker image inspect` and layerdb/ showed them."""
    first, second = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
    assert chain_ids([]) == []
    assert chain_ids([first]) == [first]
    assert chain_ids([first, second])[1] == f"sha256:{sha(f'{first} {second}'.encode())}"


def no_manifest() -> bytes:
    out = Writer()
    out.file("something", b"else")
    return out.done()


def manifest(text: bytes) -> bytes:
    out = Writer()
    out.file("config.json", config_of([b"one", b"two"]))
    out.file("a", b"one")
    out.file("manifest.json", text)
    return out.done()


@pytest.mark.parametrize(
    "data",
    [
        no_manifest(),
        manifest(b"not json"),
        manifest(b"{}"),
        manifest(b'[{"Config": "nowhere.json", "Layers": ["a"]}]'),
        manifest(b'[{"Config": "a", "Layers": ["a"]}]'),
        manifest(b'[{"Config": "config.json", "Layers": ["a"]}]'),  # one layer for two diff ids
    ],
)
def test_nothing_is_left_out_of_what_cant_be_understood(data: bytes) -> None:
    sent, size = filtered(data, [[b"one", b"two"]])
    assert size == 0
    with opened(data) as before, opened(sent) as after:
        assert before.getnames() == after.getnames()


def test_links_in_a_circle_end() -> None:
    out = Writer()
    config = config_of([b"one"])
    out.file("config.json", config)
    out.link("a", "b")
    out.link("b", "a")
    out.file("manifest.json", json.dumps([{"Config": "config.json", "Layers": ["a"]}]).encode())
    with opened(out.done()) as archive:
        assert left_out(archive, chains_of([diff_ids([b"one"])])).entries == {"a", "b"}


def test_both_layouts_of_one_image_are_filtered_alike() -> None:
    data = legacy([[b"base" * 100, b"app"]])
    for one in (data, as_oci(data)):
        _, size = filtered(one, [[b"base" * 100]])
        assert size == 400
