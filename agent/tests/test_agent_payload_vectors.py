# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent's reader of payloads accepts what is right and refuses everything else with the documented code."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from agent_driver import BUILD, Json

from lab.host import Host

VECTORS = Path(__file__).with_name("vectors") / "payloads.json"
PROGRAM = r"C:\lab\payload-vectors.exe"


@pytest.fixture(scope="module")
def vectors() -> Json:
    document: Json = json.loads(VECTORS.read_text(encoding="utf-8"))
    return document


@pytest.fixture(scope="module")
def answers(shared_host: Host) -> Json:
    place = shared_host.path(PROGRAM)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    shutil.copyfile(BUILD / "payload-vectors.exe", place)
    done = shared_host.run([PROGRAM], stdin=VECTORS.read_bytes(), timeout=120)
    assert done.returncode == 0, done.stderr
    document: Json = json.loads(done.stdout)
    return document


def first_file(vectors: Json) -> bytes:
    return base64.b64decode(vectors["vectors"][0]["file"])


def test_every_vector_gets_the_verdict_that_the_format_documents(vectors: Json, answers: Json) -> None:
    got = dict(zip([vector["name"] for vector in vectors["vectors"]], answers["verdicts"], strict=True))
    assert got == {vector["name"]: vector["expected"] for vector in vectors["vectors"]}


def test_every_truncation_is_called_a_truncation(vectors: Json, answers: Json) -> None:
    assert answers["truncations"] == {"payload_truncated": len(first_file(vectors))}


def test_no_flipped_bit_is_accepted(vectors: Json, answers: Json) -> None:
    assert "accepted" not in answers["flips"]
    assert sum(answers["flips"].values()) == 8 * len(first_file(vectors))


def test_no_lost_or_doubled_byte_is_accepted(vectors: Json, answers: Json) -> None:
    assert "accepted" not in answers["splices"]
    assert sum(answers["splices"].values()) == 2 * len(first_file(vectors))


def test_the_vectors_are_those_that_the_generator_writes(tmp_path: Path) -> None:
    generator = shutil.copyfile(VECTORS.with_name("generate.py"), tmp_path / "generate.py")
    subprocess.run([sys.executable, str(generator)], check=True)
    assert (tmp_path / "payloads.json").read_bytes() == VECTORS.read_bytes()
