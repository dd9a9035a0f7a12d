"""What an HL7 message says, as python-hl7 reads it back, and what is read of an answer."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from node.dicom.subject import Subject
from node.errors import Refuse
from node.peers.hl7_message import acknowledgement, codec, escaped, message
from node.peers.telling import Told
from node.settings.flags import CharacterSet, Hl7Channel
from pipelines.triage import Flag
from tests.mllp_peer import framed, parsed

CHANNEL = Hl7Channel(
    name="ris", host="127.0.0.1", port=2575, sending_facility="SITE", receiving_application="RIS",
    receiving_facility="SITE",
)  # fmt: skip
ANY_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)


def told(flag: Flag = Flag.RAISED, *, withdrawn: str = "", **subject: object) -> Told:
    known = {
        "study_uid": "1.2.3", "patient_id": "4711", "issuer": "SITE", "names": ("DOE^JANE", "", ""),
        "accession": "A-100", "placer": "P-1", "filler": "F-1", "acquired": "20260101115900",
    }  # fmt: skip
    analysed = flag is not Flag.NOT_ANALYSABLE
    return Told(
        job_id="job",
        flag=flag,
        score=0.87 if analysed else None,
        threshold=0.5,
        reasons=() if analysed else ("The brain is not whole in the scan.", "Slices | are missing."),
        report_uid="2.25.99",
        subject=Subject(**{**known, **subject}),  # type: ignore[arg-type]
        told_at=0.0,
        stamp="20260101120500+0100",
        withdrawn=withdrawn,
    )


def text_of(data: bytes) -> list[str]:
    return data.decode("utf-8").split("\r")


def test_flag_is_the_message_of_the_specification() -> None:
    assert text_of(message(told(), CHANNEL, "CONTROL-ID")) == [
        "MSH|^~\\&|GENAI|SITE|RIS|SITE|20260101120500+0100||ORU^R01^ORU_R01|CONTROL-ID|P|2.5.1||||||UNICODE UTF-8",
        "PID|1||4711^^^SITE^MR||DOE^JANE",
        "ORC|RE|P-1|F-1",
        "OBR|1|P-1|F-1|24725-4^CT Head^LN|||20260101115900|||||||||||A-100||||20260101120500+0100|||P",
        "TQ1|1||||||||S",
        "OBX|1|CWE|TRIAGE_FLAG^Triage flag^99GENAI||FLAG_RAISED^Suspected abnormality^99GENAI|||A|||P",
        "OBX|2|NM|ANOM_SCORE^Anomaly score^99GENAI||0.87|1^no units^UCUM|||||P",
        "OBX|3|ST|113014^DICOM Study^DCM||1.2.3||||||P",
        "OBX|4|ST|SR_UID^Triage SR^99GENAI||2.25.99||||||P",
        "",
    ]


def test_fields_stand_where_a_receiver_looks_for_them() -> None:
    found = parsed(message(told(), CHANNEL, "CONTROL-ID"))

    assert found.segment("OBR")[18][0] == "A-100"
    assert found.segment("OBR")[25][0] == "P"
    assert found.segment("MSH")[18][0] == "UNICODE UTF-8"
    assert found.segment("TQ1")[9][0] == "S"


def test_what_is_not_analysable_has_reasons_and_no_score() -> None:
    lines = text_of(message(told(Flag.NOT_ANALYSABLE), CHANNEL, "ID"))

    assert lines[5] == "OBX|1|CWE|TRIAGE_FLAG^Triage flag^99GENAI||NOT_ANALYSABLE^Not analysable^99GENAI||||||P"
    assert lines[6:8] == ["NTE|1|L|The brain is not whole in the scan.", "NTE|2|L|Slices \\F\\ are missing."]
    assert not [line for line in lines if "ANOM_SCORE" in line]
    assert lines[8].startswith("OBX|2|ST|113014")


def test_negative_is_routine_and_never_called_normal() -> None:
    data = message(told(Flag.NOT_RAISED), CHANNEL, "ID")

    assert parsed(data).segment("TQ1")[9][0] == "R"
    assert parsed(data).segment("OBX")[8][0] == ""
    assert b"ormal^" not in data.replace(b"Suspected abnormality", b"")


def test_withdrawal_posts_the_results_as_wrong_and_says_why() -> None:
    found = parsed(message(told(withdrawn="The images were rejected."), CHANNEL, "ID"))

    assert found.segment("OBR")[25][0] == "C"
    assert found.segment("TQ1")[9][0] == "R"
    assert [(str(obx[3][0][0]), obx[11][0]) for obx in found.segments("OBX")] == [
        ("TRIAGE_FLAG", "W"),
        ("ANOM_SCORE", "W"),
        ("113014", "P"),
        ("SR_UID", "W"),
    ]
    assert found.segment("OBX")[5][0][0][0] == "FLAG_RAISED"
    assert found.segment("NTE")[3][0] == "The images were rejected."


def test_name_keeps_all_components_though_hl7_has_them_in_another_order() -> None:
    named = told(names=("Adams^John Robert^Quincy^Rev.^B.A. M.Div.", "", ""))

    assert "||Adams^John Robert^Quincy^B.A. M.Div.^Rev." in text_of(message(named, CHANNEL, "ID"))[1]


def test_each_writing_of_a_name_is_a_repetition() -> None:
    named = told(names=("Yamada^Tarou", "山田^太郎", "やまだ^たろう"))

    assert text_of(message(named, CHANNEL, "ID"))[1].endswith(
        "||Yamada^Tarou^^^^^L^A~山田^太郎^^^^^L^I~やまだ^たろう^^^^^L^P"
    )


def test_authority_is_given_as_far_as_the_images_name_it() -> None:
    whole = told(issuer="HIS", issuer_entity="1.2.40.0", issuer_type="ISO", id_type="PI")
    setting = CHANNEL.model_copy(update={"patient_authority": "WARD"})

    assert text_of(message(whole, CHANNEL, "ID"))[1].startswith("PID|1||4711^^^HIS&1.2.40.0&ISO^PI|")
    assert text_of(message(told(issuer=""), setting, "ID"))[1].startswith("PID|1||4711^^^WARD^MR|")


def test_who_is_not_known_is_not_made_up() -> None:
    nobody = told(patient_id="", names=("", "", ""))

    assert text_of(message(nobody, CHANNEL, "ID"))[1] == "PID|1||||^^^^^^U"


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        (CharacterSet.UTF_8, "Müller^Jürgen"),
        (CharacterSet.UTF_8, "Διονυσιος"),
        (CharacterSet.UTF_8, "Павлов^Иван"),
        (CharacterSet.UTF_8, "山田^太郎"),
        (CharacterSet.LATIN_1, "Müller^Jürgen"),
        (CharacterSet.LATIN_9, "Šimek^Zoë"),
        (CharacterSet.GREEK, "Διονυσιος"),
        (CharacterSet.CYRILLIC, "Павлов^Иван"),
        (CharacterSet.JAPANESE, "山田^太郎"),
    ],
)
def test_names_arrive_in_the_character_set_of_the_channel(character_set: CharacterSet, name: str) -> None:
    channel = CHANNEL.model_copy(update={"character_set": character_set})
    data = message(told(names=(name, "", "")), channel, "ID")

    found = parsed(data, codec(character_set))

    assert str(found.segment("PID")[5]) == name
    assert str(found.segment("MSH")[18]).lstrip("~") == character_set.value


def test_flag_is_not_held_up_by_a_letter_that_the_character_set_lacks() -> None:
    channel = CHANNEL.model_copy(update={"character_set": CharacterSet.LATIN_1})

    found = parsed(message(told(names=("Łukasz^Jan", "", "")), channel, "ID"), "latin-1")

    assert str(found.segment("PID")[5]) == "?ukasz^Jan"


def test_identifier_that_cannot_be_written_is_never_sent_as_another_one() -> None:
    channel = CHANNEL.model_copy(update={"character_set": CharacterSet.ASCII})

    with pytest.raises(Refuse, match="cannot be written in ASCII") as caught:
        message(told(patient_id="Ä1"), channel, "ID")
    assert "Ä1" not in str(caught.value)


@given(text=ANY_TEXT)
@example(text="a|b^c&d~e\\f\r\ng\x0b\x1c")
def test_any_text_comes_back_as_it_was(text: str) -> None:
    data = message(told(patient_id="x" + text + "x", accession="y" + text + "y"), CHANNEL, "ID")

    assert data.count(b"\x0b") == data.count(b"\x1c") == 0, "the frame would end there"
    found = parsed(data)
    assert len(found) == 9
    assert found.unescape(str(found.segment("PID")[3][0][0])) == "x" + text + "x"
    assert found.unescape(str(found.segment("OBR")[18][0])) == "y" + text + "y"


@given(groups=st.tuples(ANY_TEXT, ANY_TEXT, ANY_TEXT))
def test_any_name_leaves_the_other_fields_where_they_are(groups: tuple[str, str, str]) -> None:
    found = parsed(message(told(names=groups), CHANNEL, "ID"))

    assert [str(segment[0]) for segment in found] == ["MSH", "PID", "ORC", "OBR", "TQ1", "OBX", "OBX", "OBX", "OBX"]
    assert found.segment("OBR")[18][0] == "A-100"
    assert len(found.segment("PID")) <= 6


def test_escapes_are_those_of_the_standard() -> None:
    assert escaped("a|b^c&d~e\\f\n") == "a\\F\\b\\S\\c\\T\\d\\R\\e\\E\\f\\X0A\\"


@pytest.mark.parametrize(
    ("code", "taken"), [("AA", True), ("CA", True), ("AE", False), ("AR", False), ("CR", False), ("??", None)]
)
def test_answer_is_read(code: str, taken: bool | None) -> None:
    found = acknowledgement(framed(code, "ID-1", "all well")[1:-2], CharacterSet.UTF_8)

    assert (found.control_id, found.taken, found.text) == ("ID-1", taken, "all well")


def test_answer_with_line_feeds_and_other_delimiters_is_read() -> None:
    found = acknowledgement(b"MSH#*~\\&#RIS\nMSA#AE#ID-2\nERR####E###Unknown patient\n", CharacterSet.UTF_8)

    assert (found.control_id, found.taken, found.text) == ("ID-2", False, "Unknown patient")


@given(data=st.binary(max_size=60))
@example(data=b"MSH|^~\\&|RIS\r")
@example(data=b"MSH")
@example(data=b"")
def test_what_is_no_answer_is_told_apart(data: bytes) -> None:
    with pytest.raises(ValueError, match="no acknowledgement"):
        acknowledgement(data, CharacterSet.UTF_8)
