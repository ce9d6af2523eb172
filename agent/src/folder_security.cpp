// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Who may write into the agent's folder. Whoever may could replace the agent or what it trusts, and SYSTEM would run it.
#include <algorithm>
#include <array>

#include <windows.h>

#include <aclapi.h>
#include <sddl.h>

#include "files.hpp"
#include "platform.hpp"
#include "text.hpp"
#include "win32.hpp"

namespace hotpatch {

namespace {

// Owner Administrators; protected from inheritance; full access for SYSTEM and Administrators, inherited by everything below.
constexpr const wchar_t *folder_sddl = L"O:BAD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)";

constexpr ACCESS_MASK changing_rights = FILE_WRITE_DATA | FILE_APPEND_DATA | FILE_WRITE_EA | FILE_WRITE_ATTRIBUTES |
                                        FILE_DELETE_CHILD | DELETE | WRITE_DAC | WRITE_OWNER | GENERIC_WRITE | GENERIC_ALL |
                                        MAXIMUM_ALLOWED;

// SYSTEM, Administrators and TrustedInstaller already own the host; an inherit-only entry for CREATOR OWNER gives rights on one's
// own.
bool is_trusted(PSID sid) {
    static constexpr std::array<const wchar_t *, 3> trusted{L"S-1-5-18", L"S-1-5-32-544",
                                                            L"S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"};
    unique_local text;
    if (ConvertSidToStringSidW(sid, reinterpret_cast<LPWSTR *>(text.out())) == FALSE) {
        return false;
    }
    const std::wstring_view name = static_cast<const wchar_t *>(text.get());
    return std::find(trusted.begin(), trusted.end(), name) != trusted.end() || platform::stands_for_administrators(sid);
}

std::string name_of_sid(PSID sid) {
    unique_local text;
    if (ConvertSidToStringSidW(sid, reinterpret_cast<LPWSTR *>(text.out())) == FALSE) {
        return "an unknown account";
    }
    return to_utf8(static_cast<const wchar_t *>(text.get()));
}

Error unsafe(const std::wstring &path, std::string why) {
    return Error{Code::agent_unsafe_path, "The agent's folder is not safe: " + std::move(why), to_utf8(path), 0};
}

// Every entry that allows someone else to change something; kinds of entries that are not known here count as allowing it.
Status check_access_list(const std::wstring &path, PACL list) {
    if (list == nullptr) {
        return unsafe(path, "everyone may write to it");
    }
    for (DWORD index = 0; index < list->AceCount; ++index) {
        void *entry = nullptr;
        if (GetAce(list, index, &entry) == FALSE) {
            return unsafe(path, "its access list cannot be read");
        }
        const auto *header = static_cast<const ACE_HEADER *>(entry);
        if (header->AceType == ACCESS_DENIED_ACE_TYPE) {
            continue;
        }
        if (header->AceType != ACCESS_ALLOWED_ACE_TYPE) {
            return unsafe(path, "its access list has an entry of an unusual kind");
        }
        auto *allowed = static_cast<ACCESS_ALLOWED_ACE *>(entry);
        PSID sid = &allowed->SidStart;
        if ((allowed->Mask & changing_rights) != 0 && !is_trusted(sid)) {
            return unsafe(path, name_of_sid(sid) + " may write to it");
        }
    }
    return Unit{};
}

Status check_one(const std::wstring &path) {
    const unique_handle folder(CreateFileW(path.c_str(), READ_CONTROL | FILE_READ_ATTRIBUTES,
                                           FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, nullptr, OPEN_EXISTING,
                                           FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT, nullptr));
    if (!folder) {
        const DWORD number = GetLastError();
        if (number == ERROR_FILE_NOT_FOUND || number == ERROR_PATH_NOT_FOUND) {
            return Unit{};
        }
        return windows_error(Code::agent_internal, "The agent's folder cannot be looked at", to_utf8(path), number);
    }
    BY_HANDLE_FILE_INFORMATION information{};
    if (GetFileInformationByHandle(folder.get(), &information) == FALSE) {
        return last_error(Code::agent_internal, "The agent's folder cannot be looked at", to_utf8(path));
    }
    if ((information.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY) == 0 ||
        (information.dwFileAttributes & FILE_ATTRIBUTE_REPARSE_POINT) != 0) {
        return unsafe(path, "it is a link or a file");
    }
    PSID owner = nullptr;
    PACL list = nullptr;
    unique_local descriptor;
    const DWORD result = GetSecurityInfo(folder.get(), SE_FILE_OBJECT, OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION,
                                         &owner, nullptr, &list, nullptr, descriptor.out());
    if (result != ERROR_SUCCESS) {
        return windows_error(Code::agent_internal, "The access list of the agent's folder cannot be read", to_utf8(path), result);
    }
    if (owner == nullptr || !is_trusted(owner)) {
        return unsafe(path, "it belongs to " + (owner == nullptr ? std::string("nobody") : name_of_sid(owner)));
    }
    return check_access_list(path, list);
}

Status create(const std::wstring &path, SECURITY_ATTRIBUTES *attributes) {
    if (CreateDirectoryW(path.c_str(), attributes) == FALSE && GetLastError() != ERROR_ALREADY_EXISTS) {
        const DWORD number = GetLastError();
        return windows_error(code_of_write_error(number), "A folder cannot be created", to_utf8(path), number);
    }
    return Unit{};
}

} // namespace

Status check_folder(const Paths &paths) {
    for (const std::wstring &path : {paths.root, paths.agents(), paths.store(), paths.jobs(), paths.metrics()}) {
        if (auto status = check_one(path); !status) {
            return status;
        }
    }
    return Unit{};
}

Status secure_folder(const Paths &paths) {
    unique_local descriptor;
    if (ConvertStringSecurityDescriptorToSecurityDescriptorW(folder_sddl, SDDL_REVISION_1, descriptor.out(), nullptr) == FALSE) {
        return last_error(Code::agent_internal, "An access list cannot be made", {});
    }
    SECURITY_ATTRIBUTES attributes{sizeof attributes, descriptor.get(), FALSE};
    for (const std::wstring &path : {paths.root, paths.agents(), paths.store(), paths.jobs(), paths.metrics()}) {
        auto status = create(path, &attributes);
        if (status) {
            status = check_one(path);
        }
        if (!status) {
            return status;
        }
    }
    return Unit{};
}

} // namespace hotpatch
