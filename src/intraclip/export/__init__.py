"""Networks as files that other programs run: ONNX, OpenVINO and torch.export, in fp32 and int8.

`graph` says what is exported, `description` what the file says about itself, `formats` writes it, `quantize` makes
int8 of it, `networks` runs such files (anybody's), `compare` checks one against the network it came from, and `write`
does it all.
"""
