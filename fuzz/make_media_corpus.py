#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets image, exif and sound: fuzz/corpus/{image,exif,sound}/.

The sound ones are fixtures of the tests in src/runtime/media too, and so are the pictures, which all show picture() below.
Needs pillow, numpy and soundfile. Run in the root of the source tree: python3 fuzz/make_media_corpus.py
"""
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

WIDTH, HEIGHT = 20, 12
CORPUS = Path("fuzz/corpus")


def picture():
    """240 different colours, smooth. The tests know this formula."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([10 + 12 * x, 10 + 20 * y, 200 - 5 * x - 8 * y], -1).astype(np.uint8)


def alpha():
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return (x * 12 + y * 2).astype(np.uint8)


# ---- PNG, by hand: Pillow writes only some of the kinds ------------------------------------------------------------
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def packed_rows(samples, depth):
    """Rows [height, width, channels] as PNG packs them, each behind its filter byte (none)."""
    out = b""
    for row in samples.reshape(samples.shape[0], -1):
        if depth == 16:
            out += b"\0" + row.astype(">u2").tobytes()
        elif depth == 8:
            out += b"\0" + row.astype(np.uint8).tobytes()
        else:
            bits = "".join(format(int(v), f"0{depth}b") for v in row)
            bits += "0" * (-len(bits) % 8)
            out += b"\0" + bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8))
    return out


def png(samples, depth, colour_type, chunks=(), interlaced=False, size=None):
    height, width = size or samples.shape[:2]
    if interlaced:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
        data = b"".join(packed_rows(samples[y::dy, x::dx], depth) for y, x, dy, dx in passes if samples[y::dy, x::dx].size)
    else:
        data = packed_rows(samples, depth)
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, int(interlaced))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunk(k, d) for k, d in chunks) +
            chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b""))


def exif(orientation, order="<", kind=3):
    value = struct.pack(order + "HH" if kind == 3 else order + "I", *([orientation, 0] if kind == 3 else [orientation]))
    other = struct.pack(order + "HHI", 0x010F, 2, 4) + b"cam\0"
    entry = struct.pack(order + "HHI", 0x0112, kind, 1) + value
    return ((b"II" if order == "<" else b"MM") + struct.pack(order + "HIH", 42, 8, 2) + other + entry +
            struct.pack(order + "I", 0))


def pngs():
    rgb = picture()
    grey = rgb[..., :1]
    palette, index = np.unique(rgb.reshape(-1, 3), axis=0, return_inverse=True)
    index = index.reshape(HEIGHT, WIDTH, 1)
    plte = (b"PLTE", palette.tobytes())
    rgba = np.concatenate([rgb, alpha()[..., None]], -1)
    wide = rgb.astype(np.uint16) * 256 + 77  # the low byte is to be dropped
    yield "rgb8.png", png(rgb, 8, 2)
    yield "rgb8_interlaced.png", png(rgb, 8, 2, interlaced=True)
    yield "rgb16.png", png(wide, 16, 2)
    yield "rgba8.png", png(rgba, 8, 6)
    yield "rgba16_interlaced.png", png(rgba.astype(np.uint16) * 257, 16, 6, interlaced=True)
    yield "rgb8_key.png", png(rgb, 8, 2, [(b"tRNS", struct.pack(">HHH", 10, 10, 200))])  # the pixel (0, 0) is clear
    yield "palette8.png", png(index, 8, 3, [plte])
    yield "palette8_clear.png", png(index, 8, 3, [plte, (b"tRNS", b"\xff" * 100 + b"\0" * 140)])
    yield "palette2.png", png(index % 4, 2, 3, [(b"PLTE", bytes(range(12)))])
    for depth in 1, 2, 4:
        yield f"grey{depth}.png", png(grey >> (8 - depth), depth, 0)
    yield "grey8.png", png(grey, 8, 0)
    yield "grey16.png", png(grey.astype(np.uint16) * 256 + 200, 16, 0)
    yield "grey_alpha8.png", png(np.concatenate([grey, alpha()[..., None]], -1), 8, 4)
    yield "turned.png", png(rgb, 8, 2, [(b"eXIf", exif(6)), (b"tEXt", b"a\0b"), (b"gAMA", struct.pack(">I", 45455))])
    whole = png(rgb, 8, 2)
    yield "damaged_cut.png", whole[:90]
    yield "damaged_checksum.png", whole[:30] + bytes([whole[30] ^ 1]) + whole[31:]
    yield "damaged_huge.png", png(rgb, 8, 2, size=(50_000, 50_000))
    yield "damaged_short.png", png(rgb, 8, 2, size=(4_000, 4_000))


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def others():
    rgb = Image.fromarray(picture())
    rgba = rgb.copy()
    rgba.putalpha(Image.fromarray(alpha()))
    jpeg = saved(rgb, "JPEG", quality=95, subsampling=0)
    yield "rgb.jpg", jpeg
    yield "subsampled.jpg", saved(rgb, "JPEG", quality=90, subsampling=2)
    yield "progressive.jpg", saved(rgb, "JPEG", quality=95, subsampling=0, progressive=True)
    yield "grey.jpg", saved(rgb.convert("L"), "JPEG", quality=95)
    yield "inks.jpg", saved(rgb.convert("CMYK"), "JPEG", quality=95)
    yield "turned.jpg", jpeg[:2] + b"\xff\xe1" + struct.pack(">H", 8 + len(exif(8, ">"))) + b"Exif\0\0" + exif(8, ">") + jpeg[2:]
    yield "damaged_cut.jpg", jpeg[:-40]
    yield "damaged_no_end.jpg", jpeg[:-2]
    yield "damaged_marker.jpg", jpeg[:-30] + b"\xff\xd9" + jpeg[-28:]
    at = jpeg.index(b"\xff\xc0") + 5
    yield "damaged_huge.jpg", jpeg[:at] + struct.pack(">HH", 50_000, 50_000) + jpeg[at + 4:]
    yield "lossless.webp", saved(rgb, "WEBP", lossless=True)
    yield "lossless_alpha.webp", saved(rgba, "WEBP", lossless=True, exact=True)
    yield "lossy.webp", saved(rgb, "WEBP", quality=95)
    yield "lossy_alpha.webp", saved(rgba, "WEBP", quality=95)
    yield "turned.webp", saved(rgb, "WEBP", lossless=True, exif=b"Exif\0\0" + exif(3))
    white = Image.new("RGB", rgb.size, "white")
    film = saved(rgb, "WEBP", lossless=True, save_all=True, append_images=[white])
    yield "film.webp", film
    yield "damaged_cut.webp", saved(rgb, "WEBP", quality=95)[:-30]
    palette, index = np.unique(picture().reshape(-1, 3), axis=0, return_inverse=True)
    flat = Image.frombytes("P", rgb.size, index.astype(np.uint8).tobytes())
    flat.putpalette(palette.tobytes())
    yield "plain.gif", saved(flat, "GIF", interlace=0)
    yield "interlaced.gif", saved(flat, "GIF", interlace=1)
    yield "clear.gif", saved(flat, "GIF", transparency=0, interlace=0)  # the pixel of palette entry 0 is clear
    yield "film.gif", saved(flat, "GIF", save_all=True, append_images=[white.convert("P")], duration=50)
    yield "damaged_cut.gif", saved(flat, "GIF", interlace=0)[:-60]
    yield "picture.svg", b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>'
    lossy = saved(rgb, "WEBP", quality=95)
    yield "damaged_data.webp", lossy[:40] + b"\xff" * 20 + lossy[60:]
    yield "damaged_header.webp", lossy[:12] + b"VP8Z" + lossy[16:]
    at = film.index(b"VP8L") + 9
    yield "damaged_frame.webp", film[:at + 4] + b"\xff" * 12 + film[at + 16:]
    yield "damaged_start.gif", b"GIF89a\1"
    yield "damaged_end.gif", saved(flat, "GIF")[:13 + 768] + b";"
    for name, start in [("heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"), ("avif", b"\0\0\0\x18ftypavif\0\0\0\0mif1avif"),
                        ("m4a", b"\0\0\0\x18ftypM4A \0\0\0\0"), ("mp4", b"\0\0\0\x18ftypisom\0\0\0\0"), ("tiff", b"II*\0\x08\0\0\0"),
                        ("bmp", b"BM\x36\0\0\0"), ("pdf", b"%PDF-1.7"), ("avi", b"RIFF\0\0\0\0AVI LIST"), ("wav", b"RIFF\0\0\0\0WAVE"),
                        ("aiff", b"FORM\0\0\0\0AIFF"), ("mp3", b"\xff\xfb\x90\x64"), ("txt", b"hello"), ("empty", b""),
                        ("jxl", b"\xff\x0a"), ("jp2", b"\xff\x4f\xff\x51"), ("psd", b"8BPS"), ("ico", b"\0\0\1\0"), ("flac", b"fLaC"),
                        ("ogg", b"OggS"), ("au", b".snd"), ("mkv", b"\x1a\x45\xdf\xa3")]:
        yield "other." + name, start


def sounds():
    seconds = np.arange(800) / 8000
    mono = 0.5 * np.sin(2 * np.pi * 440 * seconds)
    stereo = np.stack([mono, -0.5 * mono], -1)

    def written(samples, rate, kind, subtype, **options):
        out = io.BytesIO()
        soundfile.write(out, samples, rate, format=kind, subtype=subtype, **options)
        return out.getvalue()

    wav = written(mono, 16000, "WAV", "PCM_16")
    yield "pcm16.wav", wav
    yield "pcm24_stereo.wav", written(stereo, 44100, "WAV", "PCM_24")
    yield "pcm8.wav", written(mono, 8000, "WAV", "PCM_U8")
    strange = mono.copy()
    strange[10:13] = np.nan, np.inf, -np.inf
    strange[20] = 7
    yield "float_not_finite.wav", written(strange, 16000, "WAV", "FLOAT")
    yield "ulaw.wav", written(mono, 8000, "WAV", "ULAW")
    yield "ima_adpcm.wav", written(mono, 8000, "WAV", "IMA_ADPCM")
    yield "gsm.wav", written(mono, 8000, "WAV", "GSM610")
    yield "extensible.wav", written(stereo, 48000, "WAVEX", "PCM_16")
    yield "rf64.wav", written(mono, 8000, "RF64", "PCM_16")
    yield "wave64.w64", written(mono, 8000, "W64", "PCM_16")
    yield "stereo.flac", written(stereo, 48000, "FLAC", "PCM_16")
    yield "vorbis.ogg", written(stereo, 48000, "OGG", "VORBIS")
    yield "opus.ogg", written(mono, 48000, "OGG", "OPUS")
    mp3 = written(mono, 16000, "MP3", "MPEG_LAYER_III")
    yield "mono.mp3", mp3
    head = struct.pack("<HHIIHHHHIHHH", 0x55, 1, 16000, 4000, 1, 0, 12, 1, 2, 417, 1, 1393)
    body = b"WAVEfmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", len(mp3)) + mp3
    yield "mpeg.wav", b"RIFF" + struct.pack("<I", len(body)) + body
    yield "stereo.aiff", written(stereo, 22050, "AIFF", "PCM_16")
    yield "mono.au", written(mono, 8000, "AU", "PCM_16")
    yield "damaged_cut.wav", wav[:61]
    yield "damaged_claims_more.wav", wav[:40] + struct.pack("<I", 0x7FFFFFF0) + wav[44:100]
    yield "damaged_empty.wav", wav[:40] + bytes(4)
    flac = written(mono, 16000, "FLAC", "PCM_16")
    yield "damaged_cut.flac", flac[:len(flac) // 2]
    claim = struct.unpack(">Q", flac[18:26])[0] & ~((1 << 36) - 1) | 36_000 * 16_000
    yield "damaged_ten_hours.flac", flac[:18] + struct.pack(">Q", claim) + flac[26:]
    yield "damaged_rate.wav", wav[:24] + struct.pack("<I", 1) + wav[28:]
    yield "damaged_encoding.wav", wav[:20] + struct.pack("<H", 0x0161) + wav[22:]
    yield "damaged_header.wav", wav[:30]
    yield "damaged_tag.mp3", b"ID3\4\0\0\0\0\0\4abcd" + b"\xff\xfb\x90\x64" + bytes(40)
    huge = np.where(np.arange(500) % 3 == 0, -3e38, 3e38).astype(np.float32)
    yield "huge_floats.wav", written(huge, 44100, "WAV", "FLOAT")
    yield "too_long.flac", written(np.zeros(21 * 8000), 8000, "FLAC", "PCM_16")
    for name, start in [("png", b"\x89PNG\r\n\x1a\n"), ("wma", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"), ("amr", b"#!AMR\n"), ("caf", b"caff\0\1\0\0desc"),
                        ("mkv", b"\x1a\x45\xdf\xa3"), ("txt", b"hello"), ("empty", b"")]:
        yield "other." + name, start
    yield "sound.m4a", b"\0\0\0\x18ftypM4A \0\0\0\0M4A isom"
    yield "sound.aac", b"\xff\xf1\x50\x80\x02\x1f\xfc" + bytes(8)


def blocks():
    for orientation in range(1, 9):
        yield f"little_{orientation}.exif", exif(orientation)
    yield "big_long.exif", b"Exif\0\0" + exif(5, ">", kind=4)
    yield "damaged_value.exif", exif(9)
    yield "damaged_cut.exif", exif(6)[:25]
    yield "damaged_offset.exif", b"II*\0\xff\xff\xff\xff"
    yield "damaged_count.exif", exif(6)[:8] + b"\xff\xff" + exif(6)[10:22]
    yield "damaged_magic.exif", b"II+\0" + exif(6)[4:]
    for name, data in [*pngs(), *others()]:
        if name.startswith(("turned", "rgb.jpg", "rgb8.png", "lossy.webp")):
            yield name, data
    yield "fill_bytes.jpg", b"\xff\xd8\xff\xff\xff\x01\xff\xd0\xff\xe1\0\2\xff\xe0\0\4ab\xff\xda"
    yield "damaged_length.jpg", b"\xff\xd8\xff\xe1\0\1\xff\xe0"


def main():
    for target, seeds in ("image", [*pngs(), *others()]), ("sound", sounds()), ("exif", blocks()):
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in seeds:
            (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
