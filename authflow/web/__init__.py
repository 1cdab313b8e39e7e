"""The edge: what speaks HTTP. Thin, and the only room that knows of Starlette."""
