"""The names by which frameworks are known: decorators, registering calls, base classes, hooks."""

from __future__ import annotations

VERBS = {"get", "post", "put", "patch", "delete", "head", "options", "trace"}
ROUTE_DECORATORS = {"route", "api_route", "add_route", "websocket", "websocket_route", "sse", "expose"}
HOOKS = {
    "before_request", "after_request", "teardown_request", "before_app_request", "after_app_request",
    "teardown_appcontext", "errorhandler", "app_errorhandler", "exception_handler", "context_processor",
    "app_context_processor", "url_value_preprocessor", "user_loader", "request_loader", "middleware",
    "on_request", "on_response", "before_websocket", "after_websocket",
}  # fmt: skip
TOOLS = {
    "tool", "tool_plain", "function_tool", "call_tool", "list_tools", "resource", "prompt", "read_resource",
    "get_prompt", "system_prompt", "output_validator", "agent_tool", "kernel_function", "tool_node",
    "on_message", "on_chat_start", "on_chat_end", "register_function", "completion",
}  # fmt: skip
TASKS = {"task", "shared_task", "actor", "job", "periodic_task", "subscriber", "function_name"}
EVENTS = {"on_message", "event", "message", "action", "shortcut", "receiver", "connect"}
STARTUP = {
    "on_startup", "on_shutdown", "startup", "shutdown", "before_first_request", "before_serving",
    "after_serving", "while_serving", "fixture", "command", "callback", "group", "cli", "lifespan",
    "listener", "before_server_start", "after_server_stop", "hookimpl", "setup",
}  # fmt: skip
ROUTE_CALLS = {
    "Route", "WebSocketRoute", "APIRoute", "APIWebSocketRoute", "add_route", "add_api_route",
    "add_websocket_route",
    "add_api_websocket_route", "add_url_rule", "path", "re_path", "url", "add_get", "add_post", "add_put",
    "add_delete", "add_patch", "add_view", "Rule", "Mount", "add_exception_handler", "add_task",
}  # fmt: skip
VIEW_BASES = {
    "HTTPEndpoint", "WebSocketEndpoint", "MethodView", "View", "APIView", "ViewSet", "ModelViewSet",
    "GenericViewSet",
    "GenericAPIView", "TemplateView", "ListView", "DetailView", "FormView", "CreateView", "UpdateView",
    "DeleteView", "RedirectView", "RequestHandler", "WebSocketHandler", "Resource", "HTTPMethodView",
    "BaseHTTPRequestHandler", "SimpleHTTPRequestHandler", "ReadOnlyModelViewSet", "JupyterHandler",
    "APIHandler",
}  # fmt: skip
VIEW_METHODS = VERBS | {
    "dispatch", "dispatch_request", "list", "create", "retrieve", "update", "partial_update", "destroy",
    "on_connect", "on_receive", "on_disconnect", "prepare", "on_finish", "on_message", "on_close", "open",
    "form_valid", "form_invalid", "get_queryset", "get_context_data", "get_object", "perform_create",
    "perform_update", "do_GET", "do_POST", "do_PUT", "do_DELETE", "do_HEAD", "do_PATCH", "do_OPTIONS",
}  # fmt: skip
UPPER_METHODS = {"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"}
"""What web.py and CherryPy call."""
FALCON_METHODS = {
    "on_get",
    "on_post",
    "on_put",
    "on_patch",
    "on_delete",
    "on_head",
    "on_options",
    "on_websocket",
}
MIDDLEWARE_METHODS = {
    "dispatch", "process_request", "process_response", "process_view", "process_exception",
    "process_template_response", "process_resource", "process_startup", "__call__", "on_call_tool",
    "on_message",
}  # fmt: skip
MIDDLEWARE_BASES = {"BaseHTTPMiddleware", "MiddlewareMixin", "Middleware", "BaseMiddleware"}
APPLICATION_PARAMETERS = {"app", "application", "get_response", "inner", "next_app", "wrapped"}
COMMAND_MODULES = {"cli", "__main__", "manage", "management", "commands", "scripts", "console"}
STARTUP_NAMES = {
    "__init_subclass__", "__init_subclass_with_meta__", "__set_name__", "__class_getitem__", "__prepare__",
    "ready", "includeme", "setup_module",
    "pytest_configure", "conftest", "__del__", "__reduce__", "__getstate__", "__setstate__", "handle",
    "add_arguments",
}  # fmt: skip

EVENT_LIBRARIES = {"gradio", "nicegui", "panel", "streamlit"}
"""Libraries whose components call the function they are given: ``button.click(fn)``."""
EVENT_CALLS = {
    "click", "submit", "change", "load", "upload", "then", "success", "select", "input", "on_click", "on",
    "Interface", "ChatInterface", "api",
}  # fmt: skip
HANDLER_CALLS = {
    "CommandHandler", "MessageHandler", "CallbackQueryHandler", "InlineQueryHandler", "ConversationHandler",
    "register_message_handler", "serve", "start_server", "create_server", "add_event_handler", "add_listener",
    "add_service", "set_tool_handler", "subscribe",
}  # fmt: skip
"""Calls that register what handles messages, connections and commands."""
CONSUMER_BASES = {
    "WebsocketConsumer", "AsyncWebsocketConsumer", "JsonWebsocketConsumer", "AsyncJsonWebsocketConsumer",
    "AsyncConsumer", "SyncConsumer", "AsyncHttpConsumer", "AsyncNamespace", "Namespace",
    "WebSocketClientProtocol", "WebSocketServerProtocol", "DatagramProtocol", "Protocol",
    "BaseRequestHandler", "StreamRequestHandler",
}  # fmt: skip
CONSUMER_METHODS = {
    "receive", "receive_json", "connect", "disconnect", "websocket_receive", "websocket_connect",
    "websocket_disconnect", "data_received", "datagram_received", "connection_made", "connection_lost",
    "handle", "onMessage", "onOpen", "onClose",
}  # fmt: skip
RESOLVER_BASES = {"ObjectType", "Mutation", "ClientIDMutation", "SerializerMutation", "Interface"}
RESOLVER_DECORATORS = {"field", "mutation", "subscription", "query", "resolver"}
