// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "pipe.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <list>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include <windows.h>

#include <sddl.h>

#include "protocol.hpp"
#include "text.hpp"
#include "win32.hpp"

namespace hotpatch {

namespace {

constexpr const wchar_t *pipe_name = L"\\\\.\\pipe\\hotpatch-agent";
constexpr const wchar_t *pipe_sddl = L"O:SYG:SYD:P(A;;GA;;;SY)(A;;GA;;;BA)";
constexpr DWORD most_connections = 32;
constexpr DWORD buffer_size = 65'536;
constexpr DWORD request_limit_ms = 30'000; // a client sends its request at once; one that does not is let go
constexpr DWORD reply_limit_ms = 30'000;   // and reads its reply
constexpr DWORD connect_limit_ms = 10'000;

using Bytes32 = std::array<std::uint8_t, 4>;

Bytes32 length_bytes(std::size_t length) {
    Bytes32 bytes{};
    for (std::size_t index = 0; index < bytes.size(); ++index) {
        bytes.at(index) = static_cast<std::uint8_t>(length >> (8 * index));
    }
    return bytes;
}

std::size_t length_of(const Bytes32 &bytes) {
    std::size_t length = 0;
    for (std::size_t index = bytes.size(); index-- > 0;) {
        length = (length << 8U) | bytes.at(index);
    }
    return length;
}

Error pipe_error(const char *what) {
    return last_error(Code::agent_internal, what, to_utf8(pipe_name));
}

// One end of a pipe opened for overlapped use, so that every wait has a limit and ends when the service stops.
class Connection {
public:
    Connection(unique_handle pipe, HANDLE stop)
        : pipe_(std::move(pipe)), event_(CreateEventW(nullptr, TRUE, FALSE, nullptr)), stop_(stop) {}

    [[nodiscard]] HANDLE get() const { return pipe_.get(); }

    // True when a client has connected; false when `stop` came first.
    Result<bool> wait_for_client() {
        OVERLAPPED operation = begin();
        if (ConnectNamedPipe(pipe_.get(), &operation) == FALSE) {
            const DWORD number = GetLastError();
            if (number == ERROR_PIPE_CONNECTED) {
                return true;
            }
            if (number != ERROR_IO_PENDING) {
                return pipe_error("No client can be taken");
            }
        }
        return finish(operation, INFINITE).has_value();
    }

    bool read_all(std::span<std::uint8_t> into, DWORD limit_ms) {
        while (!into.empty()) {
            OVERLAPPED operation = begin();
            const bool begun =
                ReadFile(pipe_.get(), into.data(), static_cast<DWORD>(into.size()), nullptr, &operation) != FALSE ||
                GetLastError() == ERROR_IO_PENDING;
            const auto done = begun ? finish(operation, limit_ms) : std::nullopt;
            if (!done || *done == 0) {
                return false;
            }
            into = into.subspan(*done);
        }
        return true;
    }

    bool write_all(std::span<const std::uint8_t> from, DWORD limit_ms) {
        while (!from.empty()) {
            OVERLAPPED operation = begin();
            const auto part = static_cast<DWORD>(std::min<std::size_t>(from.size(), buffer_size));
            const bool begun =
                WriteFile(pipe_.get(), from.data(), part, nullptr, &operation) != FALSE || GetLastError() == ERROR_IO_PENDING;
            const auto done = begun ? finish(operation, limit_ms) : std::nullopt;
            if (!done || *done == 0) {
                return false;
            }
            from = from.subspan(*done);
        }
        return true;
    }

    bool write_document(std::string_view document, DWORD limit_ms) {
        return write_all(length_bytes(document.size()), limit_ms) &&
               write_all({reinterpret_cast<const std::uint8_t *>(document.data()), document.size()}, limit_ms);
    }

    // Nothing when the other side went away, was too slow, or announced more than the limit.
    std::optional<std::string> read_document(std::size_t largest, DWORD limit_ms) {
        Bytes32 length{};
        if (!read_all(length, limit_ms) || length_of(length) > largest) {
            return std::nullopt;
        }
        std::string document(length_of(length), '\0');
        if (!read_all({reinterpret_cast<std::uint8_t *>(document.data()), document.size()}, limit_ms)) {
            return std::nullopt;
        }
        return document;
    }

private:
    OVERLAPPED begin() {
        ResetEvent(event_.get());
        OVERLAPPED operation{};
        operation.hEvent = event_.get();
        return operation;
    }

    // How many bytes; nothing on failure, after the limit, or when `stop` came first.
    std::optional<DWORD> finish(OVERLAPPED &operation, DWORD limit_ms) {
        const std::array<HANDLE, 2> handles{event_.get(), stop_};
        const DWORD count = stop_ != nullptr ? 2 : 1;
        const DWORD woken = WaitForMultipleObjects(count, handles.data(), FALSE, limit_ms);
        if (woken != WAIT_OBJECT_0) {
            CancelIoEx(pipe_.get(), &operation);
        }
        DWORD done = 0;
        // Also after a cancel: the structure must not go away before Windows is done with it.
        if (GetOverlappedResult(pipe_.get(), &operation, &done, TRUE) == FALSE || woken != WAIT_OBJECT_0) {
            return std::nullopt;
        }
        return done;
    }

    unique_handle pipe_;
    unique_handle event_;
    HANDLE stop_;
};

Result<unique_handle> create_instance(bool first) {
    unique_local descriptor;
    if (ConvertStringSecurityDescriptorToSecurityDescriptorW(pipe_sddl, SDDL_REVISION_1, descriptor.out(), nullptr) == FALSE) {
        return pipe_error("The pipe's access list cannot be made");
    }
    SECURITY_ATTRIBUTES attributes{sizeof attributes, descriptor.get(), FALSE};
    const DWORD open_mode = PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED | (first ? DWORD{FILE_FLAG_FIRST_PIPE_INSTANCE} : 0);
    unique_handle pipe(CreateNamedPipeW(pipe_name, open_mode,
                                        PIPE_TYPE_BYTE | PIPE_READMODE_BYTE | PIPE_WAIT | PIPE_REJECT_REMOTE_CLIENTS,
                                        most_connections, buffer_size, buffer_size, 0, &attributes));
    if (!pipe) {
        return pipe_error("The pipe cannot be created");
    }
    return pipe;
}

void serve_client(Connection &connection, const std::function<std::string(std::string_view)> &answer) {
    const auto request = connection.read_document(largest_request, request_limit_ms);
    if (request && connection.write_document(answer(*request), reply_limit_ms)) {
        std::uint8_t nothing = 0;
        // The client closes its end when it has read everything; disconnecting earlier would throw away what it has not read yet.
        (void)connection.read_all({&nothing, 1}, reply_limit_ms);
    }
    DisconnectNamedPipe(connection.get());
}

// Threads that serve clients. Finished ones are joined when the next client comes, and all at the end.
class Workers {
public:
    Workers() = default;
    Workers(const Workers &) = delete;
    Workers &operator=(const Workers &) = delete;
    ~Workers() { join(true); }

    void start(std::unique_ptr<Connection> connection, const std::function<std::string(std::string_view)> &answer) {
        join(false);
        auto &worker = workers_.emplace_back();
        worker.thread = std::thread([&worker, &answer, client = std::move(connection)] {
            serve_client(*client, answer);
            worker.done = true;
        });
    }

private:
    struct Worker {
        std::thread thread;
        std::atomic<bool> done{false};
    };
    void join(bool all) {
        workers_.remove_if([&](Worker &worker) {
            if (all || worker.done) {
                worker.thread.join();
                return true;
            }
            return false;
        });
    }
    std::list<Worker> workers_;
};

Result<unique_handle> open_client() {
    constexpr DWORD pause_ms = 50;
    for (DWORD waited = 0;; waited += pause_ms) {
        unique_handle pipe(CreateFileW(pipe_name, GENERIC_READ | GENERIC_WRITE, 0, nullptr, OPEN_EXISTING,
                                       FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION, nullptr));
        if (pipe) {
            return pipe;
        }
        const DWORD number = GetLastError();
        if (number == ERROR_ACCESS_DENIED) {
            return windows_error(Code::access_denied, "The account may not speak to the agent's service", to_utf8(pipe_name),
                                 number);
        }
        const bool later =
            number == ERROR_PIPE_BUSY || number == ERROR_FILE_NOT_FOUND; // all instances taken, or the service has just started
        if (!later || waited >= connect_limit_ms) {
            return windows_error(Code::agent_busy, "The agent's service takes no connection", to_utf8(pipe_name), number);
        }
        Sleep(pause_ms);
    }
}

} // namespace

Result<std::string> ask_service(std::string_view request, std::uint32_t service_pid) {
    auto pipe = open_client();
    if (!pipe) {
        return pipe.error();
    }
    ULONG server = 0;
    if (GetNamedPipeServerProcessId(pipe.value().get(), &server) == FALSE || server != service_pid) {
        return Error{Code::access_denied,
                     "The pipe is served by process " + std::to_string(server) + ", the service is process " +
                         std::to_string(service_pid),
                     to_utf8(pipe_name), 0};
    }
    Connection connection(std::move(pipe).value(), nullptr);
    // No limit on the answer: the operation has its own, and a fetch of gigabytes may take as long as it takes.
    auto reply =
        connection.write_document(request, request_limit_ms) ? connection.read_document(largest_reply, INFINITE) : std::nullopt;
    if (!reply) {
        return Error{Code::agent_no_reply, "The agent's service closed the connection without a reply", to_utf8(pipe_name), 0};
    }
    return std::move(*reply);
}

Status serve_pipe(HANDLE stop, const std::function<std::string(std::string_view)> &answer) {
    Workers workers;
    for (bool first = true;; first = false) {
        auto pipe = create_instance(first);
        if (!pipe) {
            if (first || WaitForSingleObject(stop, 1000) == WAIT_OBJECT_0) {
                return pipe.error();
            }
            continue; // all instances are taken at the moment
        }
        auto connection = std::make_unique<Connection>(std::move(pipe).value(), stop);
        const auto connected = connection->wait_for_client();
        if (WaitForSingleObject(stop, 0) == WAIT_OBJECT_0) {
            return Unit{};
        }
        if (connected && connected.value()) {
            workers.start(std::move(connection), answer);
        }
    }
}

} // namespace hotpatch
