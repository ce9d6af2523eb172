# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run programs on a Windows host in a WinRS command shell, without PowerShell."""

from __future__ import annotations

DOCUMENTATION = r"""
author: hotpatch.windows contributors
name: winrs
short_description: Run programs on Windows hosts in a WinRS shell, without PowerShell
version_added: 0.1.0
description:
  - Starts programs directly in a WinRS shell of Windows Remote Management, the one behind C(winrs.exe).
  - The modules of this collection need no PowerShell on the host. Over this connection they start their agent directly, which costs
    6 messages and about 9 kB a task where a PowerShell module costs 27 and 440 kB.
  - Ordinary Ansible modules work over it as far as the host lets the account start C(powershell.exe).
notes:
  - C(become) is not available. The account itself must be a local administrator.
  - Files are transferred with C(tar.exe), which is part of Windows Server 2019 and later, and on Windows Server 2016 with C(certutil.exe).
  - A request that might have reached the host is never sent twice. Only connecting, and asking again for output that was not received,
    are retried.
requirements:
  - pypsrp>=0.8.0, <1.0.0 (Python library)
options:
  remote_addr:
    description: The host name or address of the host.
    type: str
    default: inventory_hostname
    vars:
      - name: inventory_hostname
      - name: ansible_host
      - name: ansible_winrs_host
  remote_user:
    description: The user to log in as.
    type: str
    vars:
      - name: ansible_user
      - name: ansible_winrs_user
    keyword:
      - name: remote_user
  remote_password:
    description: The password of O(remote_user).
    type: str
    aliases:
      - password
    vars:
      - name: ansible_password
      - name: ansible_winrs_password
  port:
    description:
      - The port of the WinRM listener.
      - By default V(5986), or V(5985) when O(protocol=http).
    type: int
    vars:
      - name: ansible_port
      - name: ansible_winrs_port
    keyword:
      - name: port
  protocol:
    description:
      - Whether to use TLS.
      - By default V(https), but V(http) when O(port) is V(5985).
    type: str
    choices:
      - http
      - https
    vars:
      - name: ansible_winrs_protocol
      - name: ansible_winrs_scheme
    env:
      - name: ANSIBLE_WINRS_PROTOCOL
    ini:
      - section: winrs_connection
        key: protocol
  path:
    description: The path of the WinRM listener.
    type: str
    default: wsman
    vars:
      - name: ansible_winrs_path
  auth:
    description:
      - How to authenticate.
      - V(negotiate) uses Kerberos where it is available, and NTLM where it is not.
    type: str
    choices:
      - basic
      - certificate
      - kerberos
      - negotiate
      - ntlm
    default: negotiate
    vars:
      - name: ansible_winrs_auth
    env:
      - name: ANSIBLE_WINRS_AUTH
    ini:
      - section: winrs_connection
        key: auth
  cert_validation:
    description: Whether to check the certificate of the host.
    type: str
    choices:
      - validate
      - ignore
    default: validate
    vars:
      - name: ansible_winrs_cert_validation
    env:
      - name: ANSIBLE_WINRS_CERT_VALIDATION
    ini:
      - section: winrs_connection
        key: cert_validation
  ca_cert:
    description:
      - A file with the certificates, in PEM form, by which to check the certificate of the host.
      - Has no effect when O(cert_validation=ignore).
    type: path
    vars:
      - name: ansible_winrs_ca_cert
    env:
      - name: ANSIBLE_WINRS_CA_CERT
    ini:
      - section: winrs_connection
        key: ca_cert
  certificate_pem:
    description: The client's certificate, for O(auth=certificate).
    type: path
    vars:
      - name: ansible_winrs_certificate_pem
  certificate_key_pem:
    description: The client's key, for O(auth=certificate).
    type: path
    vars:
      - name: ansible_winrs_certificate_key_pem
  message_encryption:
    description:
      - Whether messages are encrypted apart from TLS.
      - V(auto) encrypts when there is no TLS. Only V(kerberos), V(negotiate) and V(ntlm) of O(auth) can do it.
      - V(never) sends everything readable when O(protocol=http). Use it only where nobody can listen.
    type: str
    choices:
      - auto
      - always
      - never
    default: auto
    vars:
      - name: ansible_winrs_message_encryption
    env:
      - name: ANSIBLE_WINRS_MESSAGE_ENCRYPTION
    ini:
      - section: winrs_connection
        key: message_encryption
  proxy:
    description: The URL of a proxy to connect through.
    type: str
    vars:
      - name: ansible_winrs_proxy
  ignore_proxy:
    description: Whether to ignore the proxy settings of the environment. Has no effect when O(proxy) is given.
    type: bool
    default: false
    vars:
      - name: ansible_winrs_ignore_proxy
  connection_timeout:
    description: How many seconds connecting may take.
    type: int
    default: 30
    vars:
      - name: ansible_winrs_connection_timeout
    env:
      - name: ANSIBLE_WINRS_CONNECTION_TIMEOUT
    ini:
      - section: winrs_connection
        key: connection_timeout
  operation_timeout:
    description:
      - After how many seconds the host answers that there is no output yet. The connection then asks again, so this limits no program.
    type: int
    default: 20
    vars:
      - name: ansible_winrs_operation_timeout
    env:
      - name: ANSIBLE_WINRS_OPERATION_TIMEOUT
    ini:
      - section: winrs_connection
        key: operation_timeout
  read_timeout:
    description: How many seconds to wait for an answer of the host. Must be greater than O(operation_timeout).
    type: int
    default: 30
    vars:
      - name: ansible_winrs_read_timeout
    env:
      - name: ANSIBLE_WINRS_READ_TIMEOUT
    ini:
      - section: winrs_connection
        key: read_timeout
  reconnection_retries:
    description: How often connecting is tried again before the host counts as unreachable.
    type: int
    default: 2
    vars:
      - name: ansible_winrs_reconnection_retries
    env:
      - name: ANSIBLE_WINRS_RECONNECTION_RETRIES
    ini:
      - section: winrs_connection
        key: reconnection_retries
  reconnection_backoff:
    description: How many seconds to wait before connecting again. Doubles with every try.
    type: float
    default: 1
    vars:
      - name: ansible_winrs_reconnection_backoff
    env:
      - name: ANSIBLE_WINRS_RECONNECTION_BACKOFF
    ini:
      - section: winrs_connection
        key: reconnection_backoff
  max_envelope_size:
    description:
      - The size in bytes of the largest message, C(MaxEnvelopeSizekb) of the host times 1024. A larger one makes transfers of files faster.
      - The default is the default of Windows Server 2012 R2 and later.
    type: int
    default: 512000
    vars:
      - name: ansible_winrs_max_envelope_size
    env:
      - name: ANSIBLE_WINRS_MAX_ENVELOPE_SIZE
    ini:
      - section: winrs_connection
        key: max_envelope_size
  codepage:
    description: The code page of the shell, which decides how programs write their output. V(65001) is UTF-8.
    type: int
    default: 65001
    vars:
      - name: ansible_winrs_codepage
  negotiate_delegate:
    description: Whether to delegate the credentials, with Kerberos only.
    type: bool
    vars:
      - name: ansible_winrs_negotiate_delegate
  negotiate_hostname_override:
    description: The host name to ask a Kerberos ticket for, where it is not that of O(remote_addr).
    type: str
    vars:
      - name: ansible_winrs_negotiate_hostname_override
  negotiate_send_cbt:
    description: Whether to bind the authentication to the TLS channel.
    type: bool
    default: true
    vars:
      - name: ansible_winrs_negotiate_send_cbt
  negotiate_service:
    description: The service to ask a Kerberos ticket for.
    type: str
    default: HTTP
    vars:
      - name: ansible_winrs_negotiate_service
"""

import contextlib
import logging
import secrets
import tarfile
import time
import typing as t
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PureWindowsPath

from ansible import constants as C
from ansible.errors import AnsibleAuthenticationFailure, AnsibleConnectionFailure, AnsibleError, AnsibleFileNotFound
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.connection import ConnectionBase
from ansible.utils.display import Display

try:
    import requests
    from pypsrp.exceptions import AuthenticationError, WinRMError, WSManFaultError
    from pypsrp.shell import CommandState, Process, SignalCode, WinRS
    from pypsrp.wsman import WSMan

    PYPSRP_ERROR: ImportError | None = None
except ImportError as import_error:
    PYPSRP_ERROR = import_error

display = Display()

Output = tuple[int, bytes, bytes]
"""Exit code, standard output, standard error."""

# ERROR_BROKEN_PIPE, ERROR_NO_DATA, ERROR_PIPE_NOT_CONNECTED and ERROR_OPERATION_ABORTED, plain and as HRESULT: the answers to input for a
# program that has ended without reading all of it.
_PROGRAM_ENDED: t.Final = frozenset(code | facility for code in (109, 232, 233, 995) for facility in (0, 0x80070000))
_ACCESS_DENIED: t.Final = 5
# The most bytes of output kept from one program. The agent's reply has at most 4 MiB; a file that is fetched goes to disk instead.
_MAX_OUTPUT: t.Final = 16 * 1024 * 1024
_TAR: t.Final = r"%SystemRoot%\System32\tar.exe"
_NO_TAR: t.Final = 64
_TAR_BLOCK: t.Final = 512


class Connection(ConnectionBase):
    """One WinRS shell on one host, opened when first needed and used for everything a task does."""

    transport = "hotpatch.windows.winrs"
    module_implementation_preferences = (".ps1", ".exe", "")
    allow_executable = False
    has_pipelining = True
    # Lets the actions of this collection know that programs can be started directly, whatever name the plugin was loaded by.
    runs_programs = True

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        self._shell_type = "cmd"
        self._wsman: t.Any = None
        self._winrs: t.Any = None
        self.environment: dict[str, str] = {}
        self.established = False
        super().__init__(*args, **kwargs)
        if not C.DEFAULT_DEBUG:
            for name in ("pypsrp", "urllib3"):
                logging.getLogger(name).setLevel(logging.ERROR)

    # -- connecting ---------------------------------------------------------------------------------------------------------

    def _connect(self) -> Connection:
        """Open the shell, again and again while the host cannot be reached: nothing has run yet, so nothing runs twice."""
        if PYPSRP_ERROR is not None:
            raise AnsibleError(f"The connection hotpatch.windows.winrs needs the Python library pypsrp: {PYPSRP_ERROR}")
        if self._connected:
            return self
        super()._connect()
        retries, pause = self.get_option("reconnection_retries"), self.get_option("reconnection_backoff")
        for attempt in range(retries + 1):
            try:
                with self._failures("opening a shell"):
                    self._open()
                return self
            except AnsibleAuthenticationFailure:
                raise
            except AnsibleConnectionFailure:
                if attempt == retries:
                    raise
                time.sleep(pause * 2**attempt)
        return self

    def _open(self) -> None:
        self._wsman = WSMan(**self._wsman_arguments())
        self._winrs = WinRS(self._wsman, codepage=self.get_option("codepage"), environment=self.environment or None)
        display.vvv(f"WINRS OPEN SHELL {self._wsman.transport.endpoint} AS {self.get_option('remote_user')}", host=self._host)
        try:
            self._winrs.open()
        except BaseException:
            self._drop()
            raise
        self._connected = True
        self.established = True

    @property
    def _host(self) -> str:
        return str(self.get_option("remote_addr"))

    def _wsman_arguments(self) -> dict[str, t.Any]:
        port, protocol = self.get_option("port"), self.get_option("protocol")
        protocol = protocol or ("http" if port == 5985 else "https")
        verify: bool | str = self.get_option("cert_validation") == "validate"
        if verify and self.get_option("ca_cert"):
            verify = str(self.get_option("ca_cert"))
        same_name = (
            "path",
            "auth",
            "connection_timeout",
            "operation_timeout",
            "read_timeout",
            "max_envelope_size",
            "proxy",
            "certificate_pem",
            "certificate_key_pem",
            "negotiate_delegate",
            "negotiate_hostname_override",
            "negotiate_send_cbt",
            "negotiate_service",
        )
        return {
            **{name: self.get_option(name) for name in same_name},
            "server": self._host,
            "port": port or (5986 if protocol == "https" else 5985),
            "ssl": protocol == "https",
            "username": self.get_option("remote_user"),
            "password": self.get_option("remote_password"),
            "cert_validation": verify,
            "encryption": self.get_option("message_encryption"),
            "no_proxy": boolean(self.get_option("ignore_proxy")),
        }

    @contextlib.contextmanager
    def _failures(self, doing: str) -> Iterator[None]:
        """Whatever the libraries below raise, as the two errors Ansible knows: unreachable and not allowed."""
        try:
            yield
        except AuthenticationError as error:
            self._drop()
            raise AnsibleAuthenticationFailure(f"{error} (while {doing} on {self._host})") from error
        except WSManFaultError as error:
            if error.code == _ACCESS_DENIED:
                raise AnsibleAuthenticationFailure(
                    f"Access is denied: the account may not use WinRM (while {doing} on {self._host})"
                ) from error
            self._drop()
            raise AnsibleConnectionFailure(f"{error} (while {doing} on {self._host})") from error
        except (WinRMError, requests.exceptions.RequestException, OSError) as error:
            self._drop()
            raise AnsibleConnectionFailure(f"{error or type(error).__name__} (while {doing} on {self._host})") from error
        except ValueError as error:  # options that pypsrp refuses: no encryption possible, a bad proxy
            self._drop()
            raise AnsibleError(f"The options of the connection to {self._host} do not fit together: {error}") from error

    def _drop(self) -> None:
        """Forget the shell without a word to the host, which may be gone."""
        wsman, self._wsman, self._winrs = self._wsman, None, None
        self._connected = False
        if wsman is not None:
            wsman.transport.close()

    def close(self) -> None:
        """Close the shell on the host; a host that is gone has closed it already."""
        if self._winrs is not None:
            with contextlib.suppress(WinRMError, requests.exceptions.RequestException, OSError):
                self._winrs.close()
        self._drop()

    def reset(self) -> None:
        """Start anew with the next command."""
        self.close()

    # -- running programs ---------------------------------------------------------------------------------------------------

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> Output:
        """Run a command line in the host's command shell."""
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        code, stdout, stderr = self.run_program(cmd, [in_data] if in_data else [])
        if code in (1, 9009) and cmd.lower().startswith("powershell") and b"powershell" in stderr.lower() and not stdout:
            raise AnsibleError(
                f"{self._host} does not let this account start PowerShell, which this module needs; "
                "the modules of hotpatch.windows work without it."
            )
        return code, stdout, stderr

    def run_program(
        self,
        command: str,
        stdin: Iterable[bytes] = (),
        *,
        sink: Callable[[bytes], object] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Output:
        """Run one command line through the command shell.

        :param command: the line, quoted as cmd.exe wants it.
        :param stdin: pieces of what the program reads; it sees the end of its input after the last.
        :param sink: gets the standard output instead of the caller; the one that is returned is then empty.
        :param progress: told the number of bytes sent so far.
        :raises AnsibleConnectionFailure: the host went away; whether the program ran is not known.
        """
        self._connect()
        display.vvvv(f"WINRS EXEC {command}", host=self._host)
        with self._failures("running a program"):
            process = Process(self._winrs, command)
            process.begin_invoke()
            self._feed(process, stdin, progress)
            output = self._collect(process, sink)
            with contextlib.suppress(WSManFaultError):  # the command may be gone by itself
                process.signal(SignalCode.CTRL_C)
        display.vvvvv(f"WINRS EXIT CODE {output[0]}", host=self._host)
        return output

    def _feed(self, process: t.Any, stdin: Iterable[bytes], progress: Callable[[int], None] | None) -> None:
        """Send all input in messages as large as the host takes, the last one marked as the end."""
        size, sent = self._wsman.max_payload_size, 0
        waiting = b""
        try:
            for piece in stdin:
                waiting += piece
                while len(waiting) > size:
                    process.send(waiting[:size], end=False)
                    waiting = waiting[size:]
                    sent += size
                    if progress is not None:
                        progress(sent)
            process.send(waiting, end=True)
            if progress is not None:
                progress(sent + len(waiting))
        except WSManFaultError as error:
            # A program that ends early, because its file is missing or its disk full, says why on its own output.
            if error.code not in _PROGRAM_ENDED:
                with contextlib.suppress(WSManFaultError):
                    process.signal(SignalCode.TERMINATE)
                raise

    def _collect(self, process: t.Any, sink: Callable[[bytes], object] | None) -> Output:
        kept = 0
        while process.state != CommandState.DONE:
            process.poll_invoke()
            if sink is not None and process.stdout:
                sink(process.stdout)
                process.stdout = b""
            kept = len(process.stdout) + len(process.stderr)
            if kept > _MAX_OUTPUT:
                process.signal(SignalCode.TERMINATE)
                raise AnsibleError(f"A program on {self._host} wrote more than {_MAX_OUTPUT} bytes.")
        # A program that was ended from outside has no exit code; it must not look like a success.
        return process.rc if process.rc is not None else -1, process.stdout, process.stderr

    # -- files --------------------------------------------------------------------------------------------------------------

    def put_file(self, in_path: str, out_path: str) -> None:
        """Copy a file to the host; its folder must exist."""
        super().put_file(in_path, out_path)
        self.put_stream(Path(in_path), out_path)

    def put_stream(self, source: Path, destination: str, progress: Callable[[int], None] | None = None) -> None:
        """Copy a file to the host as the only member of an archive that the host's tar unpacks, or by certutil where there is no tar.

        :raises AnsibleError: the host could not write it; a half-written file is removed.
        """
        if not source.is_file():
            raise AnsibleFileNotFound(file_name=str(source))
        target = PureWindowsPath(self._unquoted(destination))
        display.vvv(f"WINRS PUT {source} TO {target}", host=self._host)
        unpack = f'if exist "{_TAR}" ("{_TAR}" -xf - -C "{_folder(target)}") else (exit {_NO_TAR})'
        code, _stdout, stderr = self.run_program(unpack, _archive(source, target.name), progress=progress)
        if code == _NO_TAR:
            code, _stdout, stderr = self._put_base64(source, target)
        if code != 0:
            self.run_program(f'if exist "{target}" del /f /q "{target}"')
            raise AnsibleError(f"The host could not write {target}: {_text(stderr) or f'exit code {code}'}")

    def _put_base64(self, source: Path, target: PureWindowsPath) -> Output:
        """Windows Server 2016 has no tar; certutil decodes a text that more has written."""
        text = f"{target}.{secrets.token_hex(4)}.b64"
        outcome = self.run_program(f'more > "{text}"', _base64_lines(source))
        if outcome[0] == 0:
            outcome = self.run_program(f'certutil -f -decode "{text}" "{target}" >nul')
        self.run_program(f'del /f /q "{text}"')
        return outcome

    def fetch_file(self, in_path: str, out_path: str) -> None:
        """Copy a file from the host."""
        super().fetch_file(in_path, out_path)
        source = PureWindowsPath(self._unquoted(in_path))
        display.vvv(f"WINRS FETCH {source} TO {out_path}", host=self._host)
        pack = f'if exist "{_TAR}" ("{_TAR}" -cf - -C "{_folder(source)}" "{source.name}") else (exit {_NO_TAR})'
        received = Path(f"{out_path}.{secrets.token_hex(4)}.tar")
        try:
            with received.open("wb") as archive:
                code, _stdout, stderr = self.run_program(pack, sink=archive.write)
            if code == _NO_TAR:
                raise AnsibleError(f"Fetching {source} needs tar.exe on the host, which Windows Server 2019 and later have.")
            if code != 0:
                raise AnsibleError(f"The host could not read {source}: {_text(stderr) or f'exit code {code}'}")
            _unpack_one(received, Path(out_path))
        finally:
            received.unlink(missing_ok=True)

    def _unquoted(self, path: str) -> str:
        return str(self._shell._unquote(path))


def _folder(path: PureWindowsPath) -> str:
    """The folder of a file as an argument between quotes: the backslash of a drive's root would escape the closing quote."""
    folder = str(path.parent)
    return folder + "." if folder.endswith("\\") else folder


def _archive(source: Path, name: str) -> Iterator[bytes]:
    """A tar archive with one file, piece by piece: a package has hundreds of megabytes."""
    size = source.stat().st_size
    entry = tarfile.TarInfo(name)
    entry.size = size
    entry.mtime = int(time.time())
    yield entry.tobuf(tarfile.PAX_FORMAT, "utf-8")
    with source.open("rb") as file:
        while piece := file.read(1024 * 1024):
            yield piece
    yield bytes(-size % _TAR_BLOCK + 2 * _TAR_BLOCK)


def _unpack_one(archive: Path, destination: Path) -> None:
    """Write the only file of an archive to a place of the caller's choosing; names inside it are not believed."""
    with tarfile.open(archive) as tar:
        member = tar.next()
        content = tar.extractfile(member) if member is not None and member.isreg() else None
        if content is None:
            raise AnsibleError("The host sent no regular file.")
        with destination.open("wb") as file:
            while piece := content.read(1024 * 1024):
                file.write(piece)


def _base64_lines(source: Path) -> Iterator[bytes]:
    import binascii

    with source.open("rb") as file:
        while piece := file.read(57):  # 76 characters a line, as RFC 2045 has it
            yield binascii.b2a_base64(piece, newline=False) + b"\r\n"


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").strip()
