"""Going through flows without people, on a store in memory, to see what a way costs. `flows explain` measures by it."""
