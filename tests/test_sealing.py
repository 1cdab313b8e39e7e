"""How forms carry flows: sealed for one browser while they travel, by a short handle once they are stored."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authflow.errors import FlowInvalid
from authflow.flow import Flow, FlowKind, Owing, Step, StepKind, start
from authflow.model import Factor, Proof
from authflow.records import Vault
from authflow.sealing import FlowSealer
from authflow.tokens import Keyring, decode, encode

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RING = Keyring(("a master key that is long enough to be one",))
SEALER = FlowSealer(RING, Vault(RING))
VERDICT = Owing((Step(StepKind.PROVE, ("password",)),))
FLOW = replace(
    start(flow_id="flow-1", kind=FlowKind.LOGIN, verdict=VERDICT, created_at=NOW,
          deadline_at=NOW + timedelta(hours=1), return_to="/there"),
    scratch={"password": {"note": "canary"}},
)  # fmt: skip
STORED = replace(FLOW, proofs=(Proof("password", Factor.KNOWLEDGE, NOW, "flow-1", 0, "ada"),), subject="ada")


def test_a_sealed_flow_is_read_back_in_its_own_browser() -> None:
    assert SEALER.open(SEALER.seal(FLOW, "browser-1"), "browser-1") == FLOW


@pytest.mark.parametrize("browser", ["browser-2", "", "browser-1 ", "Browser-1"])
def test_a_sealed_flow_is_nothing_in_another_browser(browser: str) -> None:
    with pytest.raises(FlowInvalid):
        SEALER.open(SEALER.seal(FLOW, "browser-1"), browser)


def test_a_flow_sealed_for_no_browser_is_nothing() -> None:
    with pytest.raises(FlowInvalid):
        SEALER.open(SEALER.seal(FLOW, ""), "")


def test_the_dots_of_a_browsers_id_cannot_be_moved_into_the_flow() -> None:
    body, _, signature = SEALER.seal(FLOW, "x.y").removeprefix("t.").rpartition(".")

    with pytest.raises(FlowInvalid):
        SEALER.open(f"t.{body}.x.{signature}", "y")


def test_a_providers_notes_cannot_be_read_from_a_sealed_flow() -> None:
    text = SEALER.seal(FLOW, "browser-1")

    assert b"canary" not in decode(text.removeprefix("t.").rpartition(".")[0])


def test_notes_cannot_be_moved_into_another_flow() -> None:
    vault = Vault(RING)
    moved = {**vault.flow_data(replace(FLOW, id="flow-2")), "scratch": vault.flow_data(FLOW)["scratch"]}
    signer = RING.signer("flow")
    import json

    body = encode(json.dumps(moved).encode())
    signature = signer.sign(f"{body}.browser-1").rpartition(".")[2]

    with pytest.raises(FlowInvalid):
        SEALER.open(f"t.{body}.{signature}", "browser-1")


def test_a_flow_sealed_with_an_older_key_is_still_good() -> None:
    old, new = "o" * 40, "n" * 40
    before, after = Keyring((old,)), Keyring((new, old))

    sealed = FlowSealer(before, Vault(before)).seal(FLOW, "b")

    assert FlowSealer(after, Vault(after)).open(sealed, "b") == FLOW


@given(st.data())
def test_one_changed_character_breaks_the_seal(data: st.DataObject) -> None:
    text = SEALER.seal(FLOW, "b")
    place = data.draw(st.integers(2, len(text) - 2))
    changed = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]

    with pytest.raises(FlowInvalid):
        SEALER.open(changed, "b")


@given(st.text(alphabet=st.characters(), max_size=60), st.text(alphabet=st.characters(), max_size=10))
def test_garbage_is_no_flow(text: str, browser: str) -> None:
    for garbage in (text, "t." + text, "t.." + text, f"t.{text}.{text}"):
        with pytest.raises(FlowInvalid):
            SEALER.open(garbage, browser)


# --- Handles ----------------------------------------------------------------------------------------------------------


def test_a_stored_flow_is_named_by_its_id_with_its_subject_as_a_hint() -> None:
    assert SEALER.read_handle(SEALER.handle(STORED)) == ("flow-1", "ada")
    assert SEALER.read_handle(SEALER.handle(FLOW)) == ("flow-1", "")
    assert SEALER.read_handle("") == ("", "")


@pytest.mark.parametrize(
    "text",
    [
        "s.",
        "s..ada",
        "s.flow-1",
        "t.flow-1.ada",
        "flow-1.ada",
        "s.flow-1.ada.more",
        "s.flow-1.\ud800",
        "s.flow-1.a\0b",
        "s.flow-1.../x",
        "s.flow-1.ada\n",
        "s.flow-1.\uff41da",
        "s." + "x" * 65 + ".ada",
        "s.flow-1." + "x" * 65,
        " s.flow-1.ada",
    ],
)
def test_what_could_be_no_name_of_a_record_is_no_handle(text: str) -> None:
    with pytest.raises(FlowInvalid):
        SEALER.read_handle(text)


# --- State ------------------------------------------------------------------------------------------------------------


def state_of(url: str) -> str:
    return parse_qs(urlsplit(url).query)["state"][0]


def test_state_carries_the_flow_and_keeps_the_address() -> None:
    url = SEALER.with_state("https://remote.test/authorize?scope=openid%20email&empty=", FLOW, "b")

    assert SEALER.open(state_of(url), "b") == FLOW
    assert url.startswith("https://remote.test/authorize?scope=openid%20email&empty=&state=t.")


def test_state_of_a_stored_flow_is_its_handle() -> None:
    url = SEALER.with_state("https://remote.test/authorize", STORED, "b")

    assert SEALER.read_handle(state_of(url)) == ("flow-1", "ada")


def test_a_sealed_flow_holds_everything_a_flow_is() -> None:
    assert isinstance(SEALER.open(SEALER.seal(STORED, "b"), "b"), Flow)
    assert SEALER.open(SEALER.seal(STORED, "b"), "b").proofs == STORED.proofs
