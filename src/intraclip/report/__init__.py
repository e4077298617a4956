"""Pictures and one self-contained HTML page of one or several runs.

Import what you need from its module, so that nothing heavy loads before it is used:

- `intraclip.report.page.write_report`: the page.
- `intraclip.report.strips`: film strips, ranked lists and contact sheets as RGB arrays; needs no extra.
- `intraclip.report.plots`: curves and scatter plots as matplotlib figures.
- `intraclip.report.sections.augmentation`: clips under both kinds of augmentation (equations 1 and 2).
- `intraclip.report.gradcam`: where a network looks (Fig. 1).
- `intraclip.report.tsne`: frame features on a plane (Fig. 3).
"""
