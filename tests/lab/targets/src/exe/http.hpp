// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// HTTP/1.1 on a socket: reads requests, writes answers, keeps connections alive, serves them from a fixed pool of threads.
#pragma once

#include <winsock2.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace orders {

struct Request {
    std::string method;
    std::string path;
    std::string query;
    std::string body;
    bool keep_alive = true;
};

struct Answer {
    int status = 200;
    std::string type = "application/json";
    std::string body;
};

// Called on the pool's threads; `worker` is the thread's number, below the pool's size.
using Handler = std::function<Answer(std::size_t worker, const Request &request)>;

class Server {
public:
    // Throws std::runtime_error when the address cannot be listened on. Port 0 lets Windows choose.
    Server(const std::string &address, std::uint16_t port, std::size_t workers, Handler handler);
    ~Server();
    Server(const Server &) = delete;
    Server &operator=(const Server &) = delete;

    [[nodiscard]] std::uint16_t port() const { return port_; }

    // Accepts connections until stop() is called from another thread.
    void run();
    void stop();

private:
    struct Connection {
        SOCKET socket;
        std::string pending; // bytes read beyond the last request
    };
    enum class After : std::uint8_t { close, idle };

    void serve(std::size_t worker);
    bool take(Connection &connection);
    void give_back(Connection connection);
    After converse(std::size_t worker, Connection &connection);

    Handler handler_;
    SOCKET listener_ = INVALID_SOCKET;
    std::uint16_t port_ = 0;
    std::atomic<bool> stopping_{false};
    std::mutex mutex_;
    std::condition_variable ready_;
    std::deque<Connection> waiting_;
    std::vector<std::thread> threads_;
};

} // namespace orders
