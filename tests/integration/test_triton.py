"""Backend triton over a real socket: equal answers, nothing believed, nothing lost while the server is away."""

import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from engines.engine import (
    BackendMissing,
    BadSpec,
    DigestMismatch,
    EngineFailed,
    EngineMissing,
    EngineSpec,
    EngineUnavailable,
    ShapeOutsideProfile,
)
from engines.export_triton import export, version_number
from engines.ort import OrtEngine
from engines.parity import recorded_cases, require
from engines.pool import EnginePool
from engines.store import load_spec
from engines.triton import Tls, TritonEngine
from node.errors import EngineAway
from node.stages.infer import Inference
from tests.kserve_server import KserveServer, Mischief
from tests.other_engine import other_engine


def noise(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(40.0, 25.0, shape).astype(np.float32)


IMAGE = {"hu": noise(1, 1, 64, 64)}
NUMBER = version_number(load_spec("ct_denoise"))


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped engines, exported."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("ct_denoise", "ct_kernel"):
        export(load_spec(name), folder)
    return folder


@pytest.fixture
def server(repository: Path) -> Iterator[KserveServer]:
    with KserveServer(repository) as running:
        yield running


@pytest.fixture
def engine(server: KserveServer) -> Iterator[TritonEngine]:
    with TritonEngine(load_spec("ct_denoise"), server.url, timeout_s=20.0) as loaded:
        yield loaded


@contextmanager
def later(seconds: float, repository: Path, port: int) -> Iterator[None]:
    """A server on `port`, `seconds` from now, until the block is left."""
    done, started = threading.Event(), []

    def serve() -> None:
        if not done.wait(seconds):
            server = KserveServer(repository, port=port)
            server.__enter__()
            started.append(server)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        for server in started:
            server.stop()


@pytest.mark.parametrize("name", ["ct_denoise", "ct_kernel"])
def test_the_recorded_cases_come_back_as_recorded(server: KserveServer, name: str) -> None:
    with TritonEngine(load_spec(name), server.url) as engine:
        differences = require(engine)

    assert differences
    assert max(difference.worst for difference in differences) < 0.01, "HU; the same library on the same kind of CPU"


def test_answers_equal_those_of_the_local_engine(engine: TritonEngine) -> None:
    with OrtEngine(engine.spec, threads=1) as local:
        for case in recorded_cases(engine.spec):
            ours, theirs = local.infer(case.feeds)["denoised"], engine.infer(case.feeds)["denoised"]
            assert np.max(np.abs(ours - theirs)) <= engine.spec.tolerances["denoised"]


def test_an_answer_belongs_to_the_caller(engine: TritonEngine) -> None:
    first = engine.infer(IMAGE)["denoised"]
    kept = first.copy()
    engine.infer({"hu": IMAGE["hu"] + 500.0})
    assert np.array_equal(first, kept)

    first += 1.0  # and can be written to


def test_images_beyond_grpcs_own_limit_of_4_mb_pass(engine: TritonEngine) -> None:
    assert engine.infer({"hu": noise(1, 1, 1024, 1024)})["denoised"].shape == (1, 1, 1024, 1024)


def test_a_feed_outside_the_profile_never_leaves_the_node(engine: TritonEngine, server: KserveServer) -> None:
    before = list(server.calls)
    with pytest.raises(ShapeOutsideProfile):
        engine.infer({"hu": noise(1, 1, 63, 64)})

    assert server.calls == before


def test_the_digest_is_asked_for_before_every_image(engine: TritonEngine, server: KserveServer) -> None:
    engine.infer(IMAGE)
    engine.infer(IMAGE)

    assert server.calls == ["ModelMetadata", "ModelConfig", *["ModelConfig", "ModelInfer"] * 2]


def test_another_version_is_refused(server: KserveServer, tmp_path: Path) -> None:
    newer = other_engine(tmp_path, version="1.0.1")
    with (
        pytest.raises(EngineMissing, match=r"version 1000001 is not found.* Export the engine"),
        _opened(newer, server),
    ):
        pass


def test_another_network_under_the_same_name_is_refused(tmp_path: Path) -> None:
    export(other_engine(tmp_path / "other", trained_again=True), tmp_path / "models")
    with (
        KserveServer(tmp_path / "models") as server,
        pytest.raises(DigestMismatch, match=rf"names sha256 .* for ct_denoise {NUMBER}, not .* another network"),
        _opened(load_spec("ct_denoise"), server),
    ):
        pass
    assert "ModelInfer" not in server.calls


def test_a_network_without_a_digest_is_refused(repository: Path, tmp_path: Path) -> None:
    models = _edited(repository, tmp_path, f"sha256_{NUMBER}", "sha256_of_old")
    with (
        KserveServer(models) as server,
        pytest.raises(DigestMismatch, match="names no digest for ct_denoise"),
        _opened(load_spec("ct_denoise"), server),
    ):
        pass


def test_other_shapes_than_the_specification_are_refused(repository: Path, tmp_path: Path) -> None:
    models = _edited(repository, tmp_path, "dims: [ -1, 1, -1, -1 ]", "dims: [ -1, 1, 512, 512 ]")
    with (
        KserveServer(models) as server,
        pytest.raises(BadSpec, match=r"inputs are .*\[-1, 1, -1, -1\].*, those on .*\[-1, 1, 512, 512\]"),
        _opened(load_spec("ct_denoise"), server),
    ):
        pass


def test_another_network_after_a_restart_is_refused_though_no_connection_failed(
    repository: Path, tmp_path: Path
) -> None:
    export(other_engine(tmp_path / "other", trained_again=True), tmp_path / "models")
    with KserveServer(repository) as first, TritonEngine(load_spec("ct_denoise"), first.url, wait_s=20.0) as engine:
        engine.infer(IMAGE)
        first.stop()
        with KserveServer(tmp_path / "models", port=first.port) as second:
            with pytest.raises(DigestMismatch):
                engine.infer(IMAGE)
            assert "ModelInfer" not in second.calls


def test_no_server_is_said_at_once(free_port: int) -> None:
    began = time.monotonic()
    with (
        pytest.raises(EngineUnavailable, match=rf"Triton at 127\.0\.0\.1:{free_port}: UNAVAILABLE.* Asked 3 times"),
        TritonEngine(load_spec("ct_denoise"), f"127.0.0.1:{free_port}", wait_s=600.0),
    ):
        pass
    assert time.monotonic() - began < 5.0


def test_a_server_that_goes_away_and_returns_costs_time_only(repository: Path) -> None:
    with KserveServer(repository) as first, TritonEngine(load_spec("ct_denoise"), first.url, wait_s=30.0) as engine:
        expected = engine.infer(IMAGE)["denoised"]
        first.stop()
        began = time.monotonic()
        with later(1.5, repository, first.port):
            assert np.array_equal(engine.infer(IMAGE)["denoised"], expected)
        assert 1.0 < time.monotonic() - began < 15.0


def test_a_server_that_stays_away_is_waited_for_as_long_as_was_said(repository: Path) -> None:
    with KserveServer(repository) as first, TritonEngine(load_spec("ct_denoise"), first.url, wait_s=2.0) as engine:
        first.stop()
        began = time.monotonic()
        with pytest.raises(EngineUnavailable, match="jobs wait for it"):
            engine.infer(IMAGE)
        assert 2.0 <= time.monotonic() - began < 8.0


def test_a_killed_server_that_is_started_again_goes_on_with_the_series(repository: Path) -> None:
    """SIGKILL in the middle of a series: every slice comes out as it would have."""
    images = [{"hu": noise(1, 1, 64, 64) + 10.0 * index} for index in range(12)]
    with OrtEngine(load_spec("ct_denoise"), threads=1) as local:
        expected = [local.infer(image)["denoised"] for image in images]
    process, port = _process(repository, 0)
    try:
        with TritonEngine(load_spec("ct_denoise"), f"127.0.0.1:{port}", wait_s=60.0) as engine:
            for index, image in enumerate(images):
                if index in (3, 7):
                    process.kill()
                    process.wait()
                    process, _ = _process(repository, port)
                made = engine.infer(image)["denoised"]
                assert np.max(np.abs(made - expected[index])) <= engine.spec.tolerances["denoised"]
    finally:
        process.kill()
        process.wait()


def test_a_slow_server_costs_the_deadline_and_no_more(server: KserveServer) -> None:
    with TritonEngine(load_spec("ct_denoise"), server.url, timeout_s=0.5, retries=1, wait_s=600.0) as engine:
        server.mischief.slow_s = 2.0
        began = time.monotonic()
        with pytest.raises(EngineUnavailable, match=r"did not answer within 0\.5 s.* Asked 2 times"):
            engine.infer(IMAGE)
        assert time.monotonic() - began < 3.0


def test_a_server_that_was_slow_once_is_asked_again(server: KserveServer) -> None:
    with TritonEngine(load_spec("ct_denoise"), server.url, timeout_s=1.0) as engine:
        server.mischief.slow_s = 2.0
        quick = threading.Timer(0.5, lambda: setattr(server.mischief, "slow_s", 0.0))
        quick.start()
        assert engine.infer(IMAGE)["denoised"].shape == (1, 1, 64, 64)
        quick.join()


def test_a_port_that_accepts_and_is_silent_does_not_hold_the_node() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        with (
            pytest.raises(EngineUnavailable),
            TritonEngine(load_spec("ct_denoise"), url, timeout_s=0.5, retries=1),
        ):
            pass
        assert time.monotonic() - began < 4.0


@pytest.mark.parametrize(
    ("mischief", "told"),
    [
        (Mischief(short=4), r"gave FP32 \[1, 1, 64, 64\], 16380 bytes for denoised"),
        (Mischief(short=64 * 64 * 4), r"64\], 0 bytes for denoised"),
        (Mischief(answers_as="2"), rf"answered as 'ct_denoise' '2', not as ct_denoise {NUMBER}"),
        (Mischief(fails=grpc.StatusCode.INTERNAL), "INTERNAL, as it was told"),
        (Mischief(fails=grpc.StatusCode.INVALID_ARGUMENT), "INVALID_ARGUMENT, as it was told"),
    ],
    ids=["short", "empty", "version", "internal", "argument"],
)
def test_a_wrong_answer_fails_and_is_not_asked_for_again(repository: Path, mischief: Mischief, told: str) -> None:
    with (
        KserveServer(repository, mischief=mischief) as server,
        _opened(load_spec("ct_denoise"), server) as engine,
        pytest.raises(EngineFailed, match=told),
    ):
        engine.infer(IMAGE)
    assert server.calls.count("ModelInfer") == 1


def test_threads_get_their_own_answers(engine: TritonEngine) -> None:
    images = [{"hu": IMAGE["hu"] + 50.0 * index} for index in range(16)]
    expected = [engine.infer(image)["denoised"] for image in images]
    with ThreadPoolExecutor(max_workers=8) as pool:
        made = list(pool.map(lambda image: engine.infer(image)["denoised"], images * 2))

    assert all(np.array_equal(one, other) for one, other in zip(made, expected * 2, strict=True))


def test_closing_ends_the_wait_for_a_server_that_is_away(repository: Path) -> None:
    ended: list[BaseException] = []

    def ask(engine: TritonEngine) -> None:
        try:
            engine.infer(IMAGE)
        except EngineUnavailable as error:
            ended.append(error)

    with KserveServer(repository) as first:
        with TritonEngine(load_spec("ct_denoise"), first.url, wait_s=600.0) as engine:
            first.stop()
            thread = threading.Thread(target=ask, args=(engine,))
            thread.start()
            time.sleep(1.0)
        thread.join(5.0)
        assert not thread.is_alive()
        assert len(ended) == 1
        with pytest.raises(EngineFailed, match="is not loaded"):
            engine.infer(IMAGE)


def test_an_engine_whose_server_went_away_is_known_to_be_back_before_a_job_needs_it(repository: Path) -> None:
    spec = load_spec("ct_denoise")
    with KserveServer(repository) as first:
        pool = EnginePool(lambda one: TritonEngine(one, first.url, wait_s=0.3), budget=1 << 30)
        with closing(pool):
            inference = Inference(pool, {spec.name: spec})
            inference.known_answers()
            assert inference.away == frozenset()
            first.stop()
            with pytest.raises(EngineAway), inference.engine(spec.name) as engine:
                engine.infer(IMAGE)
            inference.look_for_the_away()
            assert inference.away == {spec.name}
            with KserveServer(repository, port=first.port):
                inference.look_for_the_away()
                assert inference.away == frozenset()


def test_images_go_past_the_proxies_of_the_environment(
    server: KserveServer, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port}")
    with _opened(load_spec("ct_denoise"), server) as engine:
        assert engine.infer(IMAGE)["denoised"].shape == (1, 1, 64, 64)


def test_without_the_library_it_says_what_to_install(server: KserveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tritonclient.grpc", None)
    with (
        pytest.raises(BackendMissing, match=r"pip install 'imaging-node\[triton\]'"),
        _opened(load_spec("ct_denoise"), server),
    ):
        pass


def test_tls_takes_the_server_of_its_own_authority_only(repository: Path, tmp_path: Path) -> None:
    ours, others = _certificate(tmp_path / "ours"), _certificate(tmp_path / "others")
    key_and_certificate = (ours.with_name("key.pem").read_bytes(), ours.read_bytes())
    spec = load_spec("ct_denoise")
    with KserveServer(repository, tls=key_and_certificate) as server:
        with TritonEngine(spec, server.url, tls=Tls(ca=ours)) as engine:
            assert engine.infer(IMAGE)["denoised"].shape == (1, 1, 64, 64)
        for tls in (Tls(ca=others), None):
            with pytest.raises(EngineUnavailable), TritonEngine(spec, server.url, retries=0, tls=tls):
                pass
        missing = Tls(ca=tmp_path / "nothing.pem")
        with pytest.raises(BackendMissing, match="cannot be read"), TritonEngine(spec, server.url, tls=missing):
            pass


def _opened(spec: EngineSpec, server: KserveServer) -> TritonEngine:
    return TritonEngine(spec, server.url, timeout_s=20.0, retries=0)


def _edited(repository: Path, folder: Path, old: str, new: str) -> Path:
    models = shutil.copytree(repository, folder / "models")
    path = models / "ct_denoise" / "config.pbtxt"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    return models


def _process(repository: Path, port: int) -> tuple[subprocess.Popen[str], int]:
    """The server as a process of its own, and its port."""
    command = [sys.executable, "-m", "tests.kserve_server", str(repository), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    assert process.stdout is not None
    with process.stdout as said:
        return process, int(said.readline())


def _certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that signed itself; key.pem beside it."""
    folder.mkdir()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=triton",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder / "cert.pem"
