"""What authflow costs, measured beside a hand-written floor. `docs/performance.md` says how, and what came out."""
