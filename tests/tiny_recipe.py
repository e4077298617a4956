"""A recipe as a file: seconds on a CPU."""

RECIPE = """
description = "tests"
device = "cpu"
[input]
height = 32
width = 16
[clip]
num_frames = 2
[batch]
identities = 3
clips = 2
[model]
backbone = "small"
width = 0.5
weights = ""
[optimizer]
epochs = 2
learning_rate = 1e-3
[data]
workers = 0
[run]
tensorboard = false
"""
