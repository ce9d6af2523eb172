#!powershell

# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

#AnsibleRequires -CSharpUtil Ansible.Basic

# The only PowerShell of the collection: it starts the agent, hands it the request and returns what it wrote. Request and reply pass
# through as strings; PowerShell's own JSON loses depth, dates and lists of one element. Only .NET that Windows PowerShell 5.1 has.

$spec = @{
    options = @{
        path = @{ type = "str"; required = $true }
        arguments = @{ type = "list"; elements = "str"; default = @("call") }
        request = @{ type = "str"; default = "" }
    }
    # The request itself says whether it is a dry run, and the agent honours it.
    supports_check_mode = $true
}
$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec)

$path = [System.Environment]::ExpandEnvironmentVariables($module.Params.path)
$module.Result.changed = $false
$module.Result.missing = $false

if (-not [System.IO.File]::Exists($path)) {
    $module.Result.missing = $true
    $image = [Microsoft.Win32.Registry]::GetValue("HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\hotpatch-agent", "ImagePath", "")
    $module.Result.service_image = [string]$image
    $module.ExitJson()
}

$start = New-Object -TypeName System.Diagnostics.ProcessStartInfo
$start.FileName = $path
$start.Arguments = $module.Params.arguments -join " "
$start.UseShellExecute = $false
$start.CreateNoWindow = $true
$start.RedirectStandardInput = $true
$start.RedirectStandardOutput = $true
$start.RedirectStandardError = $true

# .NET Framework writes the byte order mark of the console's encoding to the new process before anything else; ASCII has none.
try {
    [System.Console]::InputEncoding = New-Object -TypeName System.Text.ASCIIEncoding
}
catch {
    # Without a console, as over PSRP, there is no encoding to set and no mark to fear.
    $null = $_
}

try {
    $process = [System.Diagnostics.Process]::Start($start)
}
catch {
    $module.FailJson("Windows did not start ${path}: $($_.Exception.Message)", $_)
}

# Standard error is read beside, or a program that fills its pipe would wait for ever.
$stderr = $process.StandardError.ReadToEndAsync()
try {
    $bytes = [System.Text.Encoding]::ASCII.GetBytes($module.Params.request)
    $process.StandardInput.BaseStream.Write($bytes, 0, $bytes.Length)
    $process.StandardInput.Close()
}
catch [System.IO.IOException] {
    # The program ended without reading its input; its exit code and standard error say why.
    $module.Result.input_refused = $true
}
$stdout = $process.StandardOutput.ReadToEnd()
$process.WaitForExit()

# Not named rc: Ansible takes a value other than 0 there for a failure.
$module.Result.agent_exit_code = $process.ExitCode
$module.Result.stdout = $stdout
$module.Result.stderr = $stderr.Result
$module.ExitJson()
