"""Options of the Claude Agent SDK under which Claude Code asks the guard about every tool.

1. What would have it ask nobody, or somebody else, or run where it asks nobody, is refused; of its arguments, all that
   are not known to do none of that.
2. A permission rule for all tools, above those of all files, has each call asked about; no mode takes that away.
3. Hooks of files, and files that nobody names, are off, and so is what a prompt could set off.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from claude_agent_sdk import ClaudeAgentOptions

from fiducial.errors import CallError

_ASK_NOBODY: Final = frozenset({"bypassPermissions", "dontAsk"})
"""Permission modes in which Claude Code allows, or refuses, what it would ask about."""
_ASKS_HOOKS: Final = {"CLAUDE_CODE_SIMPLE": "0"}
"""The environment in which Claude Code asks hooks."""
_PASSED_ON: Final = frozenset({"debug", "debug-file", "debug-to-stderr", "name", "no-session-persistence", "verbose"})
"""Arguments of Claude Code that leave alone where it runs, what it resumes, and whom it asks."""


def asking(options: ClaudeAgentOptions, servers: frozenset[str]) -> ClaudeAgentOptions:
    """A copy of `options`, in which nothing is in the way of asking.

    servers  MCP servers whose tools the charter names as they do

    Raises `CallError` for what would be, or could.
    """
    _check(options, servers)
    agents = {
        name: replace(each, permissionMode=_asked(each.permissionMode)) for name, each in (options.agents or {}).items()
    }
    return replace(
        options,
        allowed_tools=[],
        permission_mode=_asked(options.permission_mode),
        agents=agents or None,
        settings=_settings(options),
        setting_sources=options.setting_sources or [],
        env=options.env | _ASKS_HOOKS,
        verbatim_prompts=True,
    )


def instructions(options: ClaudeAgentOptions) -> str:
    """The host's own words in the system prompt."""
    given: Any = options.system_prompt
    if isinstance(given, str) or given is None:
        return given or ""
    return str(given.get("prompt") or given.get("append") or "")


def _check(options: ClaudeAgentOptions, servers: frozenset[str]) -> None:
    """Raises `CallError` for what would take the guard out of the way, or could."""
    if flags := options.extra_args.keys() - _PASSED_ON:
        raise CallError(f"`extra_args` {sorted(flags)} could have Claude Code ask others, or run elsewhere")
    if options.permission_prompt_tool_name is not None or "PermissionRequest" in (options.hooks or {}):
        raise CallError(
            "what is asked for permission is asked in the guard's place: use `can_use_tool`, or other hooks"
        )
    names = set(options.mcp_servers) if isinstance(options.mcp_servers, Mapping) else set()
    for each in (options.agents or {}).values():
        own = {name for given in each.mcpServers or () if isinstance(given, Mapping) for name in given}
        if twice := own & servers:
            raise CallError(f"an agent has a server of its own that is called {sorted(twice)} as well")
        names |= own
    for server in servers:
        if "__" in server or any(each.startswith(f"{server}__") for each in names):
            raise CallError(f"tools of the server `{server}` cannot be told from those of another one by their names")


def _asked(mode: Any) -> Any:
    """A permission mode in which Claude Code asks."""
    return None if mode in _ASK_NOBODY else mode


def _settings(options: ClaudeAgentOptions) -> str:
    """The settings above all files': their hooks, which could change what was decided, are off, and no tool runs
    unasked."""
    given: Any = {}
    if (text := options.settings) is not None:
        try:
            inline = text.lstrip().startswith("{")
            given = json.loads(text if inline else Path(options.cwd or ".", text).read_text(encoding="utf-8-sig"))
        except (OSError, ValueError) as error:
            raise CallError(f"the settings cannot be read: {error}") from error
    own = given.get("permissions", {}) if isinstance(given, dict) else None
    if not isinstance(own, dict):
        raise CallError("the settings cannot be read: they, or the permissions in them, are no object")
    if "hooks" in given:
        raise CallError("hooks in `settings` could change what was decided: put them into `hooks`")
    mode = _asked(own.get("defaultMode")) or "default"
    permissions = own | {"ask": ["*"], "defaultMode": mode, "disableBypassPermissionsMode": "disable"}
    return json.dumps(given | {"disableAllHooks": True, "permissions": permissions})


__all__ = ["asking", "instructions"]
