# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""Which things can go wrong, under which stable code, and what the reader can do about each?

This table is the only list of error codes. The agent's C++ header and docs/errors.md are generated from it
(``agent/tools/generate_errors.py``); a test asserts that no code is missing or unused.
"""

from __future__ import annotations

import enum
import typing as t
from dataclasses import dataclass, field


class Outcome(enum.Enum):
    """What an error means for the host, so that results can be told apart without knowing the code."""

    REFUSED = "refused"
    """Checked beforehand; nothing was touched."""
    BUSY = "busy"
    """Tried and given up cleanly; may work later."""
    FAILED = "failed"
    """Begun and undone; the host is as it was."""
    INCONSISTENT = "inconsistent"
    """The one bad case: restart the process that is named."""


@dataclass(frozen=True)
class ErrorText:
    """One row of the table: the class of the outcome, what happened, and what to do, in words."""

    outcome: Outcome
    text: str
    remedy: str


_R, _B, _F, _I = Outcome.REFUSED, Outcome.BUSY, Outcome.FAILED, Outcome.INCONSISTENT

ERRORS: t.Final[dict[str, ErrorText]] = {
    # -- the wire and the agent --------------------------------------------------------------------------------------------
    "protocol_malformed": ErrorText(
        _R,
        "The request or reply is not one valid JSON document of the protocol.",
        "Update the collection and the agent to the same release.",
    ),
    "protocol_version": ErrorText(
        _R,
        "The agent on the host speaks another protocol version than this collection.",
        "Run the role hotpatch.windows.agent to bring the host's agent to this collection's release.",
    ),
    "operation_unknown": ErrorText(
        _R, "The agent does not know this operation.", "Run the role hotpatch.windows.agent to upgrade the host's agent."
    ),
    "argument_invalid": ErrorText(
        _R, "An argument is missing, unknown, of the wrong type or out of range.", "Correct the argument that is named."
    ),
    "argument_conflict": ErrorText(_R, "Arguments exclude each other.", "Give only one of the arguments that are named."),
    "agent_missing": ErrorText(
        _R, "The agent's program was not found.", "Build it with 'make agent', or install the released collection, which contains it."
    ),
    "agent_service_stopped": ErrorText(
        _R,
        "The agent is installed as a service that is not running.",
        "Start the service 'hotpatch-agent', or run hotpatch.windows.agent, and look into the event log for the reason it stopped.",
    ),
    "agent_busy": ErrorText(
        _B,
        "Another controller or the service itself is changing this host at the moment.",
        "Wait for it to end and run the task again; nothing was changed by this one.",
    ),
    "agent_lab_build": ErrorText(
        _R,
        "The agent on this host is a build for the test lab.",
        "Install a release build with hotpatch.windows.agent; set hotpatch_windows_lab only for hosts of the lab.",
    ),
    "agent_no_reply": ErrorText(
        _F,
        "The agent ended without a reply.",
        "Read its standard error in the result; run the task again, which finishes or undoes what was begun.",
    ),
    "agent_unsafe_path": ErrorText(
        _R,
        "The agent's folder can be written by others than administrators.",
        "Remove the folder that is named, or correct its access list, and run hotpatch.windows.agent again.",
    ),
    "agent_internal": ErrorText(
        _F, "A call to Windows failed that should not fail.", "Read the details; report it with them if it persists."
    ),
    # -- reaching the host -------------------------------------------------------------------------------------------------
    "access_denied": ErrorText(
        _R, "The account may not do this on the host.", "Use an account that is a local administrator (or become SYSTEM)."
    ),
    "host_unreachable": ErrorText(_R, "The host does not answer.", "Check its name, that it runs, and that WinRM or SSH is reachable."),
    "host_rebooting": ErrorText(_B, "The host went down while the task ran.", "Wait until it is up and run the task again."),
    "host_unsupported": ErrorText(_R, "The host's Windows cannot run the agent.", "Windows Server 2016 or later on x64 is needed."),
    # -- the store ---------------------------------------------------------------------------------------------------------
    "store_disk_full": ErrorText(
        _F, "The host's disk has no room for the file.", "Free space on the drive that is named; nothing was kept of the transfer."
    ),
    "store_hash_mismatch": ErrorText(
        _R,
        "The file's SHA-256 is not the expected one.",
        "Fetch the file again, or correct the expected hash if the file is the right one.",
    ),
    "store_object_missing": ErrorText(_R, "The file is not in the host's store.", "Stage it first with hotpatch.windows.stage."),
    "store_object_in_use": ErrorText(
        _R, "The file is in force or being installed and cannot be removed.", "Revert the payload, or wait for the installation, first."
    ),
    "store_fetch_failed": ErrorText(
        _F, "The host could not pull the file from the URL.", "Check the URL and the proxy from the host; nothing was kept of the transfer."
    ),
    "store_damaged": ErrorText(
        _R,
        "A file in the agent's folder is damaged.",
        "Stage the file that is named again; remove it if it is the agent's own state and the message says so.",
    ),
    # -- the payload and its trust -----------------------------------------------------------------------------------------
    "payload_truncated": ErrorText(_R, "The payload ends in the middle.", "Fetch or build the payload again."),
    "payload_malformed": ErrorText(_R, "The payload is damaged or not of the documented form.", "Fetch or build the payload again."),
    "payload_format_unsupported": ErrorText(_R, "The payload's format version is not known here.", "Upgrade the agent and the collection."),
    "payload_unsigned": ErrorText(_R, "The payload carries no signature.", "Sign it with hotpatch.windows.payload."),
    "payload_signature_invalid": ErrorText(
        _R, "The payload's signature does not fit its content.", "Fetch the payload again; if it persists, treat the source as compromised."
    ),
    "payload_key_unknown": ErrorText(
        _R, "The payload is signed by a key this host does not trust.", "Enrol the key with hotpatch.windows.agent if its owner is trusted."
    ),
    "payload_key_expired": ErrorText(
        _R,
        "The key that signed the payload has expired on this host.",
        "Sign again with a current key, or renew the key with hotpatch.windows.agent.",
    ),
    "payload_key_revoked": ErrorText(
        _R, "The key that signed the payload is revoked on this host.", "Sign the payload with a key in force."
    ),
    "payload_revoked": ErrorText(_R, "This payload is revoked on this host.", "Stage its successor."),
    "payload_expired": ErrorText(
        _R,
        "The payload's expiry date has passed.",
        "Install the update that contains the fix, or build the payload again with a later date.",
    ),
    "payload_sequence_back": ErrorText(
        _R,
        "A newer payload of the same id was already accepted by this host.",
        "Stage the newer payload; build a new one with a higher sequence to return to older code.",
    ),
    "payload_not_applied": ErrorText(
        _R, "No payload of this id is known to this host.", "Check the id; hotpatch.windows.host_info lists what is in force."
    ),
    "payload_overlaps": ErrorText(
        _R,
        "Another payload in force replaces one of the same functions.",
        "Revert the other payload first, or name it in 'replaces' when building.",
    ),
    # -- one target process ------------------------------------------------------------------------------------------------
    "target_module_mismatch": ErrorText(
        _R,
        "The loaded module is another build than the payload is made for.",
        "Build a payload for the build that is named, or update the module.",
    ),
    "target_file_changed": ErrorText(
        _R, "The module's file on disk is no longer the one that was loaded.", "Restart the service to run the file on disk."
    ),
    "target_code_modified": ErrorText(
        _R,
        "The module's code in memory differs from its file: someone else changed it.",
        "Find out who (the message names the place); restart the process to load clean code.",
    ),
    "target_protected": ErrorText(
        _R, "The process is a protected process; its memory may not be changed.", "Install the update and restart the host."
    ),
    "target_acg": ErrorText(_R, "The process forbids dynamic code (ACG).", "Update the file and restart the service."),
    "target_cig": ErrorText(_R, "The process admits only signed images (CIG).", "Update the file and restart the service."),
    "target_cet": ErrorText(
        _R, "The process runs with strict shadow stacks that new code cannot satisfy.", "Update the file and restart the service."
    ),
    "target_bitness": ErrorText(_R, "The process is not a native 64-bit process.", "Update the file and restart the service."),
    "target_access_denied": ErrorText(
        _R,
        "Windows does not let the agent open the process.",
        "Look for security software that guards it; update the file and restart the service.",
    ),
    "target_suspended": ErrorText(_R, "The process is suspended by someone else.", "Resume it and run the task again."),
    "target_debugged": ErrorText(_R, "A debugger is attached to the process.", "Detach the debugger and run the task again."),
    "target_exited": ErrorText(
        _F,
        "The process ended while it was worked on.",
        "None is needed for it: a new process is patched by the service, or by the next run.",
    ),
    "target_module_unloaded": ErrorText(_F, "The module was unloaded while the process was worked on.", "Run the task again."),
    "target_no_memory_near": ErrorText(
        _F, "There is no free memory within 2 GB of the module.", "Restart the service and run the task again early."
    ),
    "target_busy": ErrorText(
        _B,
        "A thread stayed in code that must not change under it.",
        "Run the task again at a quieter time; restart the service if the named thread never leaves.",
    ),
    "target_stop_budget": ErrorText(
        _B, "The stop would have lasted longer than its budget.", "Raise stop_budget or run the task at a quieter time."
    ),
    "target_write_failed": ErrorText(
        _F, "Writing into the process failed; what was begun is undone.", "Read the details; restart the service if it persists."
    ),
    "target_verify_failed": ErrorText(
        _F, "What was read back differs from what was written; it is undone.", "Look for security software that interferes."
    ),
    "target_inconsistent": ErrorText(_I, "The process could be neither finished nor undone.", "Restart this process now."),
    "probe_failed_before": ErrorText(
        _R, "The probe says that the service does not work, before anything was changed.", "Repair the service, or correct the probe."
    ),
    "probe_failed_after": ErrorText(
        _F,
        "The probe says that the service does not work after the change, which was undone.",
        "Read both halves in the result; test the payload against this service before trying again.",
    ),
    # -- journal -----------------------------------------------------------------------------------------------------------
    "journal_damaged": ErrorText(
        _R,
        "The journal holds a damaged record before its end.",
        "Restart the host, or each process that may run new code; then stop the service hotpatch-agent and remove the named file.",
    ),
    "journal_disagrees": ErrorText(
        _R, "The journal and the target's memory disagree.", "Look at the sites that are named; restart the process."
    ),
    "site_changed": ErrorText(
        _R, "Someone changed the bytes of an applied payload in a process.", "Find out who; restart the process and apply again."
    ),
    "late_apply_failed": ErrorText(
        _F, "A payload in force could not be applied to a new process.", "Read the verdict of the process in host_info."
    ),
    # -- packages and jobs -------------------------------------------------------------------------------------------------
    "package_damaged": ErrorText(
        _F, "The package cannot be read or is not an update package.", "Fetch it again and check its hash; nothing was installed."
    ),
    "package_not_applicable": ErrorText(
        _R, "Windows says that the package does not apply to this host.", "Check product and prerequisites of the package."
    ),
    "package_install_failed": ErrorText(
        _F, "Windows' installer ended with an error.", "Read the exit code and the servicing log; nothing was rebooted."
    ),
    "package_wrong_track": ErrorText(
        _R,
        "The package would take the host off the hotpatch track.",
        "Use the package the plan names, or set the override that is named to accept it.",
    ),
    "package_level_not_reached": ErrorText(
        _F,
        "After the installation the host is not on the level the package promises.",
        "Read the servicing log; Windows may have rolled the update back.",
    ),
    "package_reboot_pending": ErrorText(
        _R, "A reboot is pending and must come first.", "Reboot in the host's maintenance window, or allow it with reboot."
    ),
    "job_unknown": ErrorText(_R, "The agent knows no such job.", "Start the installation again."),
    "job_interrupted": ErrorText(
        _F, "The installer job ended without saying how.", "Run the task again: it looks at the host's level first."
    ),
    # -- enrolment and decision --------------------------------------------------------------------------------------------
    "enrollment_prerequisite": ErrorText(
        _R, "The host does not meet a prerequisite of hotpatching.", "Meet the prerequisite that is named, then run the task again."
    ),
    "window_closed": ErrorText(_R, "A reboot is needed and the maintenance window is closed.", "Run the cycle inside the window."),
    # -- building a payload ------------------------------------------------------------------------------------------------
    "build_not_pe": ErrorText(_R, "The file is not a 64-bit Windows module.", "Give the two builds of the same x64 DLL or EXE."),
    "build_different_modules": ErrorText(
        _R, "The two files are not builds of the same module.", "Give the old and the new build of one module."
    ),
    "build_no_change": ErrorText(_R, "The two builds have the same code.", "Check that the new file contains the fix."),
    "build_whole_rebuild": ErrorText(
        _R, "Most functions differ: the builds come from different compilers or options.", "Build both with the same compiler and options."
    ),
    "build_layout_changed": ErrorText(
        _R,
        "The layout of a structure or of static data changed.",
        "Ship this fix as an update: new code cannot work on data laid out by the old.",
    ),
    "build_data_changed": ErrorText(
        _R, "Initialised writable data differs.", "Ship this fix as an update, or record the override for data that is named."
    ),
    "build_imports_changed": ErrorText(
        _R, "The new build imports what the old one does not.", "Ship this fix as an update, or build the fix without the new import."
    ),
    "build_exports_changed": ErrorText(_R, "The exports differ.", "Ship this fix as an update."),
    "build_tls_changed": ErrorText(
        _R, "A changed function uses thread-local storage the old build does not have.", "Ship this fix as an update."
    ),
    "build_initialiser_changed": ErrorText(
        _R, "A function that runs only at load or unload changed.", "Ship this fix as an update: it has already run."
    ),
    "build_function_too_short": ErrorText(
        _R, "A changed function is too short to be redirected.", "Ship this fix as an update, or rebuild the module with hotpatch padding."
    ),
    "build_branch_into_entry": ErrorText(
        _R,
        "A branch leads into the bytes the redirection overwrites.",
        "Ship this fix as an update, or rebuild the module with hotpatch padding.",
    ),
    "build_unsupported_reference": ErrorText(
        _R, "A reference in the new code cannot be carried over.", "Ship this fix as an update; the message names the instruction."
    ),
    "build_unsupported_unwind": ErrorText(_R, "A changed function's unwind data cannot be carried over.", "Ship this fix as an update."),
    "build_proof_failed": ErrorText(
        _R, "The finished payload does not prove equal to the new build.", "Report it with the two files; no payload was written."
    ),
    # -- files on the controller -------------------------------------------------------------------------------------------
    "file_missing": ErrorText(_R, "A file on the controller does not exist or cannot be read.", "Correct the path that is named."),
    "file_unwritable": ErrorText(_R, "A file on the controller cannot be written.", "Correct the path or its permissions."),
    "key_unusable": ErrorText(
        _R,
        "The key is not an EC P-256 key in PEM form, or its passphrase is wrong.",
        "Give a P-256 key; the documentation shows how to make one.",
    ),
    "catalog_malformed": ErrorText(_R, "The catalog or feed document cannot be read.", "Fetch it again; the message names the place."),
    "feed_unreachable": ErrorText(
        _R,
        "A document of the security feed could not be fetched.",
        "Check the URL and the proxy of the controller, or fetch the document elsewhere and give it as a file.",
    ),
    "catalog_product_unknown": ErrorText(
        _R,
        "The catalog has no entry for the host's product.",
        "Read the month's feed with hotpatch.windows.catalog, or add the product to the own list.",
    ),
    "policy_invalid": ErrorText(_R, "The policy, ring or window is not valid.", "Correct the value that is named."),
}


@dataclass
class HotpatchError(Exception):
    """The one exception of the collection: a code of the table, what, where, and what to do.

    :param code: a key of :data:`ERRORS`.
    :param message: what happened, with the names involved; the table's text when empty.
    :param where: the file, host, process or argument concerned.
    :param details: small, JSON-able facts.
    """

    code: str
    message: str = ""
    where: str = ""
    remedy: str = ""
    details: dict[str, t.Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        row = ERRORS[self.code]
        self.message = self.message or row.text
        self.remedy = self.remedy or row.remedy
        super().__init__(self.message)

    @property
    def outcome(self) -> Outcome:
        """The class of the code."""
        return ERRORS[self.code].outcome

    def as_dict(self) -> dict[str, t.Any]:
        """The error as the wire and the module results carry it."""
        return {"code": self.code, "message": self.message, "where": self.where, "remedy": self.remedy, "details": self.details}

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        return f"{self.message}{place} {self.remedy} [{self.code}]"
