"""Names in every character set pass unchanged, byte for byte, into derived images, and are read as what they say."""

from pathlib import Path

import pytest
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag

from node.dicom import decode, derive, frames, part10
from node.errors import Refuse
from tests.conftest import SHARED
from tests.dicom_phantom import job, series, write
from tests.enhanced_phantom import enhanced
from tests.peers import run_tool

CHARSET, NAME = 0x00080005, 0x00100010
PLAIN = {0x0008103E: b"HEAD"}  # Series Description, which stands in another character set in the phantom

# PS3.5 annexes H to K for the multi-byte ones; the others are plain code pages (PS3.3 C.12.1.1.2).
NAMES = {
    "Japanese, 3 groups": (
        b"\\ISO 2022 IR 87",
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
    ),
    "Japanese, half width": (
        b"ISO 2022 IR 13\\ISO 2022 IR 87",
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
    ),
    "Japanese, supplementary": (b"\\ISO 2022 IR 87\\ISO 2022 IR 159", b"Name^A=\x1b$(D\x22\x2f\x1b(B^\x1b$BB@O:\x1b(B"),
    "Korean": (
        b"\\ISO 2022 IR 149",
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
    ),
    "Chinese, ISO 2022": (b"\\ISO 2022 IR 58", b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab="),
    "Chinese, GB18030": (b"GB18030", "Wang^XiaoDong=王^小东=".encode("gb18030")),
    "Chinese, GBK": (b"GBK", "Wang^XiaoDong=王^小东=".encode("gbk")),
    "Russian": (b"ISO_IR 144", "Люкceмбypг".encode("iso8859-5")),  # noqa: RUF001  Cyrillic on purpose
    "Greek": (b"ISO_IR 126", "Διονυσιος".encode("iso8859-7")),
    "Greek and Russian in one name": (
        b"\\ISO 2022 IR 126\\ISO 2022 IR 144",
        b"Dionysios=\x1b-F\xc4\xe9\xef\xed^\x1b-L\xbb\xee\xda",
    ),
    "Arabic": (b"ISO_IR 127", "قباني^لنزار".encode("iso8859-6")),
    "Hebrew": (b"ISO_IR 138", "שרון^דבורה".encode("iso8859-8")),
    "Thai": (b"ISO_IR 166", "สมชาย^ใจดี".encode("tis-620")),
    "Turkish": (b"ISO_IR 148", "Çavuşoğlu".encode("iso8859-9")),
    "Central European": (b"ISO_IR 101", "Wałęsa^Łucja".encode("iso8859-2")),
    "Baltic": (b"ISO_IR 110", "Ķēniņš".encode("iso8859-4")),
    "UTF-8": (b"ISO_IR 192", "Wang^XiaoDong=王^小東=Ελλάδα 山田 홍길동 Люк".encode()),
    "bytes of no meaning": (b"ISO_IR 100", b"Name^\xff\xfe\x80"),
}  # fmt: skip
FOLDERS = ("pydicom_charset", "fodicom_charset", "gen_text")


def even(value: bytes) -> bytes:
    return value + b" " * (len(value) % 2)


def with_values(path: str, values: dict[int, bytes]) -> None:
    """Put raw bytes into elements of a file of Explicit VR Little Endian; no writer shall have an opinion on them."""
    for tag, value in values.items():
        data, element = Path(path).read_bytes(), part10.elements(part10.read(path).dataset)[BaseTag(tag)]
        assert isinstance(element, RawDataElement)
        start = element.value_tell
        Path(path).write_bytes(
            data[: start - 2] + len(value).to_bytes(2, "little") + value + data[start + element.length :]
        )


def passed(path: str) -> tuple[bytes | None, bytes | None]:
    dataset = part10.read(path).dataset
    return part10.raw(dataset, CHARSET), part10.raw(dataset, NAME)


@pytest.mark.parametrize("source", ["classic", "big endian", "enhanced"])
@pytest.mark.parametrize("kind", NAMES)
def test_a_name_passes_byte_for_byte(tmp_path: Path, kind: str, source: str) -> None:
    charset, name = (even(value) for value in NAMES[kind])
    if source == "enhanced":
        path = enhanced(tmp_path / "e.dcm", frames=3)
        with_values(path, PLAIN | {CHARSET: charset, NAME: name})
        request = {"slices": [[path, 1], [path, 2], [path, 3]], "voxels": f"{tmp_path}/v.npy"}
        decode.prepare_series(request | {"padding": f"{tmp_path}/p.npy"})
        work = {"sources": [path] * 3, "frames": [1, 2, 3], "result": f"{tmp_path}/v.npy", "out": f"{tmp_path}/out"}
        reply = derive.write_series(work | {"job": job()})
    else:
        paths = series(tmp_path / "in", slices=3)
        for path in paths:
            with_values(path, PLAIN | {CHARSET: charset, NAME: name})
        if source == "big endian":
            for path in paths:
                run_tool("dcmconv", "+tb", path, path)
        reply = write(tmp_path, paths)

    assert {passed(one["path"]) for one in reply["instances"]} == {(charset, name)}


@pytest.mark.parametrize(
    "path",
    [path for folder in FOLDERS for path in sorted((SHARED / "corpus" / folder).glob("*.dcm"))],
    ids=lambda path: path.name,
)
def test_the_names_of_the_corpus_pass_byte_for_byte(tmp_path: Path, path: Path) -> None:
    try:
        charset, name = passed(str(path))
    except Refuse as refused:
        pytest.skip(f"the file itself is refused: {refused.message}")
    if name is None or len(name) > 0xFFFE:
        pytest.skip("the file names nobody, or with more than an explicit PN can hold")
    paths = series(tmp_path / "in", slices=2)
    for one in paths:
        with_values(one, PLAIN | {CHARSET: even(charset or b""), NAME: even(name)})

    reply = write(tmp_path, paths)

    found = {passed(one["path"]) for one in reply["instances"]}
    assert {name for _, name in found} == {even(name)}
    assert {charset or b"" for charset, _ in found} == {even(charset or b"")}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("Japanese, 3 groups", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("Korean", "Hong^Gildong=洪^吉洞=홍^길동"),
        ("Chinese, GB18030", "Wang^XiaoDong=王^小东="),
        ("Russian", "Люкceмбypг"),  # noqa: RUF001  Cyrillic on purpose
        ("Greek", "Διονυσιος"),
        ("UTF-8", "Wang^XiaoDong=王^小東=Ελλάδα 山田 홍길동 Люк"),
    ],
)
def test_a_header_reads_the_name_that_stands_there(tmp_path: Path, kind: str, expected: str) -> None:
    (path, *_) = series(tmp_path, slices=2)
    charset, name = (even(value) for value in NAMES[kind])
    with_values(path, PLAIN | {CHARSET: charset, NAME: name})

    found = frames.header(part10.read(path), 0, frames.KEYWORDS)

    assert found["PatientName"] == (expected,)
