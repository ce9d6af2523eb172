# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""What do all actions of this collection have in common?

:class:`DocumentedAction` validates the task's arguments from the module's documentation and turns errors into results.
:class:`AgentAction` adds a session with the agent of the host. A module's own plugin only overrides :meth:`AgentAction.perform`.
"""

from __future__ import annotations

import contextlib
import typing as t
from collections.abc import Iterator, Mapping
from pathlib import Path

from ansible.errors import AnsibleActionFail, AnsibleAuthenticationFailure, AnsibleConnectionFailure, AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

from ansible_collections.hotpatch.windows.plugins.plugin_utils._agent.carriers import Carrier, PowerShellCarrier, WinrsCarrier
from ansible_collections.hotpatch.windows.plugins.plugin_utils._agent.session import AgentSession, Settings
from ansible_collections.hotpatch.windows.plugins.plugin_utils._docs import Rules, validate
from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError

HTTP_ERRORS: tuple[type[Exception], ...] = ()
with contextlib.suppress(ImportError):  # without the library no connection over HTTP can be in use
    from requests.exceptions import RequestException

    HTTP_ERRORS = (RequestException,)

Arguments = dict[str, t.Any]
Result = dict[str, t.Any]

SHIPPED_AGENT: t.Final = Path(__file__).parents[2] / "roles" / "agent" / "files" / "hotpatch-agent.exe"
# What psrp and winrm say when the password is wrong; they have no error of its own for it.
_REJECTED: t.Final = ("failed to authenticate", "credentials were rejected", "access is denied")


def failed(error: HotpatchError, **halves: t.Any) -> Result:
    """A failed result: the words in ``msg``, the facts in ``error``, and what had been done before."""
    return {"failed": True, "msg": str(error), "error": error.as_dict(), **halves}


class DocumentedAction(ActionBase):
    """An action whose argument spec is its module's documentation."""

    rules = Rules()
    """The relations between options, which documentation cannot express."""

    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> Result:
        """Validate, work, and turn an error into a result."""
        result: Result = super().run(tmp, task_vars)
        del tmp  # tmp no longer has any effect
        self.task_vars: dict[str, t.Any] = task_vars or {}
        try:
            arguments = validate(self.module_name(), self._task.args, self.rules)
            result.update(self.work(arguments))
        except HotpatchError as error:
            result.update(failed(error))
        return result

    def work(self, arguments: Arguments) -> Result:
        """Do the task with complete, valid arguments."""
        raise NotImplementedError

    @classmethod
    def module_name(cls) -> str:
        """The module's short name: that of the file the action is in."""
        return cls.__module__.rpartition(".")[2]

    @property
    def check_mode(self) -> bool:
        """Whether nothing may be changed."""
        return bool(self._task.check_mode)

    def with_diff(self, result: Result, before: Mapping[str, t.Any], after: Mapping[str, t.Any]) -> Result:
        """Add the difference when it is asked for."""
        if self._task.diff:
            result["diff"] = {"before": dict(before), "after": dict(after)}
        return result

    def find_file(self, name: str, option: str = "src") -> Path:
        """A file of the controller, looked for as Ansible looks for the files of roles and playbooks.

        :raises HotpatchError: ``argument_invalid`` when there is none.
        """
        try:
            return Path(self._find_needle("files", name))
        except AnsibleError as error:
            raise HotpatchError("argument_invalid", f"The file '{name}' was not found on the controller.", where=option) from error

    def variable(self, name: str, default: t.Any = None) -> t.Any:
        """A variable of the host, templated."""
        variables = self.task_vars
        if self._task.delegate_to:
            variables = variables.get("ansible_delegated_vars", {}).get(self._task.delegate_to, variables)
        value = variables.get(name)
        return default if value is None else self._templar.template(value)

    @property
    def host(self) -> str:
        """The host's name in the inventory."""
        return str(self._task.delegate_to or self.task_vars.get("inventory_hostname", ""))

    def say(self, message: str) -> None:
        """Show progress while the task runs: results reach the screen only at its end."""
        self._display.display(f"[{self.host}] {message}")


class AgentAction(DocumentedAction):
    """An action that talks to the agent of the host."""

    def work(self, arguments: Arguments) -> Result:
        """Open the session, perform, and remove what was sent, whatever happened."""
        agent = AgentSession(self._carrier(), self._settings())
        try:
            result = self.perform(agent, arguments)
        except AnsibleConnectionFailure as error:
            return self._unreachable(error, agent)
        finally:
            self._close(agent)
        if agent.identity is not None:
            result["agent"] = {"version": agent.identity.version, "mode": agent.identity.mode}
        return result

    def perform(self, agent: AgentSession, arguments: Arguments) -> Result:
        """Do the task: requests to the agent, replies into a result."""
        raise NotImplementedError

    def _close(self, agent: AgentSession) -> None:
        try:
            agent.close()
        except (AnsibleError, HotpatchError) as error:
            # The result of the work counts; a folder that stays behind holds nothing but the agent's program.
            self._display.vv(f"The folder for this task could not be removed: {error}", host=self.host)

    def _unreachable(self, error: AnsibleConnectionFailure, agent: AgentSession) -> Result:
        words = str(error)
        if isinstance(error, AnsibleAuthenticationFailure) or any(sign in words.lower() for sign in _REJECTED):
            reason = HotpatchError("access_denied", words, where=self.host)
        elif agent.identity is not None or getattr(self._connection, "established", False):
            reason = HotpatchError("host_rebooting", f"The connection was lost while the task ran: {words}", where=self.host)
        else:
            reason = HotpatchError("host_unreachable", words, where=self.host)
        # Ansible cannot rescue an unreachable host, and leaves it out of everything that follows, reports included.
        if self._flag("hotpatch_windows_unreachable_fails"):
            return failed(reason, changed=False)
        return {"unreachable": True, "msg": str(reason), "error": reason.as_dict(), "changed": False}

    # -- settings and carrier -----------------------------------------------------------------------------------------------

    def _settings(self) -> Settings:
        mode = self.variable("hotpatch_windows_agent_mode", "resident")
        if mode not in ("resident", "transient"):
            raise HotpatchError("argument_invalid", f"'{mode}' is not 'resident' or 'transient'.", where="hotpatch_windows_agent_mode")
        path = self.variable("hotpatch_windows_agent_path")
        lab = self._flag("hotpatch_windows_lab")
        return Settings(Path(path) if path else SHIPPED_AGENT, transient=mode == "transient", lab=lab)

    def _flag(self, name: str) -> bool:
        try:
            return bool(boolean(self.variable(name, False)))
        except TypeError as error:
            raise HotpatchError("argument_invalid", str(error), where=name) from error

    def _carrier(self) -> Carrier:
        if getattr(self._connection, "runs_programs", False):
            if self._connection.become is not None:
                raise HotpatchError(
                    "argument_conflict",
                    "'become' has no effect on the connection hotpatch.windows.winrs.",
                    where="become",
                    remedy="Log in as a local administrator, or use the connection psrp for this task.",
                )
            environment: dict[str, t.Any] = {}
            self._compute_environment_string(environment)
            self._connection.environment = {name: str(value) for name, value in environment.items()}
            return WinrsCarrier(self._connection)
        if getattr(self._connection._shell, "SHELL_FAMILY", "") == "powershell":
            return PowerShellCarrier(self)
        raise HotpatchError(
            "argument_invalid",
            f"The connection '{self._connection.transport}' leads to no Windows host.",
            where="ansible_connection",
            remedy="Use hotpatch.windows.winrs, psrp, winrm, or ssh with ansible_shell_type 'powershell'.",
        )

    def execute_module(self, module: str, arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        """For PowerShellCarrier."""
        with _as_unreachable():
            return t.cast(dict[str, t.Any], self._execute_module(module_name=module, module_args=arguments, task_vars=self.task_vars))

    def run_shell(self, command: str) -> tuple[int, str, str]:
        """For PowerShellCarrier."""
        with _as_unreachable():
            done = self._low_level_execute_command(command)
        return int(done["rc"]), str(done["stdout"]), str(done["stderr"])

    def transfer(self, source: Path, name: str) -> str:
        """For PowerShellCarrier."""
        shell = self._connection._shell
        try:
            if shell.tmpdir is None:
                self._make_tmp_path()
            with _as_unreachable():
                return str(self._transfer_file(str(source), shell.join_path(shell.tmpdir, name)))
        except AnsibleConnectionFailure:
            raise
        except (AnsibleError, AnsibleActionFail) as error:
            raise HotpatchError("agent_internal", f"The file could not be copied to the host: {error}", where=str(source)) from error

    def reset_connection(self) -> None:
        """For PowerShellCarrier."""
        self._connection.close()
        self._connection.reset()


@contextlib.contextmanager
def _as_unreachable() -> Iterator[None]:
    """psrp and winrm let errors of the HTTP library through when a host goes away in the middle of a command."""
    try:
        yield
    except HTTP_ERRORS as error:
        raise AnsibleConnectionFailure(f"The host does not answer any more: {error}") from error
