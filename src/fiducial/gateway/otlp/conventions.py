"""The names that others chose: semantic conventions, pinned here and nowhere else."""

from __future__ import annotations

from typing import Final

GENAI_VERSION: Final = "0.1.0"
"""Of the OpenTelemetry GenAI semantic conventions, the first release in a repository of their own:
https://github.com/open-telemetry/semantic-conventions-genai/releases/tag/v0.1.0."""
SEMCONV_URL: Final = "https://opentelemetry.io/schemas/1.45.0"
"""Schema of the general conventions, the version that `GENAI_VERSION` depends on."""
SCOPE: Final = "fiducial"
"""Instrumentation scope of what Fiducial sends; what comes back with it is not taken in."""

OPERATION: Final = "gen_ai.operation.name"
CHAT: Final = frozenset({"chat", "generate_content", "text_completion"})
"""Operations that are one request to a model."""
INVOKE_AGENT: Final = "invoke_agent"
INVOKE_WORKFLOW: Final = "invoke_workflow"
EXECUTE_TOOL: Final = "execute_tool"
RETRIEVAL: Final = "retrieval"
REQUEST_MODEL: Final = "gen_ai.request.model"
AGENT_NAME: Final = "gen_ai.agent.name"
AGENT_ID: Final = "gen_ai.agent.id"
CONVERSATION: Final = "gen_ai.conversation.id"
SYSTEM_INSTRUCTIONS: Final = "gen_ai.system_instructions"
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_TYPE: Final = "gen_ai.tool.type"
TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
TOOL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
TOOL_RESULT: Final = "gen_ai.tool.call.result"
RETRIEVED: Final = "gen_ai.retrieval.documents"
DATA_SOURCE: Final = "gen_ai.data_source.id"
DETAILS_EVENT: Final = "gen_ai.client.inference.operation.details"
EVALUATION_EVENT: Final = "gen_ai.evaluation.result"
EVALUATION_NAME: Final = "gen_ai.evaluation.name"
EVALUATION_LABEL: Final = "gen_ai.evaluation.score.label"
EVALUATION_EXPLANATION: Final = "gen_ai.evaluation.explanation"
MCP_METHOD: Final = "mcp.method.name"
MCP_CALL: Final = "tools/call"
MCP_NAMED: Final = frozenset({"resources/read", "prompts/get", "completion/complete"})
"""Methods of MCP's that contracts describe by name, as if they were tools."""
MCP_VERSION: Final = "mcp.protocol.version"
TRANSPORT: Final = "network.transport"
PROTOCOL: Final = "network.protocol.name"
NOTHING: Final = frozenset({"embeddings", "create_agent"})
"""Operations that bring nothing that an agent reads."""
MCP_NOTHING: Final = frozenset(
    {
        "initialize", "ping", "server/discover", "logging/setLevel", "resources/subscribe", "resources/unsubscribe",
        "tools/list", "resources/list", "resources/templates/list", "prompts/list", "roots/list",
        "notifications/initialized", "notifications/cancelled", "notifications/progress",
        "notifications/roots/list_changed", "notifications/tools/list_changed", "notifications/prompts/list_changed",
        "notifications/resources/list_changed", "notifications/resources/updated",
    }
)  # fmt: skip
"""The same, of MCP's methods."""
ERROR_TYPE: Final = "error.type"
EXCEPTION_EVENT: Final = "exception"
EXCEPTION_MESSAGE: Final = "exception.message"
USER_IDS: Final = ("user.id", "enduser.id")
USER_ROLES: Final = "user.roles"

# OpenInference, as of openinference-semantic-conventions 0.1.42: https://github.com/Arize-ai/openinference/tree/main/spec
OI_KIND: Final = "openinference.span.kind"
OI_SESSION: Final = "session.id"
OI_AGENT: Final = "agent.name"
OI_TOOL: Final = "tool.name"
OI_TOOL_IDS: Final = ("tool.id", "tool_call.id")
OI_INPUT: Final = "input.value"
OI_OUTPUT: Final = "output.value"
OI_INPUT_MESSAGES: Final = "llm.input_messages."
OI_OUTPUT_MESSAGES: Final = "llm.output_messages."
OI_DOCUMENTS: Final = "retrieval.documents."
OI_RERANKED: Final = "reranker.output_documents."
OI_NOTHING: Final = frozenset({"CHAIN", "AGENT", "EMBEDDING", "PROMPT", "GUARDRAIL", "EVALUATOR"})
"""Kinds of spans that bring nothing that an agent reads, or in which other spans say it all."""
OI_REDACTED: Final = "__REDACTED__"
