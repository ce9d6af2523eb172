// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// A worker keeps a connection while requests come, and hands it back to the queue when it is silent and others wait, so that
// more clients than threads still get their turn.
#include "http.hpp"

#include <ws2tcpip.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <optional>
#include <stdexcept>
#include <utility>

namespace orders {
namespace {

constexpr std::size_t max_request = 64 * 1024;
constexpr long idle_wait_us = 20'000; // how long a silent connection holds its thread before others get their turn

enum class Wait : std::uint8_t { readable, silent, failed };

Wait wait_readable(SOCKET socket, long microseconds) {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(socket, &set);
    timeval timeout{0, microseconds};
    const int ready = select(0, &set, nullptr, nullptr, &timeout);
    return ready > 0 ? Wait::readable : ready == 0 ? Wait::silent : Wait::failed;
}

bool send_all(SOCKET socket, std::string_view data) {
    while (!data.empty()) {
        const int sent = send(socket, data.data(), static_cast<int>(data.size()), 0);
        if (sent <= 0)
            return false;
        data.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
}

std::string lower(std::string_view text) {
    std::string result(text);
    std::transform(result.begin(), result.end(), result.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    return result;
}

std::string_view trim(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t'))
        text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t'))
        text.remove_suffix(1);
    return text;
}

struct Head {
    Request request;
    std::size_t body_length = 0;
};

// Parses the request line and the header lines; nothing when they are not HTTP. Kept out of converse(), in which connections
// live long: a payload replaces the smallest function that has the bug.
[[gnu::noinline]] std::optional<Head> parse_head(std::string_view text) {
    Head head;
    const std::size_t line_end = text.find("\r\n");
    std::string_view line = text.substr(0, line_end);
    const std::size_t first = line.find(' ');
    const std::size_t second = line.rfind(' ');
    if (first == std::string_view::npos || second <= first)
        return std::nullopt;
    const std::string_view version = line.substr(second + 1);
    if (version != "HTTP/1.1" && version != "HTTP/1.0")
        return std::nullopt;
    head.request.keep_alive = version == "HTTP/1.1";
    head.request.method = line.substr(0, first);
    const std::string_view target = line.substr(first + 1, second - first - 1);
    const std::size_t mark = target.find('?');
    head.request.path = target.substr(0, mark);
    if (mark != std::string_view::npos)
        head.request.query = target.substr(mark + 1);
    for (std::size_t at = line_end; at != std::string_view::npos && at + 2 < text.size();) {
        const std::size_t start = at + 2;
        at = text.find("\r\n", start);
        line = text.substr(start, at == std::string_view::npos ? at : at - start);
        const std::size_t colon = line.find(':');
        if (colon == std::string_view::npos)
            return std::nullopt;
        const std::string name = lower(line.substr(0, colon));
        const std::string_view value = trim(line.substr(colon + 1));
        if (name == "connection")
            head.request.keep_alive = lower(value) == "keep-alive" || (head.request.keep_alive && lower(value) != "close");
        else if (name == "content-length") {
            const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), head.body_length);
            if (error != std::errc{} || end != value.data() + value.size() || head.body_length > max_request)
                return std::nullopt;
        } else if (name == "transfer-encoding")
            return std::nullopt;
    }
    return head;
}

const char *reason(int status) {
    switch (status) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 413:
        return "Content Too Large";
    case 503:
        return "Service Unavailable";
    default:
        return "Internal Server Error";
    }
}

std::string render(const Answer &answer, bool keep_alive) {
    std::string text = "HTTP/1.1 " + std::to_string(answer.status) + " " + reason(answer.status) +
                       "\r\nContent-Type: " + answer.type + "\r\nContent-Length: " + std::to_string(answer.body.size()) +
                       "\r\nConnection: " + (keep_alive ? "keep-alive" : "close") + "\r\n\r\n";
    return text += answer.body;
}

bool receive_more(SOCKET socket, std::string &pending) {
    char buffer[8192];
    const int count = recv(socket, buffer, sizeof buffer, 0);
    if (count <= 0 || pending.size() + static_cast<std::size_t>(count) > 2 * max_request)
        return false;
    pending.append(buffer, static_cast<std::size_t>(count));
    return true;
}

} // namespace

Server::Server(const std::string &address, std::uint16_t port, std::size_t workers, Handler handler)
    : handler_(std::move(handler)) {
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_port = htons(port);
    if (inet_pton(AF_INET, address.c_str(), &where.sin_addr) != 1)
        throw std::runtime_error("not an IPv4 address: " + address);
    listener_ = socket(AF_INET, SOCK_STREAM, IPPROTO_TCP);
    int length = sizeof where;
    const BOOL exclusive = TRUE;
    if (listener_ == INVALID_SOCKET ||
        setsockopt(listener_, SOL_SOCKET, SO_EXCLUSIVEADDRUSE, reinterpret_cast<const char *>(&exclusive), sizeof exclusive) !=
            0 ||
        bind(listener_, reinterpret_cast<const sockaddr *>(&where), length) != 0 || listen(listener_, SOMAXCONN) != 0 ||
        getsockname(listener_, reinterpret_cast<sockaddr *>(&where), &length) != 0)
        throw std::runtime_error("cannot listen on " + address + ":" + std::to_string(port) + ", Winsock error " +
                                 std::to_string(WSAGetLastError()));
    port_ = ntohs(where.sin_port);
    for (std::size_t worker = 0; worker < workers; ++worker)
        threads_.emplace_back([this, worker] { serve(worker); });
}

Server::~Server() {
    stop();
    for (std::thread &thread : threads_)
        thread.join();
    for (const Connection &connection : waiting_)
        closesocket(connection.socket);
    closesocket(listener_);
}

void Server::stop() {
    stopping_ = true;
    ready_.notify_all();
}

void Server::run() {
    while (!stopping_) {
        if (wait_readable(listener_, 200'000) != Wait::readable)
            continue;
        const SOCKET accepted = accept(listener_, nullptr, nullptr);
        if (accepted == INVALID_SOCKET)
            continue;
        const BOOL no_delay = TRUE;
        setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, reinterpret_cast<const char *>(&no_delay), sizeof no_delay);
        give_back({accepted, {}});
    }
}

bool Server::take(Connection &connection) {
    std::unique_lock lock(mutex_);
    ready_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
    if (stopping_)
        return false;
    connection = std::move(waiting_.front());
    waiting_.pop_front();
    return true;
}

void Server::give_back(Connection connection) {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(connection));
    ready_.notify_one();
}

void Server::serve(std::size_t worker) {
    Connection connection{};
    while (take(connection)) {
        if (converse(worker, connection) == After::idle)
            give_back(std::move(connection));
        else
            closesocket(connection.socket);
    }
}

// Answers requests until the client leaves, or is silent between two requests while others wait.
Server::After Server::converse(std::size_t worker, Connection &connection) {
    std::string &pending = connection.pending;
    while (!stopping_) {
        const std::size_t head_end = pending.find("\r\n\r\n");
        const std::optional<Head> head =
            head_end == std::string::npos ? std::nullopt : parse_head(std::string_view(pending).substr(0, head_end));
        if (head_end != std::string::npos && !head) {
            send_all(connection.socket, render({400, "text/plain", "not HTTP\n"}, false));
            return After::close;
        }
        if (head && pending.size() >= head_end + 4 + head->body_length) {
            Request request = head->request;
            request.body = pending.substr(head_end + 4, head->body_length);
            pending.erase(0, head_end + 4 + head->body_length);
            if (!send_all(connection.socket, render(handler_(worker, request), request.keep_alive)) || !request.keep_alive)
                return After::close;
            continue;
        }
        switch (wait_readable(connection.socket, idle_wait_us)) {
        case Wait::failed:
            return After::close;
        case Wait::silent: {
            const std::lock_guard lock(mutex_);
            if (!waiting_.empty())
                return After::idle;
            break;
        }
        case Wait::readable:
            if (!receive_more(connection.socket, pending))
                return After::close;
        }
    }
    return After::close;
}

} // namespace orders
