# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does the watch leave a process in peace whose retired code stays in use, and still give the memory back in the end?"""

from __future__ import annotations

import time

from engine_driver import Engine, Prefix
from engine_payloads import TargetModule, make_payload

PAUSE_MS = 400
CLOCK = 0.03  # two ticks of Windows' clock


def stopped_in_a_round(engine: Engine) -> bool:
    """Whether a round of the watch stopped the process: only then places of a stop are met."""
    before = engine.request("fault_points")["fault_points"]
    assert engine.request("watch", payloads=[], release_pause_ms=PAUSE_MS)["alerts"] == []
    return bool(engine.request("fault_points")["fault_points"] > before)


def test_looks_at_code_that_stays_in_use_grow_rarer_and_do_not_end(prefix: Prefix, sample: TargetModule) -> None:
    target, engine = prefix.target(), prefix.engine()
    executable = target.usage()["executable"]
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", {"wait_inside": "near"})
    assert engine.one("apply", payload=payload)["verdict"] == "applied"
    target.ask("inside wait")
    assert engine.one("revert", id="fix")["verdict"] == "reverted"
    begin = time.monotonic()
    looks: list[tuple[float, float]] = []
    while len(looks) < 3:
        assert time.monotonic() < begin + 60
        asked = time.monotonic()
        if stopped_in_a_round(engine):
            looks.append((asked, time.monotonic()))
    first, second, third = looks
    assert second[1] - first[0] >= PAUSE_MS / 1000 - CLOCK
    assert third[1] - second[0] >= 2 * PAUSE_MS / 1000 - CLOCK
    assert target.usage()["executable"] > executable
    assert target.ask("leave") == "200"
    while target.usage()["executable"] != executable:
        assert time.monotonic() < begin + 60
        stopped_in_a_round(engine)
    assert not stopped_in_a_round(engine)
    assert target.ask("inside wait") == "inside"
    assert target.ask("leave") == "100"


def test_a_patch_that_someone_takes_out_is_told_of_and_brought_back_a_few_times(prefix: Prefix, sample: TargetModule) -> None:
    target, engine = prefix.target(), prefix.engine()
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", {"near_answer": "near"})
    original = target.ask(f"bytes {sample.addresses['near_answer']} 5")
    assert engine.request("watch", payloads=[payload])["alerts"] == []
    answers: list[str] = []
    for _time in range(5):
        target.ask(f"write near_answer {original}")
        assert target.ask("call near_answer") == "10"
        codes = [alert["code"] for alert in engine.request("watch", payloads=[payload])["alerts"]]
        assert codes == (["journal_disagrees"] if not answers or answers[-1] == "20" else [])
        answers.append(target.ask("call near_answer"))
    assert answers == ["20", "20", "20", "10", "10"]
    assert engine.request("in_force") == {"in_force": []}
