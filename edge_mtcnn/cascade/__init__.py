"""The cascade of the paper on NumPy and OpenCV; ``search`` is the whole of it, top down.

P-Net (``pnet``) proposes windows on the levels of the image ``pyramid``; R-Net (``rnet``) and O-Net
(``onet``) look at the ``windows`` of the ``candidates``; ``boxes`` is the geometry, ``scoring`` the
calibrated score. The networks come in as callables: no file, session or thread is known here.
"""
