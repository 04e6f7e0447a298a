import io
import random
import zlib

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.io import images
from pipelines.io.images import ImageError, ImageTooLarge, as_bgr, open_image, read_image


def random_image(*shape):
    return np.random.RandomState(0).randint(0, 256, shape).astype(np.uint8)


def test_png_files_come_as_they_were_written(tmp_path):
    image = random_image(20, 30, 3)
    cv2.imwrite(str(tmp_path / "页.png"), image)
    np.testing.assert_array_equal(read_image(tmp_path / "页.png"), image)
    np.testing.assert_array_equal(read_image(str(tmp_path / "页.png")), image)


def test_grey_16_bit_and_transparent_files(tmp_path):
    grey = random_image(20, 30)
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), np.dstack([grey] * 3))

    deep = grey.astype(np.uint16) * 256 + 7
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png"), np.dstack([grey] * 3))

    clear = np.zeros((2, 2, 4), np.uint8)
    clear[0] = (10, 20, 200, 255)
    cv2.imwrite(str(tmp_path / "clear.png"), clear)
    read = read_image(tmp_path / "clear.png")
    assert read[0].tolist() == [[10, 20, 200]] * 2
    assert read[1].tolist() == [[255, 255, 255]] * 2

    cv2.imwrite(str(tmp_path / "both.png"), clear.astype(np.uint16) * 256 + clear // 2)
    np.testing.assert_array_equal(read_image(tmp_path / "both.png"), read)


def test_files_that_are_no_images(tmp_path):
    with pytest.raises(ImageError, match=r"none.png: cannot be read \(No such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(tmp_path)
    empty = tmp_path / "empty.png"
    empty.write_bytes(b"")
    with pytest.raises(ImageError, match=r"empty.png: the file is empty"):
        read_image(empty)
    text = tmp_path / "text.png"
    text.write_text("no image")
    with pytest.raises(ImageError, match=r"text.png: not an image .*8 bytes"):
        read_image(text)
    cut = tmp_path / "cut.png"
    cv2.imwrite(str(cut), random_image(20, 30, 3))
    cut.write_bytes(cut.read_bytes()[:400])
    with pytest.raises(ImageError, match=r"cut.png: cannot be decoded, it may be damaged"):
        read_image(cut)


def test_arrays_of_every_channel_count():
    image = random_image(4, 5, 3)
    assert as_bgr(image) is image
    np.testing.assert_array_equal(as_bgr(image[..., 0]), np.dstack([image[..., 0]] * 3))
    np.testing.assert_array_equal(as_bgr(image[..., :1]), np.dstack([image[..., 0]] * 3))
    half = np.zeros((1, 1, 4), np.uint8)
    half[0, 0] = (0, 100, 255, 51)  # a fifth: 204, 204 + 20, 204 + 51
    assert as_bgr(half)[0, 0].tolist() == [204, 224, 255]
    backwards = as_bgr(image[..., ::-1])
    np.testing.assert_array_equal(backwards, image[..., ::-1])
    assert backwards.flags.c_contiguous  # OpenCV draws on nothing else


def test_transparent_pixels_are_blended_as_paddleocr_does():
    """ppocr/utils/utility.py, `alpha_to_color`: in float64, then cut off."""
    image = random_image(600, 7, 4)
    alpha = image[..., 3] / 255
    expected = [(255 * (1 - alpha) + image[..., c] * alpha).astype(np.uint8) for c in range(3)]
    np.testing.assert_array_equal(as_bgr(image), np.dstack(expected))


def text_on_transparent(color, shadow=None):
    """Return BGRA with text of a colour, and with a shadow of another one behind it."""
    image = np.zeros((60, 300, 4), np.uint8)
    for offset, bgr in ((2, shadow), (0, color)):
        if bgr is not None:
            ink = np.zeros((60, 300), np.uint8)
            place = (10 + offset, 40 + offset)
            cv2.putText(ink, "Exit 25", place, cv2.FONT_HERSHEY_SIMPLEX, 1, 255, 2, cv2.LINE_AA)
            image[..., :3][ink > 0] = bgr
            image[..., 3] = np.maximum(image[..., 3], ink)
    return image


@pytest.mark.parametrize(
    ("color", "shadow", "ground"),
    [
        ((255, 255, 255), None, 0),
        ((200, 200, 200), None, 0),
        ((0, 255, 255), None, 0),  # yellow, as subtitles are
        ((255, 255, 255), (90, 90, 90), 0),
        ((0, 0, 0), None, 255),
        ((150, 150, 150), None, 255),
        ((0, 0, 255), None, 255),
    ],
    ids=["white", "pale", "yellow", "shadow", "black", "grey", "red"],
)
def test_the_ground_of_transparent_images_contrasts_with_the_text(tmp_path, color, shadow, ground):
    image = text_on_transparent(color, shadow)
    blended = as_bgr(image)
    assert blended[0, 0].tolist() == [ground] * 3
    assert np.ptp(blended) > 100  # the text can be seen
    cv2.imwrite(str(tmp_path / "a.png"), image)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), blended)
    alpha = image[..., 3:] / 255
    expected = (ground * (1 - alpha) + image[..., :3] * alpha).astype(np.uint8)
    np.testing.assert_array_equal(blended, expected)


def test_white_sheets_with_transparent_corners_stay_on_white():
    image = np.full((60, 300, 4), 255, np.uint8)
    image[:5, :5, 3] = image[-5:, -5:, 3] = 0
    assert as_bgr(image).min() == 255
    image[..., 3] = 0  # nothing at all is visible
    assert as_bgr(image).min() == 255


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((4, 5, 2), np.uint8),
        ((4, 5, 5), np.uint8),
        ((4, 5, 3), np.float32),
        ((1, 4, 5, 3), np.uint8),
        ((5,), np.uint8),
        ((0, 5, 3), np.uint8),
        ((4, 0), np.uint8),
    ],
)
def test_arrays_that_are_no_images(shape, dtype):
    with pytest.raises(ImageError, match=r"but this is \("):
        as_bgr(np.zeros(shape, dtype))


def test_other_things_are_no_images():
    with pytest.raises(ImageError, match="but this is a list"):
        as_bgr([[0]])


def smooth_image(height, width):
    small = random_image(4, 6, 3)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def pillow(image):
    return Image.fromarray(image[..., ::-1])


# Files: Pillow decodes them, OpenCV is what PaddleOCR reads with.


@pytest.mark.parametrize("ending", ["png", "bmp", "webp", "tiff", "ppm", "gif", "jp2"])
def test_formats(tmp_path, ending):
    file = tmp_path / f"a.{ending}"
    pillow(smooth_image(33, 47)).save(file)
    expected = cv2.imread(str(file), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(read_image(file), expected)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_jpeg_has_the_pixels_that_opencv_reads(tmp_path, subsampling, progressive):
    file = tmp_path / "a.jpg"
    pillow(smooth_image(43, 61)).save(file, subsampling=subsampling, progressive=progressive)
    np.testing.assert_array_equal(read_image(file), cv2.imread(str(file)))


def test_orientations(tmp_path):
    image = smooth_image(20, 30)
    turned = {
        1: image,
        2: image[:, ::-1],
        3: image[::-1, ::-1],
        4: image[::-1],
        5: image.transpose(1, 0, 2),
        6: np.rot90(image, -1),
        7: image[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(image),
    }
    for number, expected in turned.items():
        exif = Image.Exif()
        exif[0x112] = number
        for ending in ("png", "tiff"):
            pillow(image).save(tmp_path / f"a.{ending}", exif=exif)
            np.testing.assert_array_equal(read_image(tmp_path / f"a.{ending}"), expected)
        pillow(image).save(tmp_path / "a.jpg", exif=exif, quality=95)
        photo = read_image(tmp_path / "a.jpg")
        np.testing.assert_array_equal(photo, cv2.imread(str(tmp_path / "a.jpg")))
        np.testing.assert_allclose(photo.astype(int), expected, atol=40)


@pytest.mark.parametrize("transform", [0, 2, None])
def test_cmyk_photos(tmp_path, transform):
    """CMYK, YCCK, and CMYK without the note that the values are upside down, as all are."""
    stream = io.BytesIO()
    image = smooth_image(40, 60)
    pillow(image).convert("CMYK").save(stream, "JPEG", quality=95)
    data = stream.getvalue()
    start = data.index(b"\xff\xee")
    end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    note = b"" if transform is None else data[start : end - 1] + bytes([transform])
    file = tmp_path / "a.jpg"
    file.write_bytes(data[:start] + note + data[end:])
    read = read_image(file)
    np.testing.assert_allclose(read.astype(int), cv2.imread(str(file)), atol=2)
    if transform != 2:  # where the data is not YCCK
        assert np.abs(read.astype(int) - image).mean() < 3


def test_palettes_and_bits(tmp_path):
    levels = Image.fromarray(random_image(20, 30)).quantize(8)
    levels.save(tmp_path / "a.png")
    expected = np.asarray(levels.convert("RGB"))[..., ::-1]
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), expected)
    levels.save(tmp_path / "a.png", transparency=3)
    expected = expected.copy()
    expected[np.asarray(levels) == 3] = 255
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), expected)
    bits = Image.fromarray(random_image(20, 30) > 127)
    for ending in ("png", "tiff", "pbm"):
        bits.save(tmp_path / f"a.{ending}")
        read = read_image(tmp_path / f"a.{ending}")
        np.testing.assert_array_equal(read, np.dstack([np.asarray(bits) * 255] * 3))


@pytest.mark.parametrize("ending", ["png", "tiff", "pgm"])
def test_16_bits_keep_their_upper_half(tmp_path, ending):
    grey = np.random.RandomState(0).randint(0, 65536, (20, 30)).astype(np.uint16)
    file = tmp_path / f"a.{ending}"
    cv2.imwrite(str(file), grey)
    np.testing.assert_array_equal(read_image(file)[..., 1], grey >> 8)
    if ending != "pgm":
        colour = np.dstack([grey, grey.T.reshape(20, 30), grey[::-1]])
        cv2.imwrite(str(file), colour)
        np.testing.assert_array_equal(read_image(file), colour >> 8)


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_data_of_fewer_bits_in_a_file_of_16(tmp_path, bits):
    # As scanners and cameras write it: with the upper 8 of the 16 bits, all would be black.
    grey = np.random.RandomState(0).randint(0, 2**bits, (20, 30)).astype(np.uint16)
    grey[0, 0] = 2**bits - 1
    for ending in ("png", "tiff"):
        cv2.imwrite(str(tmp_path / f"a.{ending}"), grey)
        np.testing.assert_array_equal(
            read_image(tmp_path / f"a.{ending}")[..., 1], grey >> (bits - 8)
        )
    grey[0, 0] = 2**15
    cv2.imwrite(str(tmp_path / "a.png"), grey)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[..., 1], grey >> 8)


@pytest.mark.parametrize("ending", ["png", "tiff"])
@pytest.mark.parametrize(("bits", "channels"), [(10, 3), (12, 4), (14, 3), (16, 3)])
def test_colours_of_fewer_bits_in_a_file_of_16(tmp_path, ending, bits, channels):
    colours = np.zeros((2, 4, channels), np.uint16)
    colours[0, :3, :3] = np.eye(3) * (2**bits - 1)
    colours[1, :, :3] = 2 ** (bits - 1)
    colours[..., 3:] = 2**16 - 1  # the alpha channel has a range of its own
    cv2.imwrite(str(tmp_path / f"a.{ending}"), colours)
    read = read_image(tmp_path / f"a.{ending}")
    np.testing.assert_array_equal(read[0, :3], np.eye(3) * 255)
    half = 2 ** (bits - 9) * 255 // (2 ** (bits - 8) - 1)
    np.testing.assert_array_equal(read[1], np.full((4, 3), half))


def test_32_bits_are_refused(tmp_path):
    Image.fromarray(np.zeros((3, 4), np.float32)).save(tmp_path / "a.tiff")
    with pytest.raises(ImageError, match=r"a\.tiff: it has values of 32 bits; save it with 8"):
        read_image(tmp_path / "a.tiff")


def test_the_first_frame_of_an_animation(tmp_path):
    frames = [Image.fromarray(np.full((5, 6), level, np.uint8)) for level in (10, 200)]
    for ending in ("gif", "webp", "png"):
        file = tmp_path / f"a.{ending}"
        frames[0].save(file, save_all=True, append_images=frames[1:], lossless=True)
        with open_image(file) as opened:
            assert opened.count == 1
        assert read_image(file)[0, 0].tolist() == [10, 10, 10]


def test_the_pages_of_a_tiff(tmp_path):
    pages = [Image.fromarray(random_image(5 + n, 6, 3)) for n in range(3)]
    file = tmp_path / "a.tiff"
    pages[0].save(file, save_all=True, append_images=pages[1:])
    with open_image(file) as opened:
        assert opened.count == 3
        for number in (2, 1, 3):
            expected = np.asarray(pages[number - 1])[..., ::-1]
            np.testing.assert_array_equal(opened.read(number), expected)
    assert read_image(file, 3).shape == (7, 6, 3)
    for number in (0, 4):
        with pytest.raises(ImageError, match=f"has 3 pages, but page {number} was asked for"):
            read_image(file, number)


def test_one_pixel(tmp_path):
    for shape in [(1, 1, 3), (1, 5000, 3), (5000, 1, 3)]:
        cv2.imwrite(str(tmp_path / "a.png"), random_image(*shape))
        assert read_image(tmp_path / "a.png").shape == shape


def test_large_images_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    def png(width, height):
        """The head of a PNG, and no data."""
        size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
        return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + size + b"\x08\2\0\0\0" + b"\0\0\0\0"

    file = tmp_path / "a.png"
    for width, height in [(15_001, 10_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)]:
        data = bytearray(png(width, height))
        data[-4:] = zlib.crc32(data[12:-4]).to_bytes(4, "big")
        file.write_bytes(data + b"\0\0\0\0IDAT")
        with pytest.raises(ImageTooLarge, match=r"at most 150 million|more than 150 million"):
            read_image(file)
    cv2.imwrite(str(file), random_image(10, 10, 3))
    monkeypatch.setattr(images, "MAX_PIXELS", 99)
    with pytest.raises(ImageError, match="is 10 x 10 pixels; at most"):
        read_image(file)
    monkeypatch.setattr(images, "MAX_PIXELS", 100)
    read_image(file)


def png_head(width: int, height: int, color: int, depth: int = 8) -> bytes:
    """Return the head of a PNG of this colour type, and no data."""
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    head = b"IHDR" + size + bytes([depth, color, 0, 0, 0])
    sum_ = zlib.crc32(head).to_bytes(4, "big")
    return b"\x89PNG\r\n\x1a\n\0\0\0\r" + head + sum_ + b"\0\0\0\0IDAT"


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (png_head(1, 149_000_000, 2), "a side may have at most 65500"),
        (png_head(100_000, 10, 2), "a side may have at most 65500"),
        (png_head(12_000, 12_000, 6), "takes 576 MB when decoded; at most 450 MB"),
    ],
    ids=["tall", "wide", "four channels"],
)
def test_images_that_take_much_memory(tmp_path, head, message):
    """They are refused by what the head of the file says, before anything is decoded."""
    (tmp_path / "a.png").write_bytes(head)
    with pytest.raises(ImageTooLarge, match=message):
        read_image(tmp_path / "a.png")


def test_a_jpeg_of_very_many_scans(tmp_path):
    """Each scan of a progressive image is read in full."""
    file = tmp_path / "a.jpg"
    pillow(smooth_image(64, 48)).save(file, progressive=True)
    data = file.read_bytes()
    read_image(file)
    last = data.rindex(b"\xff\xda")
    file.write_bytes(data[:-2] + data[last:-2] * 600 + data[-2:])
    with pytest.raises(ImageError, match=r"is a JPEG of 6\d\d scans; at most 500"):
        read_image(file)


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "webp", "tiff", "gif", "ppm", "jp2"])
def test_damaged_files_end_in_an_image_or_one_error(tmp_path, ending):
    whole = tmp_path / f"whole.{ending}"
    pillow(smooth_image(24, 32)).save(whole)
    data = whole.read_bytes()
    chance = random.Random(0)
    file = tmp_path / "damaged"
    refused = 0
    for turn in range(60):
        damaged = bytearray(data)
        if turn % 2:
            del damaged[chance.randrange(len(data)) :]
        else:
            for _ in range(chance.choice([1, 8])):
                damaged[chance.randrange(min(len(data), 200))] = chance.randrange(256)
        file.write_bytes(damaged)
        try:
            assert read_image(file).dtype == np.uint8
        except ImageError as error:
            assert str(error).startswith(str(file))  # noqa: PT017
            refused += 1
    assert refused > 20


# Images of Pillow.


def test_pillow_images_are_red_first():
    image = random_image(4, 5, 3)
    np.testing.assert_array_equal(as_bgr(pillow(image)), image)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "HSV", "I;16"])
def test_pillow_images_of_every_mode(mode):
    image = Image.fromarray(np.full((4, 5, 3), 255, np.uint8))
    deep = Image.fromarray(np.full((4, 5), 65535, np.uint16))
    white = as_bgr(deep if mode == "I;16" else image.convert(mode))
    assert white.shape == (4, 5, 3)
    assert white.min() >= 254


def test_a_pillow_image_that_cannot_be_loaded(tmp_path):
    pillow(random_image(40, 50, 3)).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:100])
    with pytest.raises(ImageError, match="the image: cannot be decoded"):
        as_bgr(Image.open(tmp_path / "a.png"))
    with pytest.raises(ImageError, match="the image: it has values of 32 bits"):
        as_bgr(Image.fromarray(np.zeros((3, 4), np.float32)))


def test_paths_are_read(tmp_path):
    image = random_image(4, 5, 3)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    np.testing.assert_array_equal(as_bgr(tmp_path / "a.png"), image)
    np.testing.assert_array_equal(as_bgr(str(tmp_path / "a.png")), image)


# Images of other forms


def test_bytes_and_streams(tmp_path):
    cv2.imwrite(str(tmp_path / "page.png"), random_image(5, 7, 3))
    content = (tmp_path / "page.png").read_bytes()
    expected = read_image(tmp_path / "page.png")
    for file in (content, bytearray(content), memoryview(content), io.BytesIO(content)):
        np.testing.assert_array_equal(read_image(file), expected)
    for file in (content, bytearray(content), memoryview(content), io.BytesIO(content)):
        np.testing.assert_array_equal(as_bgr(file), expected)
    stream = io.BytesIO(content)
    stream.seek(0, io.SEEK_END)  # as after writing
    np.testing.assert_array_equal(as_bgr(stream), expected)
    assert not stream.closed
    with (tmp_path / "page.png").open("rb") as file:
        np.testing.assert_array_equal(as_bgr(file), expected)


@pytest.mark.parametrize("make", [bytes, io.BytesIO])
def test_bytes_that_are_no_image(make):
    with pytest.raises(ImageError, match=r"^the image: the file is empty, an image was expected"):
        as_bgr(make(b""))
    with pytest.raises(ImageError, match=r"^the image: not an image of a known format \(5 bytes\)"):
        as_bgr(make(b"hello"))
    with pytest.raises(ImageError, match=r"^the image has 1 pages, but page 2 was asked for"):
        read_image(make(cv2.imencode(".png", random_image(2, 2, 3))[1].tobytes()), page=2)


def test_tensors_are_taken_as_arrays():
    image = random_image(4, 5, 3)
    np.testing.assert_array_equal(as_bgr(torch.from_numpy(image)), image)
    grey = torch.from_numpy(image[..., 0].copy())
    np.testing.assert_array_equal(as_bgr(grey), as_bgr(image[..., 0].copy()))
    planes = torch.from_numpy(image).permute(2, 0, 1).contiguous()
    np.testing.assert_array_equal(as_bgr(planes.permute(1, 2, 0)), image)
    with pytest.raises(ImageError, match=r"\(3, 4, 5\); permute\(1, 2, 0\) puts the channels"):
        as_bgr(planes)
    for dtype in (torch.float32, torch.bfloat16):
        with pytest.raises(ImageError, match=r"this is \(4, 5, 3\) of float32"):
            as_bgr(torch.zeros(4, 5, 3, dtype=dtype))
