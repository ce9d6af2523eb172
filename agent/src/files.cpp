// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "files.hpp"

#include <algorithm>
#include <atomic>

#include <shlobj.h>

#include "text.hpp"
#include "win32.hpp"

namespace hotpatch {

namespace {

constexpr DWORD disk_quota_exceeded = 1295; // ERROR_DISK_QUOTA_EXCEEDED, which mingw's headers lack

std::string shown(const std::wstring &path) {
    return to_utf8(path);
}

Error read_error(const std::wstring &path) {
    return last_error(Code::agent_internal, "A file cannot be read", shown(path));
}

Error write_error(const std::wstring &path) {
    const DWORD number = GetLastError();
    return windows_error(code_of_write_error(number), "A file cannot be written", shown(path), number);
}

std::wstring temporary_beside(const std::wstring &path) {
    static std::atomic<unsigned> counter{0};
    return path + L"." + std::to_wstring(GetCurrentProcessId()) + L"-" + std::to_wstring(++counter) + L".tmp";
}

} // namespace

std::wstring Paths::agent(const Sha256 &hash) const {
    return agents() + L"\\" + to_wide(to_hex(hash)) + L"\\hotpatch-agent.exe";
}

std::wstring Paths::object(const Sha256 &hash) const {
    return store() + L"\\" + to_wide(to_hex(hash));
}

Result<Paths> Paths::of_host() {
    PWSTR folder = nullptr;
    const HRESULT result = SHGetKnownFolderPath(FOLDERID_ProgramData, KF_FLAG_DEFAULT, nullptr, &folder);
    const std::wstring found = SUCCEEDED(result) ? folder : L"";
    CoTaskMemFree(folder);
    if (found.empty()) {
        return Error{
            Code::agent_internal, "Windows does not name the folder ProgramData", {}, static_cast<std::uint32_t>(result)};
    }
    return Paths{found + L"\\hotpatch.windows"};
}

Code code_of_write_error(std::uint32_t number) {
    const bool full = number == ERROR_DISK_FULL || number == ERROR_HANDLE_DISK_FULL || number == disk_quota_exceeded ||
                      number == ERROR_FILE_TOO_LARGE;
    return full ? Code::store_disk_full : Code::agent_internal;
}

bool file_exists(const std::wstring &path) {
    return GetFileAttributesW(path.c_str()) != INVALID_FILE_ATTRIBUTES;
}

Result<std::optional<Bytes>> read_file(const std::wstring &path, std::uint64_t limit) {
    const unique_handle file(CreateFileW(path.c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
                                         nullptr, OPEN_EXISTING, FILE_FLAG_SEQUENTIAL_SCAN, nullptr));
    if (!file) {
        const DWORD number = GetLastError();
        if (number == ERROR_FILE_NOT_FOUND || number == ERROR_PATH_NOT_FOUND) {
            return std::optional<Bytes>();
        }
        return windows_error(Code::agent_internal, "A file cannot be read", shown(path), number);
    }
    LARGE_INTEGER size{};
    if (GetFileSizeEx(file.get(), &size) == FALSE) {
        return read_error(path);
    }
    if (static_cast<std::uint64_t>(size.QuadPart) > limit) {
        return Error{Code::store_damaged, "A file is larger than it can be", shown(path), 0};
    }
    Bytes content(static_cast<std::size_t>(size.QuadPart));
    std::size_t filled = 0;
    while (filled < content.size()) {
        DWORD have = 0;
        const auto wanted = static_cast<DWORD>(std::min<std::size_t>(content.size() - filled, std::size_t{1} << 24U));
        if (ReadFile(file.get(), content.data() + filled, wanted, &have, nullptr) == FALSE) {
            return read_error(path);
        }
        if (have == 0) {
            break;
        }
        filled += have;
    }
    content.resize(filled);
    return std::optional(std::move(content));
}

Status write_all(HANDLE file, std::span<const std::uint8_t> content, const std::wstring &path) {
    while (!content.empty()) {
        DWORD done = 0;
        const auto wanted = static_cast<DWORD>(std::min<std::size_t>(content.size(), std::size_t{1} << 24U));
        if (WriteFile(file, content.data(), wanted, &done, nullptr) == FALSE) {
            return write_error(path);
        }
        if (done == 0) {
            return windows_error(Code::store_disk_full, "A file cannot be written", shown(path), ERROR_DISK_FULL);
        }
        content = content.subspan(done);
    }
    return Unit{};
}

Status move_file(const std::wstring &from, const std::wstring &to) {
    constexpr int attempts = 20;
    constexpr DWORD pause_ms = 50;
    for (int attempt = 0;; ++attempt) {
        if (MoveFileExW(from.c_str(), to.c_str(), MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH) != FALSE) {
            return Unit{};
        }
        const DWORD number = GetLastError();
        const bool held = number == ERROR_ACCESS_DENIED || number == ERROR_SHARING_VIOLATION;
        if (!held || attempt == attempts) {
            return windows_error(code_of_write_error(number), "A file cannot be put in its place", shown(to), number);
        }
        Sleep(pause_ms);
    }
}

Status write_file(const std::wstring &path, std::span<const std::uint8_t> content) {
    const std::wstring temporary = temporary_beside(path);
    unique_handle file(CreateFileW(temporary.c_str(), GENERIC_WRITE, 0, nullptr, CREATE_ALWAYS, FILE_ATTRIBUTE_NORMAL, nullptr));
    if (!file) {
        return write_error(temporary);
    }
    Status status = write_all(file.get(), content, path);
    if (status && FlushFileBuffers(file.get()) == FALSE) {
        status = write_error(path);
    }
    file.reset();
    if (status) {
        status = move_file(temporary, path);
    }
    if (!status) {
        DeleteFileW(temporary.c_str());
    }
    return status;
}

Status write_file(const std::wstring &path, std::string_view content) {
    return write_file(path, std::span(reinterpret_cast<const std::uint8_t *>(content.data()), content.size()));
}

Result<bool> remove_file(const std::wstring &path) {
    if (DeleteFileW(path.c_str()) != FALSE) {
        return true;
    }
    const DWORD number = GetLastError();
    if (number == ERROR_FILE_NOT_FOUND || number == ERROR_PATH_NOT_FOUND) {
        return false;
    }
    return windows_error(Code::agent_internal, "A file cannot be removed", shown(path), number);
}

std::vector<Entry> list_folder(const std::wstring &path) {
    std::vector<Entry> entries;
    WIN32_FIND_DATAW data{};
    const unique_find search(FindFirstFileW((path + L"\\*").c_str(), &data));
    if (!search) {
        return entries;
    }
    do {
        const std::wstring name = data.cFileName;
        if (name != L"." && name != L"..") {
            const auto wide = [](DWORD high, DWORD low) { return (static_cast<std::uint64_t>(high) << 32U) | low; };
            entries.push_back({name, wide(data.nFileSizeHigh, data.nFileSizeLow),
                               seconds_of_filetime(wide(data.ftLastWriteTime.dwHighDateTime, data.ftLastWriteTime.dwLowDateTime)),
                               (data.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY) != 0,
                               (data.dwFileAttributes & FILE_ATTRIBUTE_REPARSE_POINT) != 0});
        }
    } while (FindNextFileW(search.get(), &data) != FALSE);
    return entries;
}

std::vector<std::wstring> remove_tree(const std::wstring &path) {
    std::vector<std::wstring> kept;
    for (const Entry &entry : list_folder(path)) {
        const std::wstring child = path + L"\\" + entry.name;
        if (entry.folder && !entry.link) {
            const auto below = remove_tree(child);
            kept.insert(kept.end(), below.begin(), below.end());
        } else if ((entry.folder ? RemoveDirectoryW(child.c_str()) : DeleteFileW(child.c_str())) == FALSE) {
            kept.push_back(child);
        }
    }
    if (kept.empty() && RemoveDirectoryW(path.c_str()) == FALSE && file_exists(path)) {
        kept.push_back(path);
    }
    return kept;
}

std::uint64_t free_bytes(const Paths &paths) {
    ULARGE_INTEGER available{};
    const std::wstring drive = paths.root.substr(0, 3);
    const bool root = GetDiskFreeSpaceExW(paths.root.c_str(), &available, nullptr, nullptr) != FALSE ||
                      GetDiskFreeSpaceExW(drive.c_str(), &available, nullptr, nullptr) != FALSE;
    return root ? available.QuadPart : 0;
}

} // namespace hotpatch
