"""Every table and figure of the paper from one command each, with the runs behind them.

`run` is the main path. `experiments` says what the paper reports, `scales` how large it is run, `plan` which runs that
takes, `runner` makes them, `statistics` and `results` turn them into numbers, `tables` into text.
"""
