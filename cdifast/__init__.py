"""cdifast: X-ray diffraction images of single particles, from detector frames to meaning."""

__version__ = "0.1.0"
