"""The flows in force, drawn: what `authflow flows show` prints.

`cases` says which kinds of account a configuration tells apart, `exploring` sends each of them through the functions
that serve, and `text`, `mermaid`, `dot` and `svg` write down what came of it. There is no second model.
"""
