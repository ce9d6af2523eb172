# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which programs, modules and payloads do the benchmarks need, and how do they come to a host?"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import typing as t
from pathlib import Path

from ansible_collections.hotpatch.windows.plugins.plugin_utils._payload import build as builder
from lab.host import REPOSITORY, Host
from lab.targets import build_library

JSON: t.TypeAlias = dict[str, t.Any]
Series: t.TypeAlias = dict[str, list[float]]

SOURCES: t.Final = Path(__file__).parent / "programs"
AGENT_BUILD: t.Final = REPOSITORY / ".build" / "agent"
FOLDER: t.Final = r"C:\bench"
MODULE: t.Final = "module.dll"
# With 16 bytes in front of each function its entry is exchanged as two bytes, without a stop; functions that stand directly behind
# each other take a jump of five bytes, which needs one.
FORMS: t.Final = {"near": ("-falign-functions=1",), "short": ("-fpatchable-function-entry=16,16",)}
LIFETIME_S: t.Final = 86_400


class NotMeasuredError(Exception):
    """Something could not be measured."""


def build_program() -> Path:
    """The measuring program.

    :raises NotMeasuredError: it cannot be built; the words are the compiler's.
    """
    built = subprocess.run(["cmake", "--build", str(AGENT_BUILD), "--target", "engine-bench"], capture_output=True, text=True)
    if built.returncode != 0:
        raise NotMeasuredError(f"engine-bench does not build: {built.stdout}")
    return AGENT_BUILD / "engine-bench.exe"


class Bench:
    """The measuring program ``engine-bench`` on a host, with its target, and the modules and payloads of both redirections."""

    def __init__(self, host: Host, program: Path) -> None:
        self._host = host
        place = host.path(FOLDER)
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(program, place / "engine-bench.exe")
        shutil.copyfile(build_library("target.exe", SOURCES / "target.cpp"), place / "target.exe")
        for form in FORMS:
            old, new = (self._build_module(form, step) for step in (1, 2))
            (place / form).mkdir(exist_ok=True)
            shutil.copyfile(old, place / form / MODULE)
            (place / f"{form}.payload").write_bytes(self._payload(form, old.read_bytes(), new.read_bytes()))

    @staticmethod
    def _build_module(form: str, step: int) -> Path:
        return build_library(MODULE, SOURCES / "module.c", ("-O2", "-fno-toplevel-reorder", f"-DSTEP={step}", *FORMS[form]))

    @staticmethod
    def _payload(form: str, old: bytes, new: bytes) -> bytes:
        now = int(time.time())
        made = builder.build(old, new, builder.PayloadMeta("benchmark", 1, "Benchmark", now, now + LIFETIME_S, MODULE))
        forms = [str(function.redirect.value) for function in made.payload.functions]
        if forms != [form]:
            raise NotMeasuredError(f"the builder redirects the {form} module as {forms}")
        return made.content

    def measure(self, what: str, form: str, *numbers: str, timeout: float = 900.0) -> JSON:
        """Runs one measurement of ``engine-bench`` and gives its raw figures.

        :raises NotMeasuredError: it could not be made; the words are the program's.
        """
        place = [rf"{FOLDER}\target.exe", rf"{FOLDER}\{form}\{MODULE}", rf"{FOLDER}\{form}.payload"]
        try:
            done = self._host.run([rf"{FOLDER}\engine-bench.exe", what, *place, *numbers], timeout=timeout)
        except subprocess.TimeoutExpired:
            raise NotMeasuredError(f"{what} {numbers}: no result within {timeout:.0f} s") from None
        if done.returncode != 0:
            raise NotMeasuredError(f"{what} {numbers}: exit code {done.returncode}: {done.stderr.decode(errors='replace').strip()}")
        measured: JSON = json.loads(done.stdout)
        return measured
