"""`authflow flows`: the flows in force, looked at from outside. Nothing here writes, sends or asks a store."""

from __future__ import annotations

from authflow.cli import flows_check, flows_explain, flows_show, flows_traces
from authflow.cli.common import groups

app = groups("Prove, draw, explain and replay the flows of this configuration.")
app.command("check", no_args_is_help=False)(flows_check.check)
app.command("show", no_args_is_help=False)(flows_show.show)
app.command("explain", no_args_is_help=False)(flows_explain.explain)
app.command("traces", no_args_is_help=False)(flows_traces.traces)
app.command("replay")(flows_traces.replay)
