#!/usr/bin/env python3
"""Writes the filters in this folder (plain Python, nothing to install): `python3 specs/data/make.py`.

The photographs and the recording are copied as they are from the packages that README.md names.
"""

import math
import struct
from pathlib import Path

HERE = Path(__file__).parent


def write_npy(name, shape, values):
    """A NumPy file, version 1.0, little-endian f32, C order."""
    assert math.prod(shape) == len(values)
    sizes = ", ".join(str(n) for n in shape)
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({sizes}{',' if len(shape) == 1 else ''}), }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + struct.pack(f"<{len(values)}f", *values)
    (HERE / name).write_bytes(data)


def gaussian(size, sigma):
    """A row of `size` weights whose sum is 1."""
    row = [math.exp(-((i - (size - 1) / 2) ** 2) / (2 * sigma**2)) for i in range(size)]
    return [x / sum(row) for x in row]


def band_pass(taps, low, high, rate):
    """A windowed sinc (Hamming) that lets `low` to `high` Hz through."""

    def low_pass(cut, n):
        x = 2 * cut / rate
        return x if n == 0 else math.sin(math.pi * x * n) / (math.pi * n)

    middle = (taps - 1) // 2
    window = [0.54 - 0.46 * math.cos(2 * math.pi * i / (taps - 1)) for i in range(taps)]
    return [w * (low_pass(high, i - middle) - low_pass(low, i - middle)) for i, w in enumerate(window)]


def main():
    # For specs/edges.conv: [oc, ic, kh, kw].
    write_npy("sobel_x.npy", (1, 1, 3, 3), [-1, 0, 1, -2, 0, 2, -1, 0, 1])
    write_npy("laplacian.npy", (1, 1, 3, 3), [0, 1, 0, 1, -4, 1, 0, 1, 0])
    # For specs/photo.conv: the same window for each of three colours.
    row = gaussian(9, 2.0)
    write_npy("gaussian9_rgb.npy", (3, 1, 9, 9), [a * b for a in row for b in row] * 3)
    # For specs/fir.conv: the band of a telephone line, at 16 kHz.
    write_npy("telephone_band.npy", (1, 1, 1023), band_pass(1023, 300, 3400, 16000))
    # For specs/didactic.conv, as conv1d and as conv2d.
    write_npy("twelve.npy", (1, 1, 12), [1, 4, 2, 8, 5, 7, 1, 4, 2, 8, 5, 7])
    write_npy("twelve_row.npy", (1, 1, 1, 12), [1, 4, 2, 8, 5, 7, 1, 4, 2, 8, 5, 7])


if __name__ == "__main__":
    main()
